package run

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"tollgate/config/model"
	"tollgate/proxy/cache"
)

// cacheEvery is how soon changed settings of the cache are followed.
const cacheEvery = time.Second

// openCache gives the node its cache of answers, as the config says.
func (n *node) openCache(background context.Context, group *errgroup.Group) {
	n.cache = cache.New(cache.Config{Region: n.o.Region, Clock: n.clock, Logger: n.log, Registerer: n.metrics})
	seen := n.store.State().ActiveConfig()
	n.updateCache(seen)
	group.Go(func() error { return n.cache.Run(background) })
	group.Go(func() error { return n.followCache(background, seen) })
}

// followCache keeps the cache to what the newest config names.
func (n *node) followCache(ctx context.Context, seen *model.ConfigVersion) error {
	t := time.NewTicker(cacheEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
		if v := n.store.State().ActiveConfig(); v != seen {
			seen = v
			n.updateCache(v)
		}
	}
}

// updateCache makes the cache that of a config. One that cannot be made is told:
// calls go on with the former one, or with none.
func (n *node) updateCache(v *model.ConfigVersion) {
	var want *model.Cache
	var faults []error
	if v != nil {
		opened, errs := n.box.OpenConfig(&v.Config)
		if want = opened.Cache; want != nil {
			faults = errs
		}
	}
	if err := errors.Join(append(faults, n.cache.Use(want))...); err != nil {
		n.log.Error("the cache of answers is not as configured", "error", err)
	}
}

// cacheFact is where answers are kept, nil for nowhere.
func (n *node) cacheFact() any {
	if kind := n.cache.Kind(); kind != "" {
		return kind
	}
	return nil
}
