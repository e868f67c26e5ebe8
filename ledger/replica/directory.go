package replica

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"tollgate/config/unit"
	"tollgate/ledger/query"
)

// DirectoryConfig is what a Directory works with.
type DirectoryConfig struct {
	Self   string
	Keeper *Keeper
	// Others are the nodes that can be asked now.
	Others func() []string
	Call   Call
	Clock  unit.Clock
	// Fresh is how long an answer counts, default 2 s.
	Fresh time.Duration
}

// Directory knows which nodes keep which copies.
type Directory struct {
	cfg DirectoryConfig

	mu    sync.Mutex // guards what follows
	at    time.Time
	found []Located
}

// Located is the best copy of one ledger.
type Located struct {
	State
	Keeper string // the node that keeps it
}

// NewDirectory makes a Directory.
func NewDirectory(cfg DirectoryConfig) *Directory {
	def(&cfg.Fresh, 2*time.Second)
	if cfg.Clock == nil {
		cfg.Clock = unit.SystemClock{}
	}
	return &Directory{cfg: cfg}
}

// askWithin bounds the question to one node.
const askWithin = 3 * time.Second

// Copies gives the best copy of every ledger that some node which answers has a
// copy of, by the ledgers' names.
func (d *Directory) Copies(ctx context.Context) []Located {
	d.mu.Lock()
	if d.found != nil && d.cfg.Clock.Now().Sub(d.at) < d.cfg.Fresh {
		defer d.mu.Unlock()
		return d.found
	}
	d.mu.Unlock()
	all, _ := d.ask(ctx) // who does not answer has nothing to give
	best := map[string]Located{}
	for _, l := range all {
		if have, ok := best[l.Book]; !ok || better(&l, &have) {
			best[l.Book] = l
		}
	}
	found := make([]Located, 0, len(best))
	for _, l := range best {
		found = append(found, l)
	}
	slices.SortFunc(found, func(a, b Located) int { return strings.Compare(a.Book, b.Book) })
	d.mu.Lock()
	d.at, d.found = d.cfg.Clock.Now(), found
	d.mu.Unlock()
	return found
}

// better prefers what was taken over already, then what goes further.
func better(a, b *Located) bool {
	if a.Position != b.Position {
		return a.Position > b.Position
	}
	if a.Taken != b.Taken {
		return a.Taken
	}
	return a.Keeper < b.Keeper
}

// ask asks all nodes at once, this one too.
func (d *Directory) ask(ctx context.Context) (all []Located, silent []string) {
	ctx, end := context.WithTimeout(ctx, askWithin)
	defer end()
	var mu sync.Mutex // guards all and silent
	add := func(node string, states []State, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			silent = append(silent, node)
		}
		for _, s := range states {
			all = append(all, Located{s, node})
		}
	}
	var wg sync.WaitGroup
	for _, node := range d.cfg.Others() {
		wg.Go(func() {
			answer, err := d.cfg.Call(ctx, node, []byte{wireVersion, kindStates})
			var states []State
			if err == nil {
				states, err = decodeStates(answer)
			}
			add(node, states, err)
		})
	}
	add(d.cfg.Self, d.cfg.Keeper.States(), nil)
	wg.Wait()
	return all, silent
}

// Query answers questions about spend from a copy, wherever it is.
func (d *Directory) Query(l Located) query.Query {
	if l.Keeper == d.cfg.Self {
		return d.cfg.Keeper.Book(l.Book)
	}
	return query.NewRemote(func(ctx context.Context, question []byte) ([]byte, error) {
		return d.cfg.Call(ctx, l.Keeper, appendQuery(nil, l.Book, question))
	})
}

// Verdict is who is to take a lost node's ledger over.
type Verdict uint8

// The verdicts: this node; another, whose copy goes further; another, who has done it.
const (
	Mine Verdict = iota
	Theirs
	Useless
)

// Claim judges a copy that is here: the one that goes furthest is the one to
// take over. A node that can be asked and does not answer may have it, so it is
// waited for.
//
// It is a matter of who has the most, not of safety: with a database its cursor
// of the ledger lets each entry in once, whoever brings it, and without one a
// question is answered from one copy only.
func (d *Directory) Claim(ctx context.Context, book string) (Verdict, error) {
	all, silent := d.ask(ctx)
	if len(silent) > 0 {
		return Theirs, fmt.Errorf("who has the most of it is not known: no answer from %s", strings.Join(silent, ", "))
	}
	var best *Located
	for i := range all {
		if l := &all[i]; l.Book == book && (best == nil || better(l, best)) {
			best = l
		}
	}
	switch {
	case best == nil || best.Keeper == d.cfg.Self:
		return Mine, nil
	case best.Taken:
		return Useless, nil
	}
	return Theirs, nil
}
