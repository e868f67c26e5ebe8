package health_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/cluster/health"
	"tollgate/config/unit"
)

// Calls end in any way on four nodes in two regions whose clocks disagree, and
// what the nodes say is lost, repeated and late. Then at all times:
//   - no node finds all deployments of a group closed;
//   - nothing rests for longer than ten minutes;
//   - ten minutes after the last bad news everything is open to all.
func TestSomeDeploymentIsAlwaysOpenAndNothingStaysClosed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_800_000_000, 0)
		type node struct {
			*health.View
			id, region string
			skew       time.Duration
			seq        uint64
		}
		var nodes []*node
		peers := func() (out []health.Peer) {
			for _, n := range nodes {
				out = append(out, health.Peer{ID: n.id, Region: n.region})
			}
			return out
		}
		type packet struct {
			from      *node
			seq       uint64
			summaries []health.Summary
			figures   []health.Figures
			notice    *health.Notice
		}
		var packets []packet
		for i := range 4 {
			n := &node{id: fmt.Sprint("n", i), region: []string{"eu", "us"}[i%2], skew: time.Duration(i-2) * 7 * time.Minute}
			v, err := health.New(health.Config{Node: n.id, Region: n.region, Peers: peers, Clock: unit.ClockFunc(func() time.Time { return now.Add(n.skew) })})
			require.NoError(t, err)
			n.View = v
			v.OnNotice(func(x health.Notice) { packets = append(packets, packet{from: n, notice: &x}) })
			nodes = append(nodes, n)
		}
		var refs []health.Ref
		for i := range 3 {
			refs = append(refs, health.Ref{Deployment: fmt.Sprint("d", i), Credential: fmt.Sprint("c", i/2)})
		}
		check := func() {
			for _, n := range nodes {
				keep := n.Filter(refs, nil)
				require.NotEmpty(t, keep, "%s", n.id)
				require.True(t, slices.IsSorted(keep))
				for _, r := range refs {
					if until, _, ok := n.Cooling(health.Ref{Deployment: r.Deployment, Credential: r.Credential}); ok {
						require.LessOrEqual(t, until.Sub(now.Add(n.skew)), 10*time.Minute)
					}
				}
			}
		}
		deliver := func(p packet) {
			for _, to := range nodes {
				switch {
				case to == p.from:
				case p.notice != nil:
					to.Adopt(*p.notice)
				default:
					to.Merge(p.from.id, p.from.region, 1, p.seq, p.summaries)
					to.MergeFigures(p.from.id, p.from.region, 1, p.seq, p.figures)
				}
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"calls end": func(t *rapid.T) {
				n := rapid.SampledFrom(nodes).Draw(t, "node")
				r := rapid.SampledFrom(refs).Draw(t, "deployment")
				o := health.Observation{
					Deployment: r.Deployment, Credential: r.Credential,
					Outcome: health.Outcome(rapid.IntRange(0, 7).Draw(t, "outcome")),
					ResetIn: time.Duration(rapid.SampledFrom([]int{0, 1, 30, 100000}).Draw(t, "reset")) * time.Second,
					Latency: time.Duration(rapid.IntRange(0, 9000).Draw(t, "ms")) * time.Millisecond,
				}
				o.Policy = health.Policy{Alone: rapid.Bool().Draw(t, "alone"), Counted: rapid.Bool().Draw(t, "counted"), Allowed: rapid.IntRange(0, 4).Draw(t, "allowed"),
					Rest: time.Duration(rapid.SampledFrom([]int{-1, 0, 1, 90}).Draw(t, "rest")) * time.Second, Fixed: rapid.Bool().Draw(t, "fixed")}
				o.Tokens = rapid.Int64Range(0, 3).Draw(t, "tokens")
				for range rapid.IntRange(1, 8).Draw(t, "times") {
					n.Report(o)
				}
			},
			"reports are made": func(t *rapid.T) {
				n := rapid.SampledFrom(nodes).Draw(t, "node")
				n.seq++
				packets = append(packets, packet{from: n, seq: n.seq, summaries: n.Summaries(), figures: n.Figures()})
				for _, x := range n.Active() {
					packets = append(packets, packet{from: n, notice: &x})
				}
			},
			"one arrives": func(t *rapid.T) {
				if len(packets) == 0 {
					return
				}
				i := rapid.IntRange(0, len(packets)-1).Draw(t, "which")
				deliver(packets[i])
				if rapid.Bool().Draw(t, "once") {
					packets = slices.Delete(packets, i, i+1)
				}
			},
			"an immoderate one arrives": func(t *rapid.T) {
				rapid.SampledFrom(nodes).Draw(t, "node").Adopt(health.Notice{
					ID: health.ID(rapid.Uint64Range(0, 3).Draw(t, "id")), Reason: health.Auth,
					Event: health.Event{Origin: 1, N: rapid.Uint64().Draw(t, "n")}, Remaining: 20 * time.Hour,
				})
			},
			"time passes": func(t *rapid.T) {
				for range rapid.IntRange(1, 20).Draw(t, "seconds") {
					now = now.Add(time.Second)
					for _, n := range nodes {
						n.Tick()
					}
				}
			},
			"": func(*rapid.T) { check() },
		})
		for range 601 {
			now = now.Add(time.Second)
			for _, n := range nodes {
				n.Tick()
			}
		}
		for _, n := range nodes {
			require.Empty(t, n.Active())
			for range 2 { // a half-open breaker would refuse the second
				require.Len(t, n.Filter(refs, nil), len(refs))
			}
		}
	})
}
