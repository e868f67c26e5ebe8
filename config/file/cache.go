package file

import (
	"cmp"
	"encoding/json"
	"net"
	"slices"
	"strconv"
	"strings"

	"tollgate/config/model"
)

// caching is what the sections say of kept answers, until all have been read.
type caching struct {
	on     bool
	at     *value // what switched it on
	params *value
	router model.RedisPlace // router_settings.redis_*
	groups [][]string

	scope              string
	maxItems, maxBytes int64
}

var (
	knownCacheParams = words(`type mode namespace ttl default_in_memory_ttl default_in_redis_ttl supported_call_types host port
		password username url db ssl max_connections socket_timeout redis_startup_nodes service_name sentinel_nodes
		sentinel_password region similarity_threshold redis_semantic_cache_embedding_model redis_semantic_cache_use_async
		redis_flush_size qdrant_api_base qdrant_api_key qdrant_collection_name qdrant_quantization_config
		qdrant_semantic_cache_embedding_model s3_bucket_name s3_region_name s3_api_version s3_path s3_use_ssl s3_verify
		s3_endpoint_url s3_aws_access_key_id s3_aws_secret_access_key s3_aws_session_token s3_config gcs_bucket_name
		gcs_path_service_account gcs_path disk_cache_dir`)
	cacheTypes = words("local redis redis-semantic valkey-semantic qdrant-semantic s3 gcs disk azure-blob")
)

func (p *parser) litellmCache(s *section) {
	if v := s.field("cache"); v != nil {
		s.Bool("cache", &p.cache.on)
		p.cache.at = v
	}
	p.cache.params = s.field("cache_params")
}

func (p *parser) routerCache(s *section) {
	responses := false
	s.Bool("cache_responses", &responses)
	if responses && !p.cache.on {
		p.cache.on, p.cache.at = true, s.v.get("cache_responses")
	}
	p.redis(s, "redis_", &p.cache.router)
	v := s.field("caching_groups")
	if v == nil {
		return
	}
	if v.kind != kindList {
		s.want(v, "caching_groups", "a list of lists of model groups")
		return
	}
	for i, item := range v.items {
		if group := s.texts(item, at("caching_groups", i)); len(group) > 0 {
			p.cache.groups = append(p.cache.groups, group)
		}
	}
}

// tollgateCache reads our own settings of the cache.
func (p *parser) tollgateCache(s *section) {
	s.Choice("cache.scope", &p.cache.scope, model.CacheForAll, model.CacheForKey, model.CacheForTeam, model.CacheForOrganization)
	s.Bytes("cache.max_items", &p.cache.maxItems)
	s.Bytes("cache.max_bytes", &p.cache.maxBytes)
}

// redis reads how a Redis is reached, from names with a prefix.
func (p *parser) redis(s *section, prefix string, r *model.RedisPlace) {
	s.Text(prefix+"url", &r.URL)
	s.Text(prefix+"host", &r.Host)
	s.Text(prefix+"password", &r.Password)
	s.Text(prefix+"username", &r.Username)
	s.Bool(prefix+"ssl", &r.TLS)
	var db *int
	s.Int(prefix+"db", &db)
	if db != nil {
		r.DB = *db
	}
	r.Port = s.upTo(prefix+"port", 65535)
}

// finishCache decides what holds when all sections have been read.
func (p *parser) finishCache() {
	if !p.cache.on {
		return
	}
	c := &model.Cache{Groups: p.cache.groups, Scope: p.cache.scope, MaxItems: int(p.cache.maxItems), MaxBytes: p.cache.maxBytes}
	v := p.cache.params
	if v == nil {
		v = &value{kind: kindMap, file: p.cache.at.file, line: p.cache.at.line, col: p.cache.at.col}
	}
	path := "litellm_settings.cache_params"
	if v.kind != kindMap {
		p.fault(v, path, "want a map of settings, found "+kindNames[v.kind], "indent the settings under cache_params:")
		return
	}
	s := newSection(&p.sink, v, path, Fault)
	typ := model.CacheRedis
	s.Choice("type", &typ, cacheTypes...)
	mode := ""
	s.Choice("mode", &mode, "default_on", "default_off")
	c.OptIn = mode == "default_off"
	s.Text("namespace", &c.Namespace)
	var memoryTTL, redisTTL float64
	s.Float("ttl", &c.TTL)
	s.Float("default_in_memory_ttl", &memoryTTL)
	s.Float("default_in_redis_ttl", &redisTTL)
	if types := s.field("supported_call_types"); types != nil {
		if c.CallTypes = s.texts(types, "supported_call_types"); len(c.CallTypes) == 0 {
			return // no kind of call: a Redis for limits alone, which need none here
		}
	}
	if kb, _ := p.env("MAX_SIZE_PER_ITEM_IN_MEMORY_CACHE_IN_KB"); kb != "" {
		if n, err := strconv.ParseInt(kb, 10, 32); err == nil && n > 0 {
			c.MaxItemBytes = n << 10
		}
	}
	place := p.redisPlace(s)
	s.Rest(knownCacheParams)
	switch typ {
	case model.CacheMemory, model.CacheRedis:
	case "redis-semantic":
		p.warn(s.v.get("type"), join(path, "type"), "answers are found by equal questions only in this release, not by similar ones", "")
		typ = model.CacheRedis
	default:
		p.warn(s.v.get("type"), join(path, "type"), "a cache of type "+quote(typ)+" is not available in this release; answers are kept in memory",
			"use local or redis")
		typ = model.CacheMemory
	}
	if typ == model.CacheRedis && place == nil {
		p.warn(p.cache.at, "litellm_settings.cache", "no Redis is named, neither here nor in REDIS_HOST or REDIS_URL; every node keeps answers in its memory",
			"name one in cache_params, or write type: local")
		typ = model.CacheMemory
	}
	if c.Type = typ; typ == model.CacheRedis {
		c.Redis = place
		c.TTL = cmp.Or(c.TTL, redisTTL)
	} else {
		c.TTL = cmp.Or(c.TTL, memoryTTL)
	}
	p.out.Config.Cache = c
}

// redisPlace is the Redis that is named: by cache_params, else by the router's
// settings, else by the environment. What one leaves out the next may say. nil
// when none says where it is.
func (p *parser) redisPlace(s *section) *model.RedisPlace {
	var r model.RedisPlace
	p.redis(s, "", &r)
	r.Nodes = p.addresses(s, "redis_startup_nodes")
	r.Sentinels = p.addresses(s, "sentinel_nodes")
	s.Text("service_name", &r.Service)
	s.Text("sentinel_password", &r.SentinelPassword)
	r.Connections = s.upTo("max_connections", 100_000)
	s.Float("socket_timeout", &r.Timeout)
	s.Text("region", &r.Region)
	env := p.redisOfEnvironment()
	for _, next := range []*model.RedisPlace{&p.cache.router, env} {
		if r.URL == "" && r.Host == "" && len(r.Nodes) == 0 && len(r.Sentinels) == 0 {
			r.URL, r.Host, r.Nodes, r.Sentinels = next.URL, next.Host, next.Nodes, next.Sentinels
		}
		r.Port, r.DB = cmp.Or(r.Port, next.Port), cmp.Or(r.DB, next.DB)
		r.Username, r.Password = cmp.Or(r.Username, next.Username), cmp.Or(r.Password, next.Password)
		r.Service, r.SentinelPassword = cmp.Or(r.Service, next.Service), cmp.Or(r.SentinelPassword, next.SentinelPassword)
		r.Timeout = cmp.Or(r.Timeout, next.Timeout)
		if s.v.get("ssl") == nil {
			r.TLS = r.TLS || next.TLS
		}
	}
	if len(r.Sentinels) > 0 && r.Service == "" {
		s.bad(s.v, "service_name", "sentinels need the name of the service that they watch", "add service_name, or REDIS_SERVICE_NAME")
	}
	if r.URL == "" && r.Host == "" && len(r.Nodes) == 0 && len(r.Sentinels) == 0 {
		return nil
	}
	return &r
}

// redisOfEnvironment is what REDIS_… variables say.
func (p *parser) redisOfEnvironment() *model.RedisPlace {
	text := func(name string) string {
		s, _ := p.env(name)
		return strings.TrimSpace(s)
	}
	number := func(name string) int {
		n, _ := strconv.Atoi(text(name)) // what is no number says nothing
		return max(n, 0)
	}
	r := &model.RedisPlace{URL: text("REDIS_URL"), Host: text("REDIS_HOST"), Port: number("REDIS_PORT"), Username: text("REDIS_USERNAME"),
		Password: text("REDIS_PASSWORD"), DB: number("REDIS_DB"), Service: text("REDIS_SERVICE_NAME"), SentinelPassword: text("REDIS_SENTINEL_PASSWORD")}
	r.TLS = slices.Contains([]string{"true", "1"}, strings.ToLower(text("REDIS_SSL")))
	if f, err := strconv.ParseFloat(text("REDIS_SOCKET_TIMEOUT"), 64); err == nil && f > 0 && f < maxNumber {
		r.Timeout = f
	}
	r.Nodes = p.addressesOfEnvironment("REDIS_CLUSTER_NODES")
	r.Sentinels = p.addressesOfEnvironment("REDIS_SENTINEL_NODES")
	return r
}

func (p *parser) addressesOfEnvironment(name string) []string {
	s, _ := p.env(name)
	if strings.TrimSpace(s) == "" {
		return nil
	}
	out, ok := addressesIn([]byte(s))
	if !ok {
		p.warn(p.cache.at, "litellm_settings.cache", name+" is no JSON list of nodes; it is left out", `write [{"host": "10.0.0.1", "port": 6379}], or [["10.0.0.1", 26379]]`)
	}
	return out
}

// addresses reads a list of nodes: {host, port} each, or [host, port].
func (p *parser) addresses(s *section, name string) []string {
	v := s.field(name)
	if v == nil {
		return nil
	}
	out, ok := addressesIn(v.json())
	if !ok {
		s.want(v, name, "a list of nodes, each with host and port")
	}
	return out
}

func addressesIn(raw []byte) ([]string, bool) {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil, false
	}
	out := make([]string, 0, len(list))
	for _, item := range list {
		var node struct {
			Host string          `json:"host"`
			Port json.RawMessage `json:"port"`
		}
		if json.Unmarshal(item, &node) != nil {
			var pair []json.RawMessage
			if json.Unmarshal(item, &pair) != nil || len(pair) != 2 || json.Unmarshal(pair[0], &node.Host) != nil {
				return nil, false
			}
			node.Port = pair[1]
		}
		port, err := strconv.ParseUint(strings.Trim(string(node.Port), `"`), 10, 16)
		if err != nil || port == 0 || node.Host == "" {
			return nil, false
		}
		out = append(out, net.JoinHostPort(node.Host, strconv.FormatUint(port, 10)))
	}
	return out, true
}
