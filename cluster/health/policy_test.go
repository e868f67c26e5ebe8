package health_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/health"
)

// told reports calls under a policy, and counts how often a rest began.
func (n *worldNode) told(p health.Policy, o health.Outcome, reset time.Duration, times int) (rests int) {
	for range times {
		if n.Report(health.Observation{Deployment: "a", Credential: "cred", Outcome: o, Policy: p, ResetIn: reset}) {
			rests++
		}
	}
	return rests
}

func (n *worldNode) restsUnder(p health.Policy) bool {
	_, _, ok := n.Cooling(health.Ref{Deployment: "a", Credential: "cred", Policy: p})
	return ok
}

func TestWhenADeploymentRests(t *testing.T) {
	alone := health.Policy{Alone: true}
	type call struct {
		outcome health.Outcome
		times   int
	}
	for name, tc := range map[string]struct {
		policy health.Policy
		calls  []call
		want   bool
	}{
		"a rate limit":                              {calls: []call{{health.RateLimited, 1}}, want: true},
		"a rate limit, alone":                       {policy: alone, calls: []call{{health.RateLimited, 50}}},
		"an exhausted account":                      {calls: []call{{health.Quota, 1}}, want: true},
		"an exhausted account, alone":               {policy: alone, calls: []call{{health.Quota, 1}}},
		"a refused key":                             {calls: []call{{health.Auth, 1}}, want: true},
		"a refused key, alone":                      {policy: alone, calls: []call{{health.Auth, 1}}, want: true},
		"an unknown model, alone":                   {policy: alone, calls: []call{{health.NotFound, 1}}, want: true},
		"four failures":                             {calls: []call{{health.ServerError, 4}}},
		"five failures":                             {calls: []call{{health.ServerError, 5}}, want: true},
		"five failures, alone":                      {policy: alone, calls: []call{{health.ServerError, 5}}},
		"five failures of several kinds":            {calls: []call{{health.Timeout, 2}, {health.ServerError, 2}, {health.Connect, 1}}, want: true},
		"half fail":                                 {calls: []call{{health.OK, 10}, {health.ServerError, 10}}},
		"more than half fail":                       {calls: []call{{health.OK, 10}, {health.ServerError, 11}}, want: true},
		"999 of 999, alone":                         {policy: alone, calls: []call{{health.Timeout, 999}}},
		"1000 of 1000, alone":                       {policy: alone, calls: []call{{health.Timeout, 1000}}, want: true},
		"1000 of 1001, alone":                       {policy: alone, calls: []call{{health.OK, 1}, {health.Timeout, 1000}}},
		"two failures where two are allowed":        {policy: health.Policy{Counted: true, Allowed: 2}, calls: []call{{health.ServerError, 2}}},
		"three failures where two are allowed":      {policy: health.Policy{Counted: true, Allowed: 2}, calls: []call{{health.ServerError, 3}}, want: true},
		"a refused key where two are allowed":       {policy: health.Policy{Counted: true, Allowed: 2}, calls: []call{{health.Auth, 2}}},
		"a third where two are allowed":             {policy: health.Policy{Counted: true, Allowed: 2}, calls: []call{{health.Auth, 3}}, want: true},
		"many good ones do not help where none is":  {policy: health.Policy{Counted: true}, calls: []call{{health.OK, 100}, {health.ServerError, 1}}, want: true},
		"three limits where two are allowed, alone": {policy: health.Policy{Counted: true, Allowed: 2, Alone: true}, calls: []call{{health.RateLimited, 3}}, want: true},
		"never":                              {policy: health.Policy{Never: true}, calls: []call{{health.Auth, 9}, {health.Timeout, 2000}}},
		"no rest but by the provider's word": {policy: health.Policy{Rest: -1}, calls: []call{{health.RateLimited, 9}, {health.Timeout, 9}}},
		"a deployment's own rest of no length at all": {policy: health.Policy{Fixed: true}, calls: []call{{health.RateLimited, 9}, {health.Timeout, 9}}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newWorld(t, "eu").nodes[0]
			rests := 0
			for _, c := range tc.calls {
				rests += n.told(tc.policy, c.outcome, 0, c.times)
			}
			require.Equal(t, tc.want, n.restsUnder(tc.policy))
			require.Equal(t, tc.want, rests == 1, "told of once")
		})
	}
}

func TestHowLongADeploymentRests(t *testing.T) {
	const s = time.Second
	for name, tc := range map[string]struct {
		policy  health.Policy
		outcome health.Outcome
		said    time.Duration
		want    time.Duration
	}{
		"nobody says":                       {outcome: health.RateLimited, want: 5 * s},
		"the provider says":                 {outcome: health.RateLimited, said: 40 * s, want: 40 * s},
		"the operator says for all":         {policy: health.Policy{Rest: 30 * s}, outcome: health.RateLimited, want: 30 * s},
		"the provider before the operator":  {policy: health.Policy{Rest: 30 * s}, outcome: health.RateLimited, said: 2 * s, want: 2 * s},
		"the deployment's own before both":  {policy: health.Policy{Rest: 20 * s, Fixed: true}, outcome: health.RateLimited, said: 2 * s, want: 20 * s},
		"the provider where others do not":  {policy: health.Policy{Rest: -1}, outcome: health.RateLimited, said: 2 * s, want: 2 * s},
		"an exhausted account":              {outcome: health.Quota, want: 60 * s},
		"an exhausted account, operator":    {policy: health.Policy{Rest: 7 * s}, outcome: health.Quota, want: 7 * s},
		"a refused key, operator":           {policy: health.Policy{Rest: 7 * s}, outcome: health.Auth, want: 7 * s},
		"failures, operator":                {policy: health.Policy{Rest: 7 * s}, outcome: health.ServerError, want: 7 * s},
		"failures, the provider says":       {outcome: health.ServerError, said: 9 * s, want: 9 * s},
		"an operator may want an hour":      {policy: health.Policy{Rest: time.Hour}, outcome: health.RateLimited, want: time.Hour},
		"a provider may not":                {outcome: health.RateLimited, said: time.Hour, want: 10 * time.Minute},
		"an hour for failures":              {policy: health.Policy{Rest: time.Hour}, outcome: health.Timeout, want: time.Hour},
		"an hour is the deployment's own":   {policy: health.Policy{Rest: time.Hour, Fixed: true}, outcome: health.NotFound, want: time.Hour},
		"an unknown model, nobody says":     {outcome: health.NotFound, want: 5 * s},
		"a deployment's own, refused key":   {policy: health.Policy{Rest: 3 * s, Fixed: true}, outcome: health.Auth, want: 3 * s},
		"a deployment's own, failures only": {policy: health.Policy{Rest: 3 * s, Fixed: true}, outcome: health.Connect, said: 50 * s, want: 3 * s},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "eu")
			n := w.nodes[0]
			require.Equal(t, 1, n.told(tc.policy, tc.outcome, tc.said, 5))
			r := health.Ref{Deployment: "a", Credential: "cred", Policy: tc.policy}
			until, _, ok := n.Cooling(r)
			require.True(t, ok)
			require.Equal(t, tc.want, until.Sub(w.now))
			w.pass(tc.want - s)
			_, _, ok = n.Cooling(r)
			require.True(t, ok)
			w.pass(s)
			_, _, ok = n.Cooling(r)
			require.False(t, ok)
		})
	}
}

func TestAllowedFailuresAreForgottenAfterTheRest(t *testing.T) {
	w := newWorld(t, "eu")
	n := w.nodes[0]
	p := health.Policy{Counted: true, Allowed: 2, Rest: 30 * time.Second}
	n.told(p, health.ServerError, 0, 2)
	w.pass(29 * time.Second)
	require.False(t, n.restsUnder(p))
	n.told(p, health.OK, 0, 1)
	require.Equal(t, 1, n.told(p, health.ServerError, 0, 1), "an answer between them forgives nothing")

	w = newWorld(t, "eu")
	n = w.nodes[0]
	n.told(p, health.ServerError, 0, 2)
	w.pass(31 * time.Second)
	require.Zero(t, n.told(p, health.ServerError, 0, 2))
}

func TestDeploymentThatIsAloneIsAskedWhateverOthersSay(t *testing.T) {
	w := newWorld(t, "eu", "eu", "eu")
	alone, others := health.Policy{Alone: true}, health.Policy{}
	w.nodes[1].told(others, health.Timeout, 0, 5)
	w.nodes[2].told(others, health.Timeout, 0, 5)
	w.spread()
	require.True(t, w.nodes[0].restsUnder(others))
	require.True(t, w.nodes[0].Hearsay(health.Ref{Deployment: "a", Policy: others}))
	require.False(t, w.nodes[1].Hearsay(health.Ref{Deployment: "a", Policy: others}), "its own experience")
	require.False(t, w.nodes[0].restsUnder(alone))

	// What is said of its account is told to those that share it.
	w = newWorld(t, "eu", "us")
	require.Zero(t, w.nodes[0].told(alone, health.Quota, 0, 1))
	w.spread()
	for _, n := range w.nodes {
		_, _, ok := n.Cooling(health.Ref{Deployment: "b", Credential: "cred"})
		require.True(t, ok)
		require.False(t, n.restsUnder(alone))
	}
}

func TestOperatorsHourIsTenMinutesToTheOthers(t *testing.T) {
	w := newWorld(t, "eu", "us")
	p := health.Policy{Rest: time.Hour, Fixed: true}
	w.nodes[0].told(p, health.Auth, 0, 1)
	w.spread()
	w.pass(9 * time.Minute)
	require.True(t, w.nodes[1].restsUnder(p))
	w.pass(time.Minute)
	require.False(t, w.nodes[1].restsUnder(p))
	require.True(t, w.nodes[0].restsUnder(p))
	require.NotEmpty(t, w.nodes[0].Active())
	for _, n := range w.nodes[0].Active() {
		require.LessOrEqual(t, n.Remaining, 10*time.Minute)
	}
}

func TestRegionWaitsAsLongAsTheOperatorSays(t *testing.T) {
	w := newWorld(t, "eu", "eu", "eu")
	p := health.Policy{Rest: 30 * time.Second}
	w.nodes[0].told(p, health.Timeout, 0, 5)
	w.nodes[1].told(p, health.Timeout, 0, 5)
	w.spread()
	for range 29 {
		w.pass(time.Second)
		for _, n := range w.nodes {
			require.True(t, n.restsUnder(p))
		}
	}
	w.pass(time.Second)
	open := 0
	for _, n := range w.nodes {
		if !n.restsUnder(p) {
			open++
		}
	}
	require.Equal(t, 1, open, "one probes")
}

func TestConditionIsTheLastCallOrTheRest(t *testing.T) {
	w := newWorld(t, "eu")
	n := w.nodes[0]
	r := health.Ref{Deployment: "a", Credential: "cred"}
	require.Equal(t, health.Unknown, n.Condition(r))
	n.told(health.Policy{}, health.OK, 0, 1)
	require.Equal(t, health.Well, n.Condition(r))
	n.told(health.Policy{}, health.ServerError, 0, 1)
	require.Equal(t, health.Failing, n.Condition(r))
	n.told(health.Policy{}, health.ServerError, 0, 9)
	require.Equal(t, health.Resting, n.Condition(r))
	w.pass(6 * time.Second)
	require.Equal(t, health.Resting, n.Condition(r), "one call a second is no health")
	require.False(t, n.restsUnder(health.Policy{}), "and looking at it took nobody's turn")
	n.told(health.Policy{}, health.OK, 0, 1)
	require.Equal(t, health.Well, n.Condition(r))
}

// Streams are told of when they begin: one that breaks later has not gone well.
func TestStreamsThatBreakAreFailuresAlone(t *testing.T) {
	n := newWorld(t, "eu").nodes[0]
	for i := range 5 {
		require.False(t, n.restsUnder(health.Policy{}), "after %d", i)
		n.told(health.Policy{}, health.OK, 0, 1)
		n.Report(health.Observation{Deployment: "a", Outcome: health.Connect, Late: true})
	}
	require.True(t, n.restsUnder(health.Policy{}))
}
