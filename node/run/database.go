package run

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// errDatabase is what every wrong address of a database ends with.
var errDatabase = errors.New("write postgresql://user:password@host:5432/database")

// databaseURL is the PostgreSQL that this node's environment names: DATABASE_URL,
// or LiteLLM's parts of it. It is "" when there is none.
func databaseURL(env func(string) string) (string, error) {
	if addr := env("DATABASE_URL"); addr != "" {
		return addr, checkDatabaseURL("DATABASE_URL", addr)
	}
	host := env("DATABASE_HOST")
	if host == "" {
		return "", nil
	}
	if port := env("DATABASE_PORT"); port != "" {
		host += ":" + port
	}
	u := url.URL{Scheme: "postgresql", Host: host, Path: "/" + env("DATABASE_NAME")}
	if user := cmp.Or(env("DATABASE_USERNAME"), env("DATABASE_USER")); user != "" {
		u.User = url.UserPassword(user, env("DATABASE_PASSWORD"))
	}
	if schema := env("DATABASE_SCHEMA"); schema != "" {
		u.RawQuery = url.Values{"schema": {schema}}.Encode()
	}
	return u.String(), checkDatabaseURL("DATABASE_HOST and its like", u.String())
}

// checkDatabaseURL tells a wrong address now, not on the day it is first used.
// That a database is away is no fault of the address: it may come back.
func checkDatabaseURL(where, addr string) error {
	u, err := url.Parse(addr)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Host == "" || strings.Trim(u.Path, "/") == "" {
		return fmt.Errorf("%s is no PostgreSQL address: %w", where, errDatabase)
	}
	return nil
}

// withoutPrisma is an address as LiteLLM's users write it, without the parameters
// that only its own database library knows: PostgreSQL refuses what it does not.
func withoutPrisma(addr string) string {
	u, err := url.Parse(addr)
	if err != nil {
		return addr
	}
	q := u.Query()
	if schema := q.Get("schema"); schema != "" {
		q.Set("search_path", schema)
	}
	for _, name := range []string{"schema", "connection_limit", "pool_timeout", "pgbouncer", "socket_timeout",
		"statement_cache_size", "sslaccept", "sslidentity", "sslpassword"} {
		q.Del(name)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// database is the PostgreSQL this node keeps its books in: the one its own
// environment or file names, else the cluster's, which came with the config of
// another node.
func (n *node) database() (string, error) {
	if addr := n.loaded.Config.General.DatabaseURL; addr != "" {
		return withoutPrisma(addr), checkDatabaseURL("general_settings.database_url", addr)
	}
	addr, err := databaseURL(n.env)
	if addr != "" || err != nil {
		return withoutPrisma(addr), err
	}
	v := n.store.State().ActiveConfig()
	if v == nil || v.Config.General.DatabaseURL == "" {
		return "", nil
	}
	opened, faults := n.box.OpenConfig(&v.Config)
	if opened.General.DatabaseURL == "" {
		return "", fmt.Errorf("open the cluster's general_settings.database_url: %w", errors.Join(faults...))
	}
	return withoutPrisma(opened.General.DatabaseURL), nil
}
