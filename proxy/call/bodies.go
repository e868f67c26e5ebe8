package call

import (
	"tollgate/ledger/store"
	"tollgate/proxy/jsonscan"
)

// keepsBodiesField is the field of a key's, team's or organisation's metadata
// that decides for its calls whether prompts and answers are stored.
const keepsBodiesField = "store_prompts_in_spend_logs"

// keepBodies stores prompt and answer where the settings ask for it.
func (c *call) keepBodies(e *store.Entry, o outcome) {
	e.NoLog = c.req.noLog
	if !c.keepsBodies() {
		return
	}
	e.BodiesUnlisted = !c.listsBodies()
	e.Request, e.Response = c.body.Src(), o.response
	if raw, ok := c.body.Get("messages"); ok {
		e.Messages = raw
	}
}

// keepsBodies reports whether rows or a callback tell prompt and answer.
func (c *call) keepsBodies() bool {
	if c.listsBodies() {
		return true
	}
	cfg := c.snap.Routing.Config
	if cfg.LiteLLM.TurnOffMessageLogging || c.req.noLog {
		return false
	}
	for i := range cfg.Callbacks {
		if cfg.Callbacks[i].Content {
			said, ok := c.storesPrompts()
			return said || !ok // who opts out is told of nowhere
		}
	}
	return false
}

// listsBodies reports whether rows show prompt and answer. It follows the
// nearest that has an opinion: the request itself (only against), key, team,
// organisation, the settings.
func (c *call) listsBodies() bool {
	cfg := c.snap.Routing.Config
	if cfg.LiteLLM.TurnOffMessageLogging || c.req.noLog {
		return false
	}
	if keep, ok := c.storesPrompts(); ok {
		return keep
	}
	return cfg.General.StorePrompts
}

// storesPrompts is what key, team or organisation say of their calls.
func (c *call) storesPrompts() (keep, ok bool) {
	p := c.principal
	if p.Key != nil {
		keep, ok = storesPrompts(p.Key.Metadata)
	}
	if !ok && p.Team != nil {
		keep, ok = storesPrompts(p.Team.Metadata)
	}
	if !ok && p.Organization != nil {
		keep, ok = storesPrompts(p.Organization.Metadata)
	}
	return keep, ok
}

func storesPrompts(metadata []byte) (keep, ok bool) {
	if len(metadata) <= len(keepsBodiesField) {
		return false, false
	}
	return jsonscan.Bool(jsonscan.Find(metadata, keepsBodiesField))
}
