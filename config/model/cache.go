package model

import "slices"

// Cache is how answers are kept for calls that ask the same again:
// litellm_settings.cache and cache_params, the router's caching settings and
// tollgate_settings.cache, read together. A config without one caches nothing.
type Cache struct {
	Type string `json:"type"` // CacheMemory, CacheRedis
	// OptIn is mode default_off: only calls that ask for it are cached.
	OptIn bool `json:"opt_in,omitempty"`
	// CallTypes are those that are cached; nil: all.
	CallTypes []string `json:"call_types,omitempty"`
	Namespace string   `json:"namespace,omitempty"`
	// TTL is for how many seconds an answer is kept; 0: as long as the store does
	// by itself.
	TTL float64 `json:"ttl,omitempty"`
	// Scope says who shares answers: CacheForAll (also ""), CacheForKey, CacheForTeam,
	// CacheForOrganization.
	Scope string `json:"scope,omitempty"`
	// Groups are lists of model groups of which each may be answered with what
	// another of its list has said.
	Groups [][]string `json:"groups,omitempty"`

	MaxItems     int   `json:"max_items,omitempty"`      // in memory; 0: the default
	MaxBytes     int64 `json:"max_bytes,omitempty"`      // in memory; 0: the default
	MaxItemBytes int64 `json:"max_item_bytes,omitempty"` // of one answer; 0: the default

	Redis *RedisPlace `json:"redis,omitempty"`
}

// Where answers are kept, and who shares them.
const (
	CacheMemory = "local"
	CacheRedis  = "redis"

	CacheForAll          = "all"
	CacheForKey          = "key"
	CacheForTeam         = "team"
	CacheForOrganization = "organisation"
)

// RedisPlace is how a Redis is reached: one server, a cluster, or what sentinels
// name.
type RedisPlace struct {
	URL              string   `json:"redis_url,omitempty"` // sealed; it wins over host and port
	Host             string   `json:"host,omitempty"`
	Port             int      `json:"port,omitempty"`
	Username         string   `json:"username,omitempty"`
	Password         string   `json:"password,omitempty"` // sealed
	DB               int      `json:"db,omitempty"`
	TLS              bool     `json:"tls,omitempty"`
	Nodes            []string `json:"nodes,omitempty"` // of a cluster, HOST:PORT
	Sentinels        []string `json:"sentinels,omitempty"`
	Service          string   `json:"service,omitempty"`           // that the sentinels watch
	SentinelPassword string   `json:"sentinel_password,omitempty"` // sealed
	Connections      int      `json:"connections,omitempty"`       // at most; 0: the default
	Timeout          float64  `json:"timeout,omitempty"`           // seconds for one answer; 0: the default
	Region           string   `json:"region,omitempty"`            // where it is, for data_regions
}

// Clone is a copy that shares nothing which sealing or opening changes.
func (c *Cache) Clone() *Cache {
	if c == nil {
		return nil
	}
	d := *c
	if c.Redis != nil {
		r := *c.Redis
		d.Redis = &r
	}
	return &d
}

// Caches reports whether answers to a kind of call are kept. LiteLLM's names of
// the waiting and the other form of a call mean the same here.
func (c *Cache) Caches(callType string) bool {
	return c.CallTypes == nil || slices.Contains(c.CallTypes, callType)
}
