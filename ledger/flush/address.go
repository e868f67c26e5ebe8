package flush

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// ErrAddress says that a database address cannot be one.
var ErrAddress = errors.New("not the address of a PostgreSQL database")

// prisma are parameters of addresses made for LiteLLM that mean something to
// its own driver and nothing to the server.
var prisma = []string{"connection_limit", "pool_timeout", "socket_timeout", "statement_cache_size", "sslaccept",
	"sslidentity", "sslpassword", "pgbouncer", "connect_timeout_ms"}

// ParseAddress reads a database address as LiteLLM's DATABASE_URL has it. What
// its driver alone understands is translated or left out.
func ParseAddress(address string) (*pgxpool.Config, error) {
	plain, pooled, err := translate(strings.TrimSpace(address))
	if err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(plain)
	if err != nil {
		// The library's message repeats the address, with the password masked.
		return nil, fmt.Errorf("%w: %w", ErrAddress, err)
	}
	if pooled {
		cfg.ConnConfig.DefaultQueryExecMode = execWithoutNames
	}
	if cfg.ConnConfig.ValidateConnect == nil {
		// After a failover the address may still lead to what is now a standby.
		cfg.ConnConfig.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "tollgate"
	}
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = connectTimeout
	}
	return cfg, nil
}

// translate turns Prisma's parameters into the server's. pooled is true when
// the address leads to a pooler that hands each transaction another session.
func translate(address string) (plain string, pooled bool, err error) {
	if !strings.HasPrefix(address, "postgres://") && !strings.HasPrefix(address, "postgresql://") {
		if strings.Contains(address, "://") || !strings.Contains(address, "=") {
			return "", false, fmt.Errorf("%w: it begins with postgres:// or postgresql://, or is a list of host=… dbname=…", ErrAddress)
		}
		return address, false, nil
	}
	u, err := url.Parse(address)
	if err != nil {
		// The parser's own message holds the whole address.
		return "", false, fmt.Errorf("%w: it does not parse as a URL; special characters of the password have to be percent-encoded", ErrAddress)
	}
	q := u.Query()
	pooled = q.Get("pgbouncer") == "true"
	if schema := q.Get("schema"); schema != "" {
		if schema != "public" && q.Get("search_path") == "" {
			q.Set("search_path", schema)
		}
		q.Del("schema")
	}
	for _, name := range prisma {
		q.Del(name)
	}
	u.RawQuery = q.Encode()
	return u.String(), pooled, nil
}
