package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	_ "net/http/pprof" // served only where --pprof-listen says
	"time"

	"golang.org/x/sync/errgroup"
)

// openProfiler serves Go's profiler on a listener of its own, when asked for.
func (n *node) openProfiler(ctx context.Context, group *errgroup.Group) error {
	if n.o.PprofListen == "" {
		return nil
	}
	ln, err := net.Listen("tcp", n.o.PprofListen)
	if err != nil {
		return fmt.Errorf("--pprof-listen %s: %w", n.o.PprofListen, err)
	}
	srv := &http.Server{Handler: http.DefaultServeMux, ReadHeaderTimeout: 10 * time.Second}
	group.Go(func() error {
		<-ctx.Done()
		return srv.Close()
	})
	group.Go(func() error {
		if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return nil
}
