package rate

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tollgate/config/unit"
)

// fixed is a view and no network.
type fixed struct{ view *View }

func (f *fixed) View() *View { return f.view }

func (f *fixed) Ask(context.Context, string, []byte) ([]byte, error) {
	return nil, context.DeadlineExceeded
}

func (f *fixed) Counts(string, []byte) {}

func threeNodes(self string) *fixed {
	v := &View{Self: self}
	for _, id := range []string{"a", "b", "c"} {
		v.Members = append(v.Members, Member{ID: id, Incarnation: 1, Alive: true})
	}
	return &fixed{v}
}

// TestPropOwnerGrantsNeverPassTheExactWindow drives one owner by its wire form
// with asks, repeats, returns and its own requests, against an exact count of
// everything that was granted and not given back.
func TestPropOwnerGrantsNeverPassTheExactWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_700_000_000, 0)
		l := New(Config{Clock: unit.ClockFunc(func() time.Time { return now }), Peers: threeNodes("a")})
		now = now.Add(5 * time.Minute)
		id := uint64(1)
		for {
			if owner, _ := Roles(l, id, ""); owner == "a" {
				break
			}
			id++
		}
		limit := rapid.Int64Range(1, 300).Draw(t, "limit")
		kept := l.outlook(l.elapsed()).shares.kept(limit)
		type grant struct {
			at    time.Time
			units int64
			slot  uint32
			live  bool
		}
		var grants []*grant
		type asked struct {
			it  askItem
			ans answer
		}
		last := map[string]asked{}
		seq := uint64(0)
		source := ""
		inc := uint32(0)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 9000).Draw(t, "ms")) * time.Millisecond)
			from := rapid.SampledFrom([]string{"b", "c"}).Draw(t, "from")
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op < 2: // the owner's own
				h := []Hold{{ID: id, Kind: Tokens, Limit: limit, Units: rapid.Int64Range(1, 20).Draw(t, "own")}}
				if _, ok := l.Take(h); ok {
					n := h[0].Units
					if h[0].via == viaShare {
						n = 0
					}
					grants = append(grants, &grant{at: now, units: n})
				}
			case op < 3 && last[from].it.seq > 0: // a repeat
				if again := askOnce(t, l, from, last[from].it); again.granted != last[from].ans.granted || again.slot != last[from].ans.slot {
					t.Fatalf("a repeat got %d, the first %d", again.granted, last[from].ans.granted)
				}
			default:
				seq++
				it := askItem{id: id, kind: Tokens, limit: limit, seq: seq, need: rapid.Int64Range(0, 40).Draw(t, "need")}
				it.want = it.need + rapid.Int64Range(0, 40).Draw(t, "more")
				it.least = min(it.need, 1)
				for _, g := range grants {
					if g.live && len(it.returns) < 3 && rapid.IntRange(0, 4).Draw(t, "return") == 0 {
						back := rapid.Int64Range(0, g.units).Draw(t, "units")
						g.units, g.live = g.units-back, false
						it.returns = append(it.returns, slotUnits{g.slot, back})
						it.source, it.inc = source, inc
					}
				}
				a := askOnce(t, l, from, it)
				source, inc = a.source, a.inc
				if int64(a.granted) > max(it.need, it.want) {
					t.Fatalf("granted %d, wanted %d", a.granted, it.want)
				}
				grants = append(grants, &grant{at: now, units: int64(a.granted), slot: a.slot, live: a.granted > 0})
				last[from] = asked{it, a}
			}
			sum := int64(0)
			for _, g := range grants {
				if now.Sub(g.at) < time.Minute+creditLife {
					sum += g.units
				}
			}
			if sum > limit-kept {
				t.Fatalf("%d granted of %d, %d kept back", sum, limit, kept)
			}
		}
	})
}

func askOnce(t *rapid.T, l *Limiter, from string, it askItem) answer {
	m := askMessage{items: []askItem{it}}
	raw, err := l.ServeAsk(context.Background(), from, m.encode())
	if err != nil {
		t.Fatal(err)
	}
	r, err := decodeReply(raw, 1)
	if err != nil {
		t.Fatal(err)
	}
	if f := r.answers[0].flags &^ flagExhausted; f != 0 {
		t.Fatalf("flags %b", f)
	}
	return r.answers[0]
}
