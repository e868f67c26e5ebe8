package run

import (
	"errors"
	"fmt"
	"net"
	"time"

	"tollgate/cluster"
	"tollgate/proxy/refusal"
)

// announce prints what an operator needs now: the address and a call that works.
func (n *node) announce() {
	n.warnRouting()
	base := "http://" + reachable(n.listener.Addr())
	key := "$LITELLM_MASTER_KEY"
	if n.loaded.MasterKey == "" && n.master != "" {
		key = n.master
		fmt.Fprintf(n.o.Out, "Master key (kept in %s): %s\n", n.o.path(masterKeyFile), key)
	}
	modelName := "gpt-4o-mini"
	if names := n.store.State().Routing.VisibleModels(); len(names) > 0 && !contains(names, modelName) {
		modelName = names[0]
	}
	fmt.Fprintf(n.o.Out, "Tollgate %s is ready at %s (%s in %s)\n", n.o.Version, base, n.o.Name, n.o.Region)
	fmt.Fprintf(n.o.Out, "Try it:\n  curl %s/v1/chat/completions -H \"Authorization: Bearer %s\" -H 'Content-Type: application/json' \\\n"+
		"    -d '{\"model\":\"%s\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}'\n", base, key, modelName)
}

// announceWitness is all that a node without an API has to say.
func (n *node) announceWitness() {
	fmt.Fprintf(n.o.Out, "Tollgate %s votes at %s (%s in %s, a witness: it serves no API)\n", n.o.Version, n.port.Advertise(), n.o.Name, n.o.Region)
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// reachable is an address to type: a listener on all addresses is localhost here.
func reachable(a net.Addr) string {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// Ready is nil when this node may take traffic.
func (n *node) Ready() error {
	if n.store.State().Routing == nil {
		return errors.New("no configuration yet")
	}
	if err := n.place.lonely(); err != nil {
		return err
	}
	if allowed := n.store.State().Routing.Config.Tollgate.StaleAfter; allowed > 0 && n.cluster.Staleness() > time.Duration(allowed*float64(time.Second)) {
		return errors.New("no leader has been heard of for longer than stale_after allows")
	}
	return n.ledger.Healthy()
}

// Facts are what /health shows of this node.
func (n *node) Facts() map[string]any {
	s := n.cluster.Status()
	f := map[string]any{
		"db": n.databaseFact(), "cache": n.cacheFact(), "litellm_version": n.o.Version, "success_callbacks": []string{},
		"node": n.o.Name, "node_id": s.NodeID, "region": n.o.Region, "state_index": s.Applied, "raft_state": s.State,
		"in_flight_requests": n.calls.InFlight(), "cluster_id": s.ClusterID, "leader_id": s.LeaderID,
		"state_age_ms": n.cluster.Staleness().Milliseconds(), "draining": n.server.Draining(),
	}
	if n.db != nil {
		if h := n.db.Health(); !h.Healthy {
			f["db_fault"], f["db_since"] = string(h.Class), h.Since
		}
	}
	if r := n.store.State().Routing; r != nil {
		// Shortened: the hash covers secrets, and anybody may read this.
		f["config_hash"], f["config_version"] = r.Hash[:min(len(r.Hash), 12)], r.Version
	}
	return f
}

// unavailable tells a caller of the management API why a change was not made,
// or that it may have been.
func (n *node) unavailable(err error) *refusal.Refusal {
	if errors.Is(err, cluster.ErrNoQuorum) && n.place.majority() {
		err = cluster.ErrNotLeader // the voters are there: an election is under way
	}
	switch {
	case errors.Is(err, cluster.ErrOutcomeUnknown):
		return refusal.Unavailable("outcome_unknown", "The change may or may not have been made. Send it again with the same Idempotency-Key to find out.", time.Second)
	case errors.Is(err, cluster.ErrNoQuorum):
		return refusal.Unavailable("no_quorum", "No leader can be reached: a majority of the voters is away. Nothing was changed.", 5*time.Second)
	case errors.Is(err, cluster.ErrNotLeader):
		return refusal.Unavailable("no_leader", "The leader is changing. Nothing was changed; try again.", time.Second)
	case errors.Is(err, cluster.ErrBehind):
		return refusal.StateBehind()
	case errors.Is(err, cluster.ErrTooLarge):
		return refusal.New(413, "invalid_request_error", "", "The change is too large: "+err.Error()+".")
	}
	return refusal.Unavailable("not_changed", "The change could not be made: "+err.Error()+".", time.Second)
}
