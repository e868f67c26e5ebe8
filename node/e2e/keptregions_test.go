package e2e

import (
	"fmt"
	"strings"
	"testing"

	"tollgate/node/e2e/fake"
)

// keptRegional is a config with a deployment in each region and a cache in memory.
func keptRegional(eu, us, lost *fake.Server) string {
	return regional(eu, us, lost, "litellm_settings: {cache: true, cache_params: {ttl: 600}}\n")
}

// asksOf is how often each region's provider was asked with a mark.
func asksOf(mark string, fakes ...*fake.Server) (out []int) {
	for _, f := range fakes {
		n, _ := f.With(mark)
		out = append(out, n)
	}
	return out
}

func isHit(a answer) bool { return a.header.Get("x-litellm-response-cost") == "0" }

// TestAKeptAnswerIsGivenOnlyWhereTheRuleOfTheCallThatAsksAllowsIt: what a call
// without a rule left, from wherever, answers none that has one; neither a key's
// data_regions nor an end user's allowed_model_region.
func TestAKeptAnswerIsGivenOnlyWhereTheRuleOfTheCallThatAsksAllowsIt(t *testing.T) {
	t.Parallel()
	eu, us, lost := fake.Start(t), fake.Start(t), fake.Start(t)
	c := startCluster(t, 2, clusterOptions{regions: []string{"eu-west", "us-east"}, config: keptRegional(eu, us, lost)})
	inside, outside := c.nodes[0], c.nodes[1]
	free, ruled := inside.newKey(t, ""), inside.newKey(t, `"data_regions":["eu-west"]`)
	once := func(what string, ask func() answer, before []int, mark string) {
		t.Helper()
		a := ask()
		after := asksOf(mark, eu, us, lost)
		if a.status != 200 || isHit(a) || after[0] != before[0]+1 || after[1] != before[1] || after[2] != before[2] {
			t.Errorf("%s: %d, cost %q; providers were asked %v times, then %v", what, a.status, a.header.Get("x-litellm-response-cost"), before, after)
		}
		eventually(t, soon, what+" is kept for its like", func() error {
			if a := ask(); a.status != 200 || !isHit(a) {
				return fmt.Errorf("%d, cost %q", a.status, a.header.Get("x-litellm-response-cost"))
			}
			return nil
		})
	}

	for _, more := range []string{"", `"stream":true`} {
		mark := "kept-for-all-" + strings.Trim(more, `":true`)
		hits(t, inside, free, "gpt", mark, "")
		hits(t, outside, free, "gpt", mark, "")
		before := asksOf(mark, eu, us, lost)
		if more == "" {
			once("a key with data_regions", func() answer { return inside.chat(t, ruled, "gpt", mark, "") }, before, mark)
			continue
		}
		if a := inside.chat(t, ruled, "gpt", mark, more); a.status != 200 || asksOf(mark, eu)[0] != before[0]+1 {
			t.Errorf("a stream of a key with data_regions: %d, providers %v, then %v", a.status, before, asksOf(mark, eu, us, lost))
		}
		if a := outside.chat(t, ruled, "gpt", mark, more); a.status != 403 || a.get("error.code").String() != "region_not_allowed" {
			t.Errorf("a node outside that has the answer of another: %d %s", a.status, a.body)
		}
	}

	const mark = "kept-for-jane"
	jane := func() answer { return inside.chat(t, free, "gpt", mark, `"user":"jane"`) }
	hits(t, inside, free, "gpt", mark, `"user":"jane"`)
	before := asksOf(mark, eu, us, lost)
	if a := inside.do(t, "POST", "/customer/new", masterKey, `{"user_id":"jane","allowed_model_region":"eu"}`); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	once("an end user with allowed_model_region", jane, before, mark)
}

// TestAnIdempotentAnswerStaysInTheRegionsOfItsCall: also when the rule is lifted,
// and when only the copy has it.
func TestAnIdempotentAnswerStaysInTheRegionsOfItsCall(t *testing.T) {
	t.Parallel()
	eu, us, lost := fake.Start(t), fake.Start(t), fake.Start(t)
	c := startCluster(t, 3, clusterOptions{regions: []string{"eu-west", "eu-west", "us-east"}, config: keptRegional(eu, us, lost)})
	maker, inside, outside := c.nodes[0], c.nodes[1], c.nodes[2]
	key := maker.newKey(t, `"data_regions":["eu-west"]`)
	// Some key always has the rule: copies are kept where it allows it.
	maker.newKey(t, `"data_regions":["eu-west"]`)
	calls := shapes("stays", "")[:2]
	var first []answer
	for _, o := range calls {
		a, err := o.on(maker, key)
		if err != nil || a.status != 200 {
			t.Fatalf("%v %d %s", err, a.status, a.body)
		}
		first = append(first, a)
	}
	check := func(when string, says ...string) {
		t.Helper()
		for i, o := range calls {
			eventually(t, soon, when+", the answer is given inside", func() error {
				a, err := o.on(inside, key)
				if err != nil || a.status == 503 {
					return fmt.Errorf("%w %d %s", err, a.status, a.body)
				}
				requireSame(t, when+", inside", first[i], a)
				return nil
			})
			a, err := o.on(outside, key)
			if code := a.get("error.code").String(); err != nil || a.status == 200 || !strings.Contains(strings.Join(says, " "), code) || strings.Contains(a.body, "choices") {
				t.Errorf("%s, outside: %v %d %s", when, err, a.status, a.body)
			}
		}
	}
	check("under the rule", "region_not_allowed")
	if a := maker.do(t, "POST", "/key/update", masterKey, fmt.Sprintf(`{"key":%q,"data_regions":[]}`, key)); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	if a := outside.chat(t, key, "gpt", "another call", ""); a.status != 200 {
		t.Fatalf("the rule is lifted: %d %s", a.status, a.body)
	}
	check("with the rule lifted", "region_not_allowed")
	eventually(t, soon, "the copy has all", func() error {
		lag, err := maker.metric("tollgate_replica_lag_entries")
		if err == nil && lag > 0 {
			err = fmt.Errorf("%v entries are missing", lag)
		}
		return err
	})
	maker.kill()
	check("with the maker dead", "outcome_unknown", "region_not_allowed")
	for _, o := range calls {
		if n := asksOf(o.mark, eu, us, lost); n[0]+n[1]+n[2] != 1 {
			t.Errorf("%s: providers were asked %v times", o.mark, n)
		}
	}
}

// TestAKeyWhoseFirstAnswerWasAKeptOneGivesItsBytes: one row, and no provider.
func TestAKeyWhoseFirstAnswerWasAKeptOneGivesItsBytes(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	c := startCluster(t, 2, clusterOptions{config: cached(f, "{ttl: 600}", "")})
	key := c.nodes[0].newKey(t, "")
	for _, o := range shapes("kept-first", "") {
		// Without a key of its own until it is kept.
		eventually(t, soon, "the answer is kept", func() error {
			before := f.Count()
			if a := c.nodes[0].do(t, "POST", o.path, key, o.body); a.status != 200 || f.Count() != before {
				return fmt.Errorf("%d, the provider was asked", a.status)
			}
			return nil
		})
		asked, _ := f.With(o.mark)
		rows := 0
		eventually(t, soon, "the rows have come", func() error {
			n := len(c.nodes[0].rowsOfKey(t, key))
			if n == 0 || n != rows {
				rows = n
				return fmt.Errorf("%d rows", n)
			}
			return nil
		})
		first, err := o.on(c.nodes[0], key)
		if err != nil || first.status != 200 || first.header.Get(replayHeader) != "" || first.header.Get("x-litellm-cache-key") == "" {
			t.Fatalf("%s: %v %d %v", o.mark, err, first.status, first.header)
		}
		for i := range 4 {
			a, err := o.on(c.nodes[i%2], key)
			if err != nil {
				t.Fatal(err)
			}
			requireSame(t, o.mark, first, a)
			if a.header.Get(replayHeader) != "true" {
				t.Errorf("%s: answer %d does not say that it is repeated", o.mark, i)
			}
		}
		if now, _ := f.With(o.mark); now != asked {
			t.Errorf("%s: the provider was asked %d times, then %d", o.mark, asked, now)
		}
		eventually(t, soon, "one row more", func() error {
			if n := len(c.nodes[0].rowsOfKey(t, key)); n != rows+1 {
				return fmt.Errorf("%d rows, then %d", rows, n)
			}
			return nil
		})
	}
}
