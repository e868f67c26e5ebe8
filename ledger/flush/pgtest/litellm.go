//go:build unix

package pgtest

import (
	"archive/zip"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// extras is the package that carries LiteLLM's own migrations.
const extras = "litellm-proxy-extras==0.4.110"

// litellmMigrations gives the SQL of LiteLLM's migrations, in order.
func litellmMigrations(t testing.TB) []string {
	t.Helper()
	dir := t.TempDir()
	out, err := exec.Command("python3", "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", dir, extras).CombinedOutput()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("pip download %s: %v\n%s", extras, err, out)
		}
		t.Skipf("LiteLLM's migrations cannot be had (python3 with pip and access to PyPI needed): %v\n%s", err, out)
	}
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) != 1 {
		t.Fatalf("downloaded %v (%v)", wheels, err)
	}
	z, err := zip.OpenReader(wheels[0])
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	byName := map[string]string{}
	for _, f := range z.File {
		if !strings.HasSuffix(f.Name, "/migration.sql") {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		sql, err := io.ReadAll(r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
		byName[f.Name] = string(sql)
	}
	var names []string
	for n := range byName {
		names = append(names, n)
	}
	slices.Sort(names)
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = byName[n]
	}
	if len(all) < 100 {
		t.Fatalf("only %d migrations found", len(all))
	}
	return all
}

// statements cuts a script at the semicolons that end statements: some of them
// may not share a transaction with others.
func statements(script string) []string {
	var out []string
	start := 0
	for i := 0; i < len(script); i++ {
		rest := script[i:]
		skip := func(open, end string) {
			if n := strings.Index(rest[len(open):], end); n >= 0 {
				i += len(open) + n + len(end) - 1
			} else {
				i = len(script)
			}
		}
		switch {
		case strings.HasPrefix(rest, "--"):
			skip("--", "\n")
		case strings.HasPrefix(rest, "/*"):
			skip("/*", "*/")
		case rest[0] == '\'' || rest[0] == '"':
			skip(rest[:1], rest[:1])
		case rest[0] == '$':
			if n := strings.IndexByte(rest[1:], '$'); n >= 0 && strings.Trim(rest[1:n+1], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_") == "" {
				skip(rest[:n+2], rest[:n+2])
			}
		case rest[0] == ';':
			out = append(out, script[start:i+1])
			start = i + 1
		}
	}
	return append(out, script[min(start, len(script)):])
}

// LiteLLM makes in a database what LiteLLM's own published migrations make. They
// are downloaded; without them the test is skipped, or fails where CI is set.
func LiteLLM(t testing.TB, url string) {
	t.Helper()
	migrations := litellmMigrations(t)
	ctx, end := context.WithTimeout(context.Background(), 2*time.Minute)
	defer end()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect to PostgreSQL: %v", err)
	}
	defer c.Close(ctx)
	for _, script := range migrations {
		for _, sql := range statements(script) {
			if strings.TrimSpace(sql) == "" {
				continue
			}
			if _, err := c.Exec(ctx, sql); err != nil {
				t.Fatalf("LiteLLM's migrations: %s: %v", sql, err)
			}
		}
	}
}
