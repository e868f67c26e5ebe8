package project

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/ledger/flush"
)

// ImportConfig is what an import from another database works with.
type ImportConfig struct {
	URL                   string // of the database, as DATABASE_URL has it; it is only read
	State                 state.Getter
	Clock                 unit.Clock
	Logger                *slog.Logger
	SigningKey, MasterKey string // as in Config
	Seal                  func(*model.Deployment) error
	Propose               func(ctx context.Context, m model.Mutation) error
}

// Import takes over what LiteLLM has in a database that need not be the
// cluster's own. It may be repeated: objects that exist are left as they are.
func Import(ctx context.Context, cfg ImportConfig, progress func(done, total int, what string)) (Report, error) {
	addr, err := flush.ParseAddress(cfg.URL)
	if err != nil {
		return Report{}, fmt.Errorf("import: %w", err)
	}
	addr.ConnConfig.ValidateConnect = nil // a standby can be read as well
	conn, err := pgx.ConnectConfig(ctx, addr.ConnConfig)
	if err != nil {
		return Report{}, fmt.Errorf("import: connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // everything was read
	if _, err := conn.Exec(ctx, "SET default_transaction_read_only = on"); err != nil {
		return Report{}, fmt.Errorf("import: %w", err)
	}
	cipher := newAtRest(cfg.SigningKey, cfg.MasterKey)
	p := &Projector{}
	a := &adoption{db: conn, base: cfg.State.State(), now: cfg.Clock.Now(), view: p.view, cipher: &cipher, seal: cfg.Seal,
		propose: cfg.Propose, logger: cfg.Logger, progress: progress}
	err = a.run(ctx)
	return a.report, err
}
