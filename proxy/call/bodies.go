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
	if !c.keepsBodies() {
		return
	}
	e.Request, e.Response = c.body.Src(), o.response
	if raw, ok := c.body.Get("messages"); ok {
		e.Messages = raw
	}
}

// keepsBodies follows the nearest that has an opinion: the request itself (only
// against), key, team, organisation, the settings.
func (c *call) keepsBodies() bool {
	cfg := c.snap.Routing.Config
	if cfg.LiteLLM.TurnOffMessageLogging || c.req.noLog {
		return false
	}
	p := c.principal
	if p.Key != nil {
		if keep, ok := storesPrompts(p.Key.Metadata); ok {
			return keep
		}
	}
	if p.Team != nil {
		if keep, ok := storesPrompts(p.Team.Metadata); ok {
			return keep
		}
	}
	if p.Organization != nil {
		if keep, ok := storesPrompts(p.Organization.Metadata); ok {
			return keep
		}
	}
	return cfg.General.StorePrompts
}

func storesPrompts(metadata []byte) (keep, ok bool) {
	if len(metadata) <= len(keepsBodiesField) {
		return false, false
	}
	return jsonscan.Bool(jsonscan.Find(metadata, keepsBodiesField))
}
