package call

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/proxy/cache"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/route"
)

// cached is what a call has to do with kept answers; a call that neither reads
// nor leaves any has none.
type cached struct {
	cache.Controls
	key string
	hit *cache.Value

	// Of an embedding: its inputs with their keys, the vectors that were found for
	// them, and the raw list of those that are still to be asked for.
	inputs  [][]byte
	keys    []string
	vectors [][]byte
	rest    []byte

	sent  []byte // a stream's frames, until it ends
	given bool   // up: they were too many
}

// mostFrames bounds what is held of a stream: its frames are many times larger
// than what they add up to.
const mostFrames = 4 << 20

// fromCache answers the call with a kept answer. It is false when there is none,
// and then says how the call's own answer is to be kept.
func (c *call) fromCache() bool {
	cfg := c.snap.Routing.Config.Cache
	if cfg == nil || c.h.Cache == nil || !c.mayCache(cfg) {
		return false
	}
	q, k := c.question(cfg)
	if k == nil {
		return false
	}
	c.cached = k
	if c.op == provider.OpEmbedding {
		return c.vectorsFromCache(q)
	}
	if !k.Read {
		return false
	}
	v, ok := c.h.Cache.Get(context.Background(), k.key, k.MaxAge)
	if !ok || v.Kind != c.callType() {
		return false
	}
	k.hit = v
	return c.answerFrom(v)
}

// mayCache reports whether calls of this kind, of this caller and with what this
// one asks for have anything to do with kept answers.
func (c *call) mayCache(cfg *model.Cache) bool {
	kind := c.callType()
	if !cfg.Caches(kind) && !cfg.Caches(strings.TrimPrefix(kind, "a")) {
		return false
	}
	w := &c.req.wishes
	if c.req.hasMock || w.mockFallbacks || w.mockContext || w.mockContent || w.mockRateLimit || w.mockTimeout {
		return false // a rehearsal
	}
	if c.op == provider.OpEmbedding && c.req.stream {
		return false
	}
	return c.h.Cache.Allows(c.regions)
}

// question says what the call asks, and what it wants of the cache: nil when it
// wants nothing.
func (c *call) question(cfg *model.Cache) (*cache.Question, *cached) {
	var ofKey []byte
	if k := c.principal.Key; k != nil && len(k.Metadata) > 0 {
		ofKey = jsonscan.Member(k.Metadata, "cache")
	}
	ofCall, _ := c.body.Get("cache")
	caching, _ := c.body.Get("caching")
	k := &cached{Controls: cache.ControlsOf(cfg.OptIn, ofKey, ofCall, caching)}
	if !k.Read && !k.Write {
		return nil, nil
	}
	if k.TTL == 0 {
		k.TTL = cache.HeaderTTL(c.ctx.Request.Header.PeekBytes(headerCacheControl))
	}
	q := &cache.Question{Kind: c.callType(), Group: cache.GroupOf(cfg, c.cacheGroup()), Fields: &c.body,
		Gateway: func(key []byte) bool { return isGatewayField(c.op, key) }, Owner: c.cacheOwner(cfg.Scope), Regions: c.modelRegions(), Namespace: k.Namespace}
	q.Beta = c.clientHeader("anthropic-beta") + "\x00" + c.clientHeader("openai-beta")
	if q.Namespace == "" && c.req.metadata != nil {
		q.Namespace = cache.Namespace(jsonscan.Member(c.req.metadata, "redis_namespace"))
	}
	if q.Namespace == "" {
		q.Namespace = cfg.Namespace
	}
	k.key = q.Key()
	return q, k
}

// cacheGroup is the model group that an answer belongs to: all its deployments
// answer for each other, whatever name leads to it.
func (c *call) cacheGroup() string {
	name := c.principal.Alias(c.req.model)
	t, _ := c.snap.Routing.Resolve(name)
	choices := t.Deployments()
	if !t.Alias || len(choices) == 0 {
		return name
	}
	for _, one := range choices {
		if one.Group != choices[0].Group {
			return name
		}
	}
	return choices[0].Group
}

// cacheOwner is who alone may have the call's answer, "" when everybody may. Who
// has no team or organization has his key's answers only: nobody is put together
// with strangers.
func (c *call) cacheOwner(scope string) string {
	p := &c.principal
	switch scope {
	case model.CacheForOrganization:
		if id := p.OrganizationID(); id != "" {
			return "organization\x00" + id
		}
	case model.CacheForTeam:
		if p.Key != nil && p.Key.TeamID != "" {
			return "team\x00" + p.Key.TeamID
		}
	case model.CacheForKey:
	default:
		return ""
	}
	return "key\x00" + p.KeyHash()
}

// answerFrom gives a kept answer, in the form that this call asks for. It takes
// the last steps of every answer: it is booked before it leaves.
func (c *call) answerFrom(v *cache.Value) bool {
	i := slices.IndexFunc(c.plan.Candidates, func(cand route.Candidate) bool { return cand.Deployment.ID == v.Deployment && !cand.Fallback })
	if i >= 0 {
		c.served = c.plan.Candidates[i]
	}
	c.firstAt = c.h.Clock.Now()
	raw := cache.Usage(v.Body)
	usage := price.FromOpenAI(raw)
	messages := c.op == provider.OpMessages
	if messages {
		usage = price.FromAnthropic(raw)
	}
	usage.Known = true // what is not told is nothing: nobody has been asked
	id := c.hitID(v.ID)
	if !c.req.stream {
		c.deliver(&provider.Answer{Body: cache.Named(c.space[:0], v.Body, c.req.model), ID: id, Model: v.Model, Usage: usage, RawUsage: raw})
		return true
	}
	whole := &told{info: provider.StreamInfo{ID: id, Model: v.Model, Usage: usage, RawUsage: raw, SawContent: true, Done: true}}
	fault := c.wholeStream(nil, func(out provider.Sink) error {
		ok := false
		if messages {
			ok = cache.ReplayMessage(v.Body, c.req.model, out.Emit)
		} else {
			ok = cache.Replay(v.Body, c.req.model, c.req.wantUsage || c.snap.Routing.Config.General.AlwaysStreamUsage, out.Emit)
		}
		if !ok {
			return provider.NewError(provider.InternalServer, "the kept answer is not readable")
		}
		return nil
	}, whole)
	if fault != nil { // it was readable a moment ago
		c.cached.hit, c.served = nil, route.Candidate{}
		return false
	}
	return true
}

// hitID is the request id of a row whose answer was kept: LiteLLM's, as the
// answer's own id has its row already.
func (c *call) hitID(id string) string {
	if id == "" {
		return ""
	}
	return id + "_cache_hit" + strconv.FormatFloat(float64(c.h.Clock.Now().UnixMicro())/1e6, 'f', 6, 64)
}

// vectorsFromCache finds the vectors of an embedding one by one. Where some are
// missing the call goes on and asks for those alone.
func (c *call) vectorsFromCache(q *cache.Question) bool {
	k := c.cached
	raw, _ := c.body.Get("input")
	k.inputs, _ = cache.Inputs(raw)
	if len(k.inputs) == 0 || len(k.inputs) > mostInputs {
		c.cached = nil
		return false
	}
	k.keys = make([]string, len(k.inputs))
	for i, in := range k.inputs {
		k.keys[i] = q.ItemKey(in)
	}
	k.vectors = make([][]byte, len(k.inputs))
	if !k.Read {
		return false
	}
	var last *cache.Value
	var rest [][]byte
	for i, v := range c.h.Cache.GetAll(context.Background(), k.keys, k.MaxAge) {
		if v == nil || v.Kind != c.callType() {
			rest = append(rest, k.inputs[i])
			continue
		}
		last, k.vectors[i] = v, v.Body
	}
	switch {
	case last == nil:
		return false
	case len(rest) > 0:
		list := []byte{'['}
		for i, in := range rest {
			if i > 0 {
				list = append(list, ',')
			}
			list = append(list, in...)
		}
		k.rest = append(list, ']')
		return false
	}
	whole := *last
	whole.Body = cache.Embeddings(k.vectors, c.req.model, nil)
	k.hit = &whole
	return c.answerFrom(&whole)
}

// mostInputs bounds the keys of one call; providers take no more.
const mostInputs = 4096

// joinVectors puts what a provider has answered for the rest of an embedding's
// inputs together with the vectors that were kept.
func (c *call) joinVectors(a *provider.Answer) *provider.Error {
	k := c.cached
	if k == nil || k.inputs == nil {
		return nil
	}
	missing := make([][]byte, 0, len(k.inputs))
	for i, in := range k.inputs {
		if k.vectors[i] == nil {
			missing = append(missing, in)
		}
	}
	fresh, ok := cache.Vectors(a.Body, missing)
	if k.rest == nil {
		if ok {
			copy(k.vectors, fresh)
		} else {
			k.Write = false
		}
		return nil
	}
	if !ok {
		return provider.NewError(provider.APIError, "the provider's answer does not have one embedding for each input")
	}
	joined := make([][]byte, len(k.inputs))
	next := 0
	for i := range joined {
		if joined[i] = k.vectors[i]; joined[i] == nil {
			joined[i] = fresh[next]
			next++
		} else {
			k.keys[i] = "" // it is kept already, and its time does not begin anew
		}
	}
	k.vectors = joined
	a.Body = cache.Embeddings(joined, c.publicName(c.served), cache.Usage(a.Body))
	return nil
}

// keepAnswer hands the call's whole answer to the cache, once it is booked.
func (c *call) keepAnswer(a *provider.Answer) {
	k := c.cached
	if !c.keeps() {
		return
	}
	if k.inputs != nil {
		for i, v := range k.vectors {
			if v != nil && k.keys[i] != "" {
				c.keepValue(k.keys[i], a.ID, a.Model, jsonscan.Compact(nil, v))
			}
		}
		return
	}
	messages := c.op == provider.OpMessages
	if len(a.Body) > c.h.Cache.MaxBytes() || !cache.Whole(a.Body, messages) {
		return
	}
	c.keepValue(k.key, a.ID, a.Model, jsonscan.Compact(nil, a.Body))
}

func (c *call) keepValue(key, id, modelName string, body []byte) {
	v := c.value(id, modelName)
	v.Body = body
	c.h.Cache.Put(key, func() *cache.Value { return v }, c.cached.TTL)
}

func (c *call) value(id, modelName string) *cache.Value {
	return &cache.Value{At: c.endAt, Kind: c.callType(), ID: strings.Clone(id), Model: strings.Clone(modelName), Deployment: c.served.Deployment.ID, Cost: c.cost.Total}
}

// keeps reports whether the call's answer may serve others. What a fallback has
// said is no answer of the model that was asked, and what a budget has cut short
// is no whole one.
func (c *call) keeps() bool {
	k := c.cached
	return k != nil && k.Write && k.hit == nil && !k.given && c.served.Deployment != nil && !c.served.Fallback && c.outputLimit() == 0
}

// record holds a frame that goes to the client.
func (k *cached) record(frame []byte) {
	switch {
	case k.hit != nil || !k.Write || k.given:
	case len(k.sent)+len(frame) > mostFrames:
		k.given, k.sent = true, nil
	default:
		k.sent = append(k.sent, frame...)
	}
}

// keepStream hands a stream that has ended well to the cache, where its frames
// are joined.
func (c *call) keepStream(info *provider.StreamInfo, usage *price.Usage) {
	k := c.cached
	if !c.keeps() || !info.Done || len(k.sent) == 0 {
		return
	}
	frames, messages, told, v := k.sent, c.op == provider.OpMessages, *usage, c.value(info.ID, info.Model)
	c.h.Cache.Put(k.key, func() *cache.Value {
		doc, ok := cache.Assemble(frames, messages, &told)
		if !ok || !cache.Whole(doc, messages) {
			return nil
		}
		v.Body = jsonscan.Compact(nil, doc)
		return v
	}, k.TTL)
}

// isHit reports whether the answer was kept.
func (c *call) isHit() bool { return c.cached != nil && c.cached.hit != nil }
