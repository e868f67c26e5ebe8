package query

import (
	"errors"
	"fmt"
	"slices"

	"tollgate/ledger/store"
)

// Dimension is what sums are grouped by.
type Dimension int

// The dimensions. Their numbers cross the network.
const (
	ByKey Dimension = iota + 1
	ByUser
	ByTeam
	ByOrganization
	ByEndUser
	ByTag
	ByModel
	ByModelGroup
	ByProvider
	ByDay
	ByEndpoint
	ByCallType
)

// ErrNotKept says that nobody adds up by these dimensions together.
var ErrNotKept = errors.New("sums by end user, by tag and by caller are kept apart from each other")

// ErrTooMany says that an answer would be too large: a shorter range or a
// filter makes it smaller.
var ErrTooMany = errors.New("the answer is too large: choose fewer days or a filter")

const (
	maxDimensions = 8
	// maxGroups bounds what one answer takes in memory.
	maxGroups = 1_000_000
)

// Group is what one combination of ids amounts to. IDs stand in the order of
// the dimensions that were asked for. Calls without a team, organization, end
// user or tag are in no group by those; a user may be "".
type Group struct {
	IDs []string
	store.Sums
}

// groupIDs is a combination as a map's key.
type groupIDs [maxDimensions]string

// grouped gathers groups.
type grouped map[groupIDs]*store.Sums

func (g grouped) add(ids *groupIDs, s store.Sums) error {
	have := g[*ids]
	if have == nil {
		if len(g) >= maxGroups {
			return ErrTooMany
		}
		have = new(store.Sums)
		g[*ids] = have
	}
	have.Add(s)
	return nil
}

func (g grouped) join(groups []Group) error {
	var ids groupIDs
	for i := range groups {
		clear(ids[:])
		copy(ids[:], groups[i].IDs)
		if err := g.add(&ids, groups[i].Sums); err != nil {
			return err
		}
	}
	return nil
}

func (g grouped) list(dimensions int) []Group {
	out := make([]Group, 0, len(g))
	for ids, s := range g {
		out = append(out, Group{slices.Clone(ids[:dimensions]), *s})
	}
	return out
}

// family is where the sums of these dimensions lie.
func family(by []Dimension, r *Range) (store.RollupDim, error) {
	if len(by) > maxDimensions {
		return 0, fmt.Errorf("%d dimensions at once: at most %d", len(by), maxDimensions)
	}
	endUser, tag := r.EndUser != "", r.Tag != ""
	caller := r.User != "" || r.Team != "" || r.Org != ""
	for _, d := range by {
		switch d {
		case ByEndUser:
			endUser = true
		case ByTag:
			tag = true
		case ByUser, ByTeam, ByOrganization:
			caller = true
		case ByKey, ByModel, ByModelGroup, ByProvider, ByDay, ByEndpoint, ByCallType:
		default:
			return 0, fmt.Errorf("dimension %d is not known", d)
		}
	}
	switch {
	case endUser && tag, caller && (endUser || tag):
		return 0, ErrNotKept
	case endUser:
		return store.ByEndUser, nil
	case tag:
		return store.ByTag, nil
	}
	return store.ByCaller, nil
}

func (r *Range) days() (from, to int32) {
	from, to = -1<<31, 1<<31-1
	if !r.From.IsZero() {
		from = store.DayOf(r.From)
	}
	if !r.To.IsZero() {
		to = store.DayOf(r.To)
	}
	return from, to
}

func (r *Range) matches(k *store.RollupKey) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return is(r.Key, k.Key) && is(r.User, k.User) && is(r.Team, k.Team) && is(r.Org, k.Org) &&
		(k.Dim != store.ByEndUser || is(r.EndUser, k.Entity)) && (k.Dim != store.ByTag || is(r.Tag, k.Entity)) &&
		(r.Model == "" || r.Model == k.Model || r.Model == k.Group)
}

func (d Dimension) of(k *store.RollupKey) string {
	switch d {
	case ByKey:
		return k.Key
	case ByUser:
		return k.User
	case ByTeam:
		return k.Team
	case ByOrganization:
		return k.Org
	case ByEndUser, ByTag:
		return k.Entity
	case ByModel:
		return k.Model
	case ByModelGroup:
		return k.Group
	case ByProvider:
		return k.Provider
	case ByDay:
		return k.Date()
	case ByEndpoint:
		return Endpoint(k.CallType)
	case ByCallType:
		return k.CallType
	}
	return ""
}

// fill takes the ids out of a key; false when the call has none of what sums
// are made by. A call without an owner counts for nobody, and counts.
func fill(ids *groupIDs, by []Dimension, k *store.RollupKey) bool {
	for i, d := range by {
		ids[i] = d.of(k)
		if ids[i] == "" && (d == ByTeam || d == ByOrganization) {
			return false
		}
	}
	return true
}

// Endpoint is the route that a call type comes in by.
func Endpoint(callType string) string {
	switch callType {
	case "acompletion":
		return "/chat/completions"
	case "atext_completion":
		return "/completions"
	case "aembedding":
		return "/embeddings"
	case "anthropic_messages":
		return "/v1/messages"
	}
	return callType
}
