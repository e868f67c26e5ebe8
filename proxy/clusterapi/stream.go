package clusterapi

import (
	"bufio"
	"context"
	"errors"
	"io"

	"tollgate/proxy/refusal"
)

const backupRoute = "/cluster/backup"

// backup streams a snapshot to the client. One that cannot be finished cuts the
// connection: what has no end must not look whole.
func (c *call) backup() *refusal.Refusal {
	name := "tollgate-" + c.h.Clock.Now().UTC().Format("20060102-150405") + ".snapshot"
	c.ctx.Response.Header.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	c.h.Logger.Info("cluster operation", "operation", c.route, "by", c.who())
	return c.stream("application/octet-stream", func(ctx context.Context, w io.Writer) error {
		err := c.h.Cluster.Backup(ctx, w)
		if err != nil && ctx.Err() == nil {
			c.h.Logger.Warn("backup not finished", "error", err)
		}
		return err
	})
}

// stream answers with what write writes, as it comes. Until the first byte the
// call can still be refused in the ordinary way.
func (c *call) stream(contentType string, write func(context.Context, io.Writer) error) *refusal.Refusal {
	ctx, cancel := context.WithCancel(context.Background())
	in, out := io.Pipe()
	go func() {
		defer cancel()
		out.CloseWithError(write(ctx, out)) // nil ends the stream as io.EOF
	}()
	body := &bodyStream{Reader: bufio.NewReaderSize(in, 32<<10), in: in, cancel: cancel}
	if _, err := body.Peek(1); err != nil && !errors.Is(err, io.EOF) {
		_ = body.Close()
		c.ctx.Response.Header.Del("Content-Disposition")
		return c.failed(err)
	}
	c.ctx.Response.Header.SetContentType(contentType)
	c.ctx.Response.Header.Set("Cache-Control", "no-store")
	c.ctx.Response.SetBodyStream(body, -1)
	return nil
}

// bodyStream is closed by the server when the answer is out or the client gone;
// the writer then stops.
type bodyStream struct {
	*bufio.Reader
	in     *io.PipeReader
	cancel context.CancelFunc
}

// Close stops the writer.
func (b *bodyStream) Close() error {
	b.cancel()
	return b.in.Close()
}
