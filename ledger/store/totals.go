package store

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"tollgate/config/model"
	"tollgate/config/unit"
)

// scopeKey is a scope with its two-part id apart, so that looking one up needs
// no joined string.
type scopeKey struct {
	dim  model.Dim
	a, b string
}

func splitScope(s model.Scope) scopeKey {
	a, b, _ := strings.Cut(s.ID, "\x1f")
	return scopeKey{s.Dim, a, b}
}

func (k scopeKey) id() string {
	if k.b == "" {
		return k.a
	}
	return k.a + "\x1f" + k.b
}

// eachScope names every scope that a call's cost counts for. A call with
// several tags counts in full for each.
func eachScope(e *Entry, fn func(scopeKey)) {
	fn(splitScope(model.ProxyScope()))
	two := func(dim model.Dim, a, b string) {
		if a != "" && b != "" {
			fn(scopeKey{dim, a, b})
		}
	}
	one := func(dim model.Dim, a string) {
		if a != "" {
			fn(scopeKey{dim: dim, a: a})
		}
	}
	one(model.DimKey, e.Key)
	two(model.DimModelPerKey, e.Key, e.Group)
	one(model.DimUser, e.User)
	two(model.DimModelPerUser, e.User, e.Group)
	one(model.DimTeam, e.Team)
	two(model.DimMember, e.Team, e.User)
	two(model.DimModelPerTeam, e.Team, e.Group)
	one(model.DimOrganization, e.Organization)
	two(model.DimOrgMember, e.Organization, e.User)
	one(model.DimEndUser, e.EndUser)
	one(model.DimDeployment, e.ModelID)
	one(model.DimProvider, e.Provider)
	for i, t := range e.Tags {
		if !slices.Contains(e.Tags[:i], t) {
			one(model.DimTag, t)
		}
	}
}

// totals is the spend of every scope since the ledger began, in memory: headers
// and key pages read it, requests never wait for it.
type totals struct {
	mu sync.RWMutex // guards the map, not the numbers in it
	m  map[scopeKey]*atomic.Int64
}

func (t *totals) init() { t.m = map[scopeKey]*atomic.Int64{} }

func (t *totals) add(e *Entry) {
	cost := e.Cost.Total
	if cost == 0 {
		return
	}
	var fresh []scopeKey
	t.mu.RLock()
	eachScope(e, func(k scopeKey) {
		if n := t.m[k]; n != nil {
			n.Add(int64(cost))
			return
		}
		// The texts may lie in a buffer of the request.
		fresh = append(fresh, scopeKey{k.dim, strings.Clone(k.a), strings.Clone(k.b)})
	})
	t.mu.RUnlock()
	if fresh == nil {
		return
	}
	t.mu.Lock()
	for _, k := range fresh {
		t.put(k, cost)
	}
	t.mu.Unlock()
}

// put adds to one scope; called with mu held.
func (t *totals) put(k scopeKey, m unit.Money) {
	n := t.m[k]
	if n == nil {
		n = new(atomic.Int64)
		t.m[k] = n
	}
	n.Add(int64(m))
}

// SpendOf is what a scope has spent since the ledger began, on this node.
func (l *Ledger) SpendOf(s model.Scope) unit.Money {
	l.totals.mu.RLock()
	defer l.totals.mu.RUnlock()
	if n := l.totals.m[splitScope(s)]; n != nil {
		return unit.Money(n.Load())
	}
	return 0
}

// Spends lists all scopes of one level with their spend on this node.
func (l *Ledger) Spends(dim model.Dim) map[string]unit.Money {
	out := map[string]unit.Money{}
	l.totals.mu.RLock()
	defer l.totals.mu.RUnlock()
	for k, n := range l.totals.m {
		if k.dim == dim {
			out[k.id()] = unit.Money(n.Load())
		}
	}
	return out
}

func totalKey(k scopeKey) []byte {
	return appendText([]byte{kTotal, byte(k.dim)}, k.id())
}

// loadTotals reads what the indexer has kept.
func (l *Ledger) loadTotals() error {
	it, err := l.db.NewIter(&pebble.IterOptions{LowerBound: []byte{kTotal}, UpperBound: []byte{kTotal + 1}})
	if err != nil {
		return fmt.Errorf("read totals: %w", err)
	}
	defer it.Close()
	l.totals.mu.Lock()
	defer l.totals.mu.Unlock()
	for it.First(); it.Valid(); it.Next() {
		key := it.Key()
		if len(key) < 2 {
			return fmt.Errorf("%w: total without a scope", ErrCorrupt)
		}
		id, _, ok := cutText(key[2:])
		v, w := binary.Varint(it.Value())
		if !ok || w <= 0 {
			return fmt.Errorf("%w: total of %q", ErrCorrupt, id)
		}
		l.totals.put(splitScope(model.Scope{Dim: model.Dim(key[1]), ID: id}), unit.Money(v))
	}
	if err := it.Error(); err != nil {
		return fmt.Errorf("read totals: %w", err)
	}
	return nil
}
