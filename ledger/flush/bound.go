package flush

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// projectWithin bounds a statement of the projection, and migrateWithin one of
	// a migration, on this side: a server that hangs keeps no bound of its own. A
	// migration's is above what the server allows it.
	projectWithin = 2 * time.Minute
	migrateWithin = 6 * time.Minute
)

// bound gives each statement of a connection a time, to the reading of its last
// row. A connection whose statement has passed it is closed by the library.
type bound struct{ most time.Duration }

var (
	_ pgx.QueryTracer    = bound{}
	_ pgx.BatchTracer    = bound{}
	_ pgx.CopyFromTracer = bound{}
)

type boundKey struct{}

func (b bound) begin(ctx context.Context) context.Context {
	ctx, end := context.WithTimeout(ctx, b.most)
	return context.WithValue(ctx, boundKey{}, end)
}

func (b bound) end(ctx context.Context) {
	if end, ok := ctx.Value(boundKey{}).(context.CancelFunc); ok {
		end()
	}
}

// TraceQueryStart bounds a statement.
func (b bound) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return b.begin(ctx)
}

// TraceQueryEnd ends the bound.
func (b bound) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) { b.end(ctx) }

// TraceBatchStart bounds several statements together.
func (b bound) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return b.begin(ctx)
}

// TraceBatchQuery does nothing: the batch is bounded as a whole.
func (bound) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd ends the bound.
func (b bound) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) { b.end(ctx) }

// TraceCopyFromStart bounds a copy.
func (b bound) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	return b.begin(ctx)
}

// TraceCopyFromEnd ends the bound.
func (b bound) TraceCopyFromEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromEndData) {
	b.end(ctx)
}
