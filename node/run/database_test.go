package run

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDatabaseAddressIsPutTogetherAsLiteLLMDoes(t *testing.T) {
	for _, c := range []struct {
		name string
		env  map[string]string
		want string
		bad  bool
	}{
		{name: "none"},
		{name: "whole", env: map[string]string{"DATABASE_URL": "postgresql://u:p@db:5432/litellm", "DATABASE_HOST": "other"}, want: "postgresql://u:p@db:5432/litellm"},
		{name: "parts", env: map[string]string{"DATABASE_HOST": "db", "DATABASE_PORT": "6432", "DATABASE_USERNAME": "u", "DATABASE_PASSWORD": "p/@:w", "DATABASE_NAME": "n", "DATABASE_SCHEMA": "s"},
			want: "postgresql://u:p%2F%40%3Aw@db:6432/n?schema=s"},
		{name: "address of six", env: map[string]string{"DATABASE_HOST": "fd00::1", "DATABASE_PORT": "5432", "DATABASE_NAME": "n"}, want: "postgresql://[fd00::1]:5432/n"},
		{name: "no database", env: map[string]string{"DATABASE_HOST": "db"}, bad: true},
		{name: "another kind", env: map[string]string{"DATABASE_URL": "mysql://u@db/x"}, bad: true},
		{name: "no port", env: map[string]string{"DATABASE_URL": "postgresql://u@db:port/x"}, bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := databaseURL(func(name string) string { return c.env[name] })
			if c.bad {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}
