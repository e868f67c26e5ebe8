package admin

import (
	"context"
	"errors"
	"strings"
	"time"

	"tollgate/config/file"
	"tollgate/config/model"
	"tollgate/proxy/cache"
	"tollgate/proxy/refusal"
)

// Cache is what operators may ask of kept answers. *cache.Cache is one.
type Cache interface {
	Check(ctx context.Context) (*model.Cache, error)
	Delete(ctx context.Context, keys []string) error
	Flush(ctx context.Context) error
	RedisInfo(ctx context.Context) (map[string]string, error)
}

var _ Cache = (*cache.Cache)(nil)

// cacheFault is what an operator is told when the cache cannot do what is asked.
func cacheFault(err error) *refusal.Refusal {
	msg := "Cache not healthy: " + err.Error() + "."
	switch {
	case errors.Is(err, cache.ErrOff):
		msg = "Cache not initialized. litellm.cache is None: set litellm_settings.cache."
	case errors.Is(err, cache.ErrNotRedis):
		msg = "The cache is in the nodes' memory and no Redis: cache_params.type is local, or no Redis is named."
	}
	return refusal.Unavailable("cache_unavailable", msg, time.Second)
}

func (c *call) cacheAdmin() (Cache, *refusal.Refusal) {
	only := c.onlyAdmin
	if readsOnly(string(c.ctx.Method()), c.route) {
		only = c.onlyViewer
	}
	if r := only(); r != nil {
		return nil, r
	}
	if c.a.Cache == nil {
		return nil, cacheFault(cache.ErrOff)
	}
	return c.a.Cache, nil
}

func cachePing(c *call) *refusal.Refusal {
	kept, r := c.cacheAdmin()
	if r != nil {
		return r
	}
	s, err := kept.Check(context.Background())
	if err != nil {
		return cacheFault(err)
	}
	mode := "default_on"
	if s.OptIn {
		mode = "default_off"
	}
	params := map[string]any{"type": s.Type, "namespace": s.Namespace, "ttl": s.TTL, "mode": mode, "supported_call_types": s.CallTypes, "scope": s.Scope}
	out := map[string]any{"status": "healthy", "cache_type": s.Type, "ping_response": true, "set_cache_response": "success", "litellm_cache_params": params}
	if s.Redis != nil {
		shown, err := file.Masked(&model.Config{Cache: s})
		if err != nil {
			return cacheFault(err)
		}
		whole, _ := shown.(map[string]any)["cache"].(map[string]any)
		out["redis_cache_params"] = whole["redis"]
	}
	return c.ok(out)
}

func cacheDelete(c *call) *refusal.Refusal {
	kept, r := c.cacheAdmin()
	if r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	keys := f.strs("keys").v
	if f.wrong() {
		return c.refuseForm(f)
	}
	if len(keys) == 0 {
		return refusal.New(400, "invalid_request_error", "keys", "keys: name the keys to delete, as the header x-litellm-cache-key tells them.")
	}
	if err := kept.Delete(context.Background(), keys); err != nil {
		return cacheFault(err)
	}
	return c.ok(map[string]any{"status": "success"})
}

func cacheFlush(c *call) *refusal.Refusal {
	kept, r := c.cacheAdmin()
	if r != nil {
		return r
	}
	if err := kept.Flush(context.Background()); err != nil {
		return cacheFault(err)
	}
	return c.ok(map[string]any{"status": "success"})
}

func cacheRedisInfo(c *call) *refusal.Refusal {
	kept, r := c.cacheAdmin()
	if r != nil {
		return r
	}
	info, err := kept.RedisInfo(context.Background())
	if err != nil {
		return cacheFault(err)
	}
	databases := map[string]string{}
	for name, v := range info {
		if strings.HasPrefix(name, "db") {
			databases[name] = v
		}
	}
	return c.ok(map[string]any{"info": info, "keyspace": databases})
}
