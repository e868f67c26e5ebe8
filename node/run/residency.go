package run

import (
	"tollgate/config/residency"
	"tollgate/config/state"
	"tollgate/ledger/query"
	"tollgate/ledger/replica"
	"tollgate/ledger/store"
)

// mayBeIn reports whether what the client of a call sent and was told may be in
// a region: by the rules that held for the call, and by those that hold now.
func (n *node) mayBeIn(e *store.Entry, region string) bool {
	return residency.Allows(e.DataRegions, region) &&
		residency.Allows(n.store.State().DataRegions(e.Key, e.Team, e.Organization), region)
}

// rowMayBeIn is mayBeIn for a row.
func (n *node) rowMayBeIn(r *query.Row, region string) bool {
	return residency.Allows(r.DataRegions, region) &&
		residency.Allows(n.store.State().DataRegions(r.APIKey, r.TeamID, r.OrganizationID), region)
}

// shownTo reports whether a node may be shown a row whole. One that is no member
// is nowhere.
func (n *node) shownTo(node string, r *query.Row) bool {
	return n.rowMayBeIn(r, n.regionOf(node))
}

// toldTo reports whether a node may be told what a call was answered.
func (n *node) toldTo(node string, e *store.Entry) bool { return n.mayBeIn(e, n.regionOf(node)) }

func (n *node) regionOf(id string) string {
	m, ok := n.cluster.Membership().Node(id)
	if !ok {
		return ""
	}
	return m.Region
}

// shownHere is q without what must not be seen on this node.
func (n *node) shownHere(q query.Query) query.Query {
	return query.Within(q, func(r *query.Row) bool { return n.rowMayBeIn(r, n.o.Region) })
}

// permit says how much of an entry a node's copy may have. Its figures are
// never held back: they would be lost with this node.
func (n *node) permit(e *store.Entry, m replica.Member) replica.Permit {
	if n.mayBeIn(e, m.Region) {
		return replica.Whole
	}
	return replica.Bare
}

// wholeInDatabase reports whether an entry's row may stand in PostgreSQL as it is.
func (n *node) wholeInDatabase(e *store.Entry) bool { return n.mayBeIn(e, n.o.DatabaseRegion) }

// leaves reports whether calls are served in one region whose data may not be in
// another.
func leaves(s *state.Snapshot, from, to string) bool {
	if from == to {
		return false
	}
	for rule := range s.RegionRules() {
		if residency.Allows(rule, from) && !residency.Allows(rule, to) {
			return true
		}
	}
	return false
}

// regions are those that members of the cluster are in.
func (n *node) regions() []string {
	out := []string{n.o.Region, n.o.DatabaseRegion}
	for _, m := range n.cluster.Membership().Nodes() {
		out = append(out, m.Region)
	}
	return out
}
