package health_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/health"
	"tollgate/config/unit"
)

func TestQuotaFactsHoldEverywhereAtOnce(t *testing.T) {
	for _, tc := range []struct {
		name    string
		outcome health.Outcome
		reset   time.Duration
		// others that share the credential, on all nodes
		shared bool
		lasts  time.Duration
	}{
		{"rate limit with a reset", health.RateLimited, 30 * time.Second, false, 30 * time.Second},
		{"exhausted account", health.Quota, 0, true, time.Minute},
		{"exhausted account with a reset", health.Quota, 2 * time.Minute, true, 2 * time.Minute},
		{"refused credential", health.Auth, 0, true, 5 * time.Second},
		{"refused credential with a time", health.Auth, time.Minute, true, time.Minute},
		{"unknown model", health.NotFound, 0, false, 5 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, "eu", "eu", "us", "ap")
			w.nodes[0].Report(health.Observation{Deployment: "a", Credential: "cred", Outcome: tc.outcome, ResetIn: tc.reset})
			w.spread()
			for _, n := range w.nodes {
				until, reason, ok := n.Cooling(health.Ref{Deployment: "a", Credential: "cred"})
				require.True(t, ok)
				require.Equal(t, tc.outcome.String(), reason)
				require.Equal(t, w.now.Add(tc.lasts), until)
				_, _, ok = n.Cooling(health.Ref{Deployment: "other deployment", Credential: "cred"})
				require.Equal(t, tc.shared, ok)
				_, _, ok = n.Cooling(health.Ref{Deployment: "other deployment", Credential: "other credential"})
				require.False(t, ok)
			}
			w.pass(tc.lasts - time.Second)
			require.Len(t, w.closedAt("a"), 4)
			w.pass(time.Second)
			require.Empty(t, w.closedAt("a"))
		})
	}
}

func TestRateLimitWithoutResetRestsHereOnly(t *testing.T) {
	w := newWorld(t, "eu", "eu")
	w.nodes[0].report("a", health.RateLimited, 3)
	w.spread()
	require.Equal(t, []string{"node0"}, w.closedAt("a"))
	w.pass(5 * time.Second)
	require.Empty(t, w.closedAt("a"))
}

func TestClocksThatDisagreeChangeNothing(t *testing.T) {
	w := newWorld(t, "eu")
	w.add("ahead", "eu", 10*time.Minute)
	w.add("behind", "eu", -10*time.Minute)
	w.nodes[1].Report(health.Observation{Deployment: "a", Credential: "cred", Outcome: health.RateLimited, ResetIn: 20 * time.Second})
	w.nodes[0].report("b", health.Timeout, 5)
	w.nodes[2].report("b", health.Timeout, 5)
	w.spread()
	require.Len(t, w.closedAt("a"), 3)
	require.Len(t, w.closedAt("b"), 3)
	w.pass(19 * time.Second)
	require.Len(t, w.closedAt("a"), 3)
	w.pass(time.Second)
	require.Empty(t, w.closedAt("a"))
}

func TestSuccessEndsACooldownForAll(t *testing.T) {
	w := newWorld(t, "eu", "us")
	w.nodes[0].Report(health.Observation{Deployment: "a", Credential: "cred", Outcome: health.Quota})
	w.spread()
	late := w.nodes[0].Active()

	// A call that was already under way says nothing about what came since.
	w.now = w.now.Add(2 * time.Second)
	w.nodes[1].Report(health.Observation{Deployment: "a", Credential: "cred", Outcome: health.OK, Latency: 5 * time.Second})
	w.spread()
	require.Len(t, w.closedAt("a"), 2)

	w.nodes[1].Report(health.Observation{Deployment: "a", Credential: "cred", Outcome: health.OK, Latency: time.Second})
	w.spread()
	require.Empty(t, w.closedAt("a"))
	for _, x := range late { // from who had not heard the end yet
		w.nodes[1].Adopt(x)
	}
	require.Empty(t, w.closedAt("a"))
}

func TestStopThatOvertakesItsStartWins(t *testing.T) {
	w := newWorld(t, "eu", "eu")
	start := health.Notice{ID: 7, Reason: health.Quota, Event: health.Event{Origin: 9, N: 1}, Remaining: time.Minute}
	stop := start
	stop.Stop = true
	w.nodes[0].Adopt(stop)
	w.nodes[0].Adopt(start)
	require.Empty(t, w.nodes[0].Active())
}

func TestRepeatedNoticesDoNotLengthenARest(t *testing.T) {
	w := newWorld(t, "eu", "eu")
	w.nodes[0].Report(health.Observation{Deployment: "a", Outcome: health.RateLimited, ResetIn: 10 * time.Second})
	first := w.nodes[0].sent
	require.Len(t, first, 1)
	for range 10 { // each with the remaining time of its start, as late packets have
		w.nodes[1].Adopt(first[0])
		w.now = w.now.Add(time.Second)
	}
	require.Empty(t, w.nodes[1].Active())
	w.nodes[0].sent = nil
	w.nodes[0].Report(health.Observation{Deployment: "a", Outcome: health.RateLimited, ResetIn: 10 * time.Second})
	for range 100 { // calls in flight that all come back with the same
		w.nodes[0].Report(health.Observation{Deployment: "a", Outcome: health.RateLimited, ResetIn: 10 * time.Second})
	}
	require.Len(t, w.nodes[0].sent, 1)
}

func TestOwnBadWindowOpensTheBreaker(t *testing.T) {
	w := newWorld(t, "eu")
	n := w.nodes[0]
	n.report("a", health.ServerError, 4)
	require.False(t, n.cooling("a"), "too few to tell")
	n.report("a", health.Connect, 1)
	require.True(t, n.cooling("a"))
	_, reason, _ := n.Cooling(health.Ref{Deployment: "a", Credential: "cred"})
	require.Equal(t, "connection_errors", reason)

	n.report("b", health.OK, 20)
	n.report("b", health.ServerError, 20)
	require.False(t, n.cooling("b"), "half of the calls go well")
	w.pass(30 * time.Second)
	n.report("b", health.ServerError, 1)
	require.True(t, n.cooling("b"), "more than half of this minute's do not")
	w.pass(40 * time.Second)
	n.report("b", health.OK, 1)
	n.report("b", health.ServerError, 3)
	require.False(t, n.cooling("b"), "another minute")
}

func TestPathFactsOpenTheRegionByTwoReports(t *testing.T) {
	w := newWorld(t, "eu", "eu", "eu", "eu", "us", "us", "us")
	w.nodes[0].report("a", health.Timeout, 5)
	w.nodes[4].report("a", health.Timeout, 5)
	w.spread()
	require.Equal(t, []string{"node0", "node4"}, w.closedAt("a"), "one report in each region")
	w.nodes[1].report("a", health.Timeout, 5)
	w.spread()
	require.Equal(t, []string{"node0", "node1", "node2", "node3", "node4"}, w.closedAt("a"), "the other region judges for itself")
	_, reason, _ := w.nodes[2].Cooling(health.Ref{Deployment: "a", Credential: "cred"})
	require.Equal(t, "timeouts", reason)
}

func TestHalfOfASmallRegionOpensIt(t *testing.T) {
	w := newWorld(t, "eu", "eu")
	w.nodes[0].report("a", health.Timeout, 5)
	w.spread()
	require.Equal(t, []string{"node0", "node1"}, w.closedAt("a"))
}

func TestHearsayIsNotPassedOnAsExperience(t *testing.T) {
	w := newWorld(t, "eu", "eu", "eu", "eu", "eu")
	w.nodes[0].report("a", health.Timeout, 5)
	w.nodes[1].report("a", health.Timeout, 5)
	w.spread()
	for _, n := range w.nodes[2:] {
		require.True(t, n.cooling("a"))
		for _, s := range n.Summaries() {
			require.False(t, s.Bad)
		}
	}
}

func TestOneNodeOfARegionProbes(t *testing.T) {
	w := newWorld(t, "eu", "eu", "eu", "eu", "us", "us", "us", "us")
	for _, n := range w.nodes {
		n.report("a", health.ServerError, 5)
	}
	w.spread()
	require.Len(t, w.closedAt("a"), 8)
	probes := make(map[string]int)
	for range 9 { // up to the moment at which the verdict is overdue
		w.pass(time.Second)
		for _, n := range w.nodes {
			for range 3 { // of several callers one is let through
				if !n.cooling("a") {
					probes[n.region]++
				}
			}
		}
	}
	require.Len(t, probes, 2)
	for region, n := range probes {
		require.Equal(t, 5, n, "%s: one call a second from the fifth on", region)
	}
}

// probing is the node that tries first, and the others.
func probing(t *testing.T, w *world, deployment string) (prober *worldNode, others []*worldNode) {
	for _, n := range w.nodes {
		if n.dead {
			continue
		}
		if n.cooling(deployment) {
			others = append(others, n)
		} else {
			require.Nil(t, prober, "two probe")
			prober = n
		}
	}
	require.NotNil(t, prober)
	return prober, others
}

func TestVerdictOfTheProbeOpensTheRegion(t *testing.T) {
	w := newWorld(t, "eu", "eu", "eu", "eu")
	w.nodes[0].report("a", health.ServerError, 5)
	w.nodes[1].report("a", health.ServerError, 5)
	w.spread()
	w.pass(5 * time.Second)
	prober, others := probing(t, w, "a")
	w.now = w.now.Add(100 * time.Millisecond)
	prober.Report(health.Observation{Deployment: "a", Outcome: health.OK, Latency: 50 * time.Millisecond})
	require.False(t, prober.cooling("a"))
	require.False(t, prober.cooling("a"), "for all its callers")
	w.spread()
	for _, n := range others {
		require.False(t, n.cooling("a"))
	}
	w.pass(10 * time.Second)
	require.Empty(t, w.closedAt("a"))
}

func TestNodeThatFailedItselfTriesOnceAfterTheVerdict(t *testing.T) {
	w := newWorld(t, "eu", "eu", "eu")
	for _, n := range w.nodes {
		n.report("a", health.ServerError, 5)
	}
	w.spread()
	w.pass(5 * time.Second)
	prober, others := probing(t, w, "a")
	w.now = w.now.Add(100 * time.Millisecond)
	prober.Report(health.Observation{Deployment: "a", Outcome: health.OK, Latency: time.Millisecond})
	w.spread()
	for _, n := range others { // its own way may be another
		require.False(t, n.cooling("a"))
		require.True(t, n.cooling("a"), "one call")
	}
}

func TestFailedProbeRestsTheRegionAgain(t *testing.T) {
	w := newWorld(t, "eu", "eu", "eu")
	for _, n := range w.nodes {
		n.report("a", health.ServerError, 5)
	}
	w.spread()
	for range 12 { // a minute of failing probes
		w.pass(5 * time.Second)
		prober, others := probing(t, w, "a")
		require.Len(t, others, 2)
		w.now = w.now.Add(100 * time.Millisecond)
		prober.Report(health.Observation{Deployment: "a", Outcome: health.ServerError, Latency: 50 * time.Millisecond})
		w.spread()
		require.Len(t, w.closedAt("a"), 3)
	}
}

func TestOthersProbeWhenTheProberIsSilent(t *testing.T) {
	w := newWorld(t, "eu", "eu", "eu")
	for _, n := range w.nodes {
		n.report("a", health.ServerError, 5)
	}
	w.spread()
	w.pass(5 * time.Second)
	prober, others := probing(t, w, "a")
	prober.dead = true
	w.pass(time.Second) // another one of the living takes over
	next, rest := probing(t, w, "a")
	require.Len(t, rest, 1)
	require.Contains(t, others, next)

	w.pass(10 * time.Second) // it has no calls for the deployment: its verdict is overdue
	require.False(t, rest[0].cooling("a"))
}

func TestWholeGroupIsNeverClosed(t *testing.T) {
	refs := []health.Ref{{Deployment: "a", Credential: "x"}, {Deployment: "b", Credential: "y"}, {Deployment: "c", Credential: "y"}}
	w := newWorld(t, "eu", "eu", "eu")
	n := w.nodes[0]
	require.Equal(t, []int{0, 1, 2}, n.Filter(refs, nil))

	for _, other := range w.nodes[1:] {
		for _, d := range []string{"a", "b", "c"} {
			other.report(d, health.Timeout, 5)
		}
	}
	n.Report(health.Observation{Deployment: "b", Credential: "y", Outcome: health.Quota})
	w.spread()
	require.Equal(t, []int{0}, n.Filter(refs, nil), "what only others say is passed over")
	n.report("a", health.Timeout, 5)
	w.spread()
	require.Equal(t, []int{0}, n.Filter(refs, nil), "the shortest rest: 5 s against a minute")
	require.Empty(t, n.Filter(nil, nil))
	w.pass(30 * time.Second)
	n.Report(health.Observation{Deployment: "a", Credential: "x", Outcome: health.Auth, ResetIn: 2 * time.Minute})
	require.Equal(t, []int{1}, n.Filter(refs, nil))
}

func TestLatencyIsOnesOwnWithTwentySamplesElseTheRegions(t *testing.T) {
	w := newWorld(t, "eu", "eu", "us")
	call := func(n *worldNode, latency time.Duration, times int) {
		for range times {
			n.Report(health.Observation{Deployment: "a", Outcome: health.OK, Latency: latency, FirstToken: latency / 4})
		}
	}
	require.Zero(t, w.nodes[0].Latency("a"))
	call(w.nodes[1], 400*time.Millisecond, 30)
	call(w.nodes[2], 9*time.Second, 300)
	w.pass(2 * time.Second)
	got := w.nodes[0].Latency("a")
	require.Equal(t, health.Latency{Mean: 400 * time.Millisecond, FirstToken: 100 * time.Millisecond, Samples: 30, Regional: true}, got)

	call(w.nodes[0], 100*time.Millisecond, 10)
	w.pass(time.Second)
	got = w.nodes[0].Latency("a")
	require.True(t, got.Regional)
	require.Equal(t, 325*time.Millisecond, got.Mean, "weighed by samples")

	call(w.nodes[0], 100*time.Millisecond, 10)
	got = w.nodes[0].Latency("a")
	require.Equal(t, health.Latency{Mean: 100 * time.Millisecond, FirstToken: 25 * time.Millisecond, Samples: 20}, got)

	w.pass(2 * time.Minute)
	require.Zero(t, w.nodes[0].Latency("a"), "nobody has called it for long")
}

func TestNothingHoldsLongerThanTenMinutesAndNobodyDeadClosesAnything(t *testing.T) {
	w := newWorld(t, "eu", "eu", "eu")
	w.nodes[1].Report(health.Observation{Deployment: "a", Outcome: health.Quota, ResetIn: 24 * time.Hour})
	w.nodes[2].Adopt(health.Notice{ID: 5, Reason: health.Auth, Event: health.Event{Origin: 1, N: 1}, Remaining: 1000 * time.Hour})
	require.Len(t, w.nodes[2].Active(), 1)
	require.Equal(t, 10*time.Minute, w.nodes[2].Active()[0].Remaining)
	w.nodes[1].report("b", health.Timeout, 5)
	w.nodes[2].report("b", health.Timeout, 5)
	w.spread()
	require.True(t, w.nodes[0].cooling("a"))
	require.True(t, w.nodes[0].cooling("b"))
	w.nodes[1].dead, w.nodes[2].dead = true, true
	w.pass(15 * time.Second)
	require.False(t, w.nodes[0].cooling("b"), "it tries for itself when the reporters are silent")
	w.pass(10*time.Minute - 16*time.Second)
	require.True(t, w.nodes[0].cooling("a"))
	w.pass(time.Second)
	require.False(t, w.nodes[0].cooling("a"))
	w.pass(2 * time.Second)
	require.False(t, w.nodes[0].cooling("b"))
	require.False(t, w.nodes[0].cooling("b"), "the breaker is gone")
}

func TestOlderSummariesDoNotReplaceNewerOnes(t *testing.T) {
	w := newWorld(t, "eu", "eu")
	bad := health.Summary{ID: 1, Server: 9, Bad: true, LastOK: -1}
	w.nodes[1].report("x", health.Timeout, 5)
	id := w.nodes[1].Summaries()[0].ID
	bad.ID = id
	w.nodes[0].Merge("node1", "eu", 1, 10, []health.Summary{{ID: id, OK: 5}})
	w.nodes[0].Merge("node1", "eu", 1, 9, []health.Summary{bad})
	require.False(t, w.nodes[0].cooling("x"))
	w.nodes[0].Merge("node1", "eu", 2, 1, []health.Summary{bad})
	require.True(t, w.nodes[0].cooling("x"), "a later start counts from one")
}

func TestCredentialNamesNeedTheKey(t *testing.T) {
	a := health.CredentialName([32]byte{1}, "openai", "sk-secret")
	require.Len(t, a, 16)
	require.Equal(t, a, health.CredentialName([32]byte{1}, "openai", "sk-secret"))
	require.NotEqual(t, a, health.CredentialName([32]byte{2}, "openai", "sk-secret"))
	require.NotEqual(t, a, health.CredentialName([32]byte{1}, "azure", "sk-secret"))
	require.Empty(t, health.CredentialName([32]byte{1}, "ollama", ""))
}

func TestGoodCallsCostNoMemory(t *testing.T) {
	w := newWorld(t, "eu")
	n := w.nodes[0]
	o := health.Observation{Deployment: "a", Credential: "cred", Latency: time.Second, FirstToken: time.Millisecond, At: w.now}
	n.Report(o)
	require.Zero(t, testing.AllocsPerRun(1000, func() { n.Report(o) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { n.Cooling(health.Ref{Deployment: "a", Credential: "cred"}) }))
	n.Report(health.Observation{Deployment: "b", Credential: "y", Outcome: health.Quota})
	require.Zero(t, testing.AllocsPerRun(1000, func() { n.Report(o) }))
	require.Zero(t, testing.AllocsPerRun(1000, func() { n.Cooling(health.Ref{Deployment: "b", Credential: "y"}) }))
}

// A member gone mad could name more cooldowns than there are deployments. What
// this node finds itself still counts.
func TestStrangersCooldownsAreBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	v, err := health.New(health.Config{Node: "n", Clock: unit.ClockFunc(func() time.Time { return now })})
	require.NoError(t, err)
	flood := make([]health.Notice, 40_000)
	for i := range flood {
		flood[i] = health.Notice{ID: health.ID(i), Reason: health.RateLimited, Event: health.Event{Origin: 1, N: uint64(i)}, Remaining: time.Minute}
	}
	v.Adopt(flood...)
	require.Len(t, v.Active(), 16384)
	v.Report(health.Observation{Deployment: "mine", Outcome: health.RateLimited, ResetIn: time.Minute})
	_, _, cooling := v.Cooling(health.Ref{Deployment: "mine", Credential: ""})
	require.True(t, cooling)
	now = now.Add(2 * time.Minute)
	v.Tick()
	require.Empty(t, v.Active())
	v.Adopt(flood[0])
	require.Len(t, v.Active(), 1)
}
