package call

import (
	"time"

	"tollgate/proxy/refusal"
)

// mayServe refuses calls that this node could not book or has no settings for.
func (c *call) mayServe() *refusal.Refusal {
	if err := c.h.Ledger.Healthy(); err != nil {
		return refusal.Unavailable("ledger_unavailable", "This node cannot record calls at the moment ("+err.Error()+"). Another node can; try again.", 5*time.Second)
	}
	if c.snap.Routing == nil {
		return refusal.Unavailable("no_config", "This node has no configuration yet.", time.Second)
	}
	return nil
}

// gate is one right that the caller of a model must have.
type gate struct {
	name string
	ask  func(c *call) *refusal.Refusal
}

// gates stand in LiteLLM's order: the first that is shut is the one told.
var gates = [...]gate{
	{"end_user", (*call).endUserMay},
	{"key_models", func(c *call) *refusal.Refusal {
		return c.principal.MayUseModel(c.snap, c.req.model, c.compatOld())
	}},
	{"key_expiry", func(c *call) *refusal.Refusal { return c.principal.Expired(c.start) }},
	{"owner_models", func(c *call) *refusal.Refusal {
		return c.principal.MayUseModelOfOwners(c.snap, c.req.model, c.compatOld())
	}},
	{"client_tags", (*call).tagsMay},
	{"user_param", (*call).userStated},
}

// authorize lets the call through all gates.
func (c *call) authorize() *refusal.Refusal {
	for i := range gates {
		if ref := gates[i].ask(c); ref != nil {
			return ref
		}
	}
	return nil
}

func (c *call) endUserMay() *refusal.Refusal {
	if c.req.endUser == "" {
		return nil
	}
	if e, ok := c.snap.EndUsers.Get(c.req.endUser); ok && e.Blocked {
		return refusal.New(401, "auth_error", refusal.None, "Authentication Error, End user="+e.ID+
			" is blocked. Update via `/customer/unblock` if you're an admin.").Lift()
	}
	return nil
}

func (c *call) tagsMay() *refusal.Refusal {
	if c.snap.Routing.Config.General.RejectClientTags && c.req.clientTags && !c.principal.Master {
		return refusal.New(400, "invalid_request_error", "tags", "Tags may not be sent by clients on this gateway (general_settings.reject_clientside_metadata_tags). Remove them; keys and teams carry their own.")
	}
	return nil
}

func (c *call) userStated() *refusal.Refusal {
	if g := &c.snap.Routing.Config.General; g.EnforceUserParam && c.req.user == "" && !c.principal.Master {
		return refusal.New(400, "invalid_request_error", "user", "BadRequest please pass param=user in request body. This is a required param")
	}
	return nil
}
