// Package schema makes and brings up to date the tables that the books are kept
// in: LiteLLM's, with their names, columns and views, and the gateway's own. It
// only adds; nothing is dropped or retyped, and a table of LiteLLM's that has
// more columns than are known here keeps them. It writes no rows.
package schema

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations/*.sql
var files embed.FS

// VersionTable is where the applied migrations are listed. LiteLLM's own list,
// _prisma_migrations, is not touched.
const VersionTable = "gateway_schema_version"

// oldest is the first version of PostgreSQL with all that is used here.
const oldest = 130000

// Advisory locks. The numbers mean nothing, they must only be nobody else's.
const (
	lockMigrate = 7_106_519_846_301
	lockIndexes = 7_106_519_846_302
)

// ErrTooOld says that the server cannot hold the books.
var ErrTooOld = errors.New("PostgreSQL 13 or later is needed")

// Migrate applies what is missing. Of several nodes that come at once one does
// it and the others wait. The indexes that the tables need to be quick are
// BuildIndexes' matter.
func Migrate(ctx context.Context, cfg *pgx.ConnConfig, log *slog.Logger) error {
	db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(func(ctx context.Context, c *pgx.Conn) error {
		// A table that is in use must not make everybody queue up behind us for
		// long: who waits here holds back readers too.
		_, err := c.Exec(ctx, "SET timezone TO 'UTC'; SET lock_timeout TO '10s'; SET statement_timeout TO '5min'")
		return err
	}))
	db.SetMaxOpenConns(1)
	defer db.Close()
	if err := checkServer(ctx, db); err != nil {
		return err
	}
	provider, err := provide(db)
	if err != nil {
		return err
	}
	pending, err := provider.HasPending(ctx)
	if err == nil && pending {
		var done []*goose.MigrationResult
		done, err = provider.Up(ctx)
		for _, m := range done {
			log.Info("schema migrated", "version", m.Source.Version, "file", m.Source.Path, "took", m.Duration)
		}
	}
	if err != nil {
		return explain(ctx, cfg, fmt.Errorf("migrate the schema of database %q: %w", cfg.Database, err))
	}
	return beUTC(ctx, db, cfg.Database, log)
}

func provide(db *sql.DB) (*goose.Provider, error) {
	migrations, err := fs.Sub(files, "migrations")
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockID(lockMigrate), lock.WithLockTimeout(1, 300))
	if err != nil {
		return nil, fmt.Errorf("prepare the migration lock: %w", err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, migrations, goose.WithSessionLocker(locker),
		goose.WithTableName(VersionTable), goose.WithDisableGlobalRegistry(true), goose.WithSlog(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, fmt.Errorf("read the migrations: %w", err)
	}
	return p, nil
}

func checkServer(ctx context.Context, db *sql.DB) error {
	var version int
	if err := db.QueryRowContext(ctx, "SELECT current_setting('server_version_num')::int").Scan(&version); err != nil {
		return fmt.Errorf("ask PostgreSQL for its version: %w", err)
	}
	if version < oldest {
		return fmt.Errorf("%w: the server is version %d.%d", ErrTooOld, version/10000, version%10000)
	}
	return nil
}

// beUTC sees to it that queries which compare the times of calls, kept in UTC
// without a zone, with NOW() are right in everybody's sessions.
func beUTC(ctx context.Context, db *sql.DB, database string, log *slog.Logger) error {
	var zone string
	if err := db.QueryRowContext(ctx, "SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'").Scan(&zone); err != nil {
		return fmt.Errorf("ask for the database's time zone: %w", err)
	}
	if slices.Contains([]string{"UTC", "Etc/UTC", "GMT", "Etc/GMT", "UCT", "Etc/UCT", "Zulu", "Etc/Zulu"}, zone) {
		return nil
	}
	_, err := db.ExecContext(ctx, "ALTER DATABASE "+pgx.Identifier{database}.Sanitize()+" SET timezone TO 'UTC'")
	switch {
	case err == nil:
		log.Info("database's time zone set to UTC", "database", database, "before", zone)
	case code(err) == "42501" || code(err) == "25006":
		log.Warn("the database's time zone is not UTC, so queries that compare times with NOW() are off by the difference",
			"database", database, "timezone", zone, "cure", "ALTER DATABASE "+pgx.Identifier{database}.Sanitize()+" SET timezone TO 'UTC'")
	default:
		return fmt.Errorf("set the time zone of database %q: %w", database, err)
	}
	return nil
}

func code(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// explain says of missing rights what to grant.
func explain(ctx context.Context, cfg *pgx.ConnConfig, err error) error {
	user := pgx.Identifier{cfg.User}.Sanitize()
	switch code(err) {
	case "42501":
		cure := fmt.Sprintf("GRANT USAGE, CREATE ON SCHEMA public TO %s", user)
		if owner := ownerOfOthers(ctx, cfg); owner != "" {
			cure += fmt.Sprintf("; GRANT %s TO %s", pgx.Identifier{owner}.Sanitize(), user)
		}
		return fmt.Errorf("%w (user %s lacks rights; as an administrator of the database run: %s)", err, user, cure)
	case "25006":
		return fmt.Errorf("%w (the server takes no writes: it is a standby or set read-only; name the primary in the address)", err)
	}
	return err
}

// ownerOfOthers names who owns LiteLLM's tables, if it is not the user itself:
// only an owner may add a column.
func ownerOfOthers(ctx context.Context, cfg *pgx.ConnConfig) string {
	c, err := pgx.ConnectConfig(ctx, cfg.Copy())
	if err != nil {
		return ""
	}
	defer c.Close(ctx)
	var owner string
	_ = c.QueryRow(ctx, `SELECT pg_get_userbyid(relowner) FROM pg_class
		WHERE relname LIKE 'LiteLLM\_%' AND relkind = 'r' AND NOT pg_has_role(relowner, 'USAGE') LIMIT 1`).Scan(&owner)
	return owner
}
