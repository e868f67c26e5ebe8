package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	n.port.Handle(methodForgetAnswers, func(ctx context.Context, _ string, payload []byte) ([]byte, error) {
		var keys []string
		if err := json.Unmarshal(payload, &keys); err != nil {
			return nil, fmt.Errorf("keys of answers to forget: %w", err)
		}
		return nil, forgetAnswers(ctx, n.cache, keys)
	})
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

// methodForgetAnswers has a node forget what its memory keeps: the answers of
// these keys, or all where there are none.
const methodForgetAnswers = "cache.forget"

func forgetAnswers(ctx context.Context, c *cache.Cache, keys []string) error {
	err := c.Flush(ctx)
	if len(keys) > 0 {
		err = c.Delete(ctx, keys)
	}
	if errors.Is(err, cache.ErrOff) { // it keeps none
		return nil
	}
	return err
}

// caches are those of the whole cluster to an operator: what he deletes is gone
// from every node that is there, not only from the one he happens to ask.
type caches struct {
	*cache.Cache
	n *node
}

// Delete forgets answers by their keys.
func (c caches) Delete(ctx context.Context, keys []string) error {
	return errors.Join(c.Cache.Delete(ctx, keys), c.elsewhere(ctx, keys))
}

// Flush forgets all answers.
func (c caches) Flush(ctx context.Context) error {
	return errors.Join(c.Cache.Flush(ctx), c.elsewhere(ctx, nil))
}

// forgetWithin is how long another node may take.
const forgetWithin = 3 * time.Second

// elsewhere has the others forget too, all at once. A Redis is the same for all
// of them.
func (c caches) elsewhere(ctx context.Context, keys []string) error {
	if c.Kind() != model.CacheMemory {
		return nil
	}
	payload, err := json.Marshal(keys)
	if err != nil {
		return fmt.Errorf("keys of answers to forget: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, forgetWithin)
	defer cancel()
	others := c.n.othersAlive()
	faults := make([]error, len(others))
	var group errgroup.Group
	for i, id := range others {
		group.Go(func() error {
			if _, err := c.n.port.Call(ctx, id, methodForgetAnswers, payload); err != nil {
				faults[i] = fmt.Errorf("node %s may still keep them: %w", id, err)
			}
			return nil
		})
	}
	_ = group.Wait() // each has its own fault
	return errors.Join(faults...)
}
