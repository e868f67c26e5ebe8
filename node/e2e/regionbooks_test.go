package e2e

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"tollgate/node/e2e/fake"
	"tollgate/node/e2e/network"
)

// rowsAddUp requires that the rows of a key on all nodes, each counted once, make
// a sum, and that every node says of the key that it has spent just that.
func rowsAddUp(t *testing.T, nodes []*node, key string, want float64) {
	t.Helper()
	rows := map[string]float64{}
	for _, n := range nodes {
		for _, r := range n.rowsOfKey(t, key) {
			id := r.Get("request_id").String()
			if before, seen := rows[id]; seen && before != r.Get("spend").Float() {
				t.Errorf("two nodes have different rows of %s", id)
			}
			rows[id] = r.Get("spend").Float()
		}
	}
	var sum float64
	for _, spend := range rows {
		sum += spend
	}
	if math.Abs(sum-want) > 1e-9 {
		t.Errorf("%d rows add up to %v, and %v was answered", len(rows), sum, want)
	}
	for _, n := range nodes {
		eventually(t, formWithin, "a node knows what the key has spent", func() error {
			a, err := n.call("GET", "/key/info?key="+key, masterKey, "")
			if err != nil {
				return err
			}
			if got := a.get("info.spend").Float(); a.status != 200 || math.Abs(got-want) > 1e-9 {
				return fmt.Errorf("it says %v, the rows %v", got, want)
			}
			return nil
		})
	}
}

func TestBothSidesOfACutSpendOnlyWhatTheyHoldAndTheRowsEqualTheBank(t *testing.T) {
	t.Parallel()
	const budget = 0.1
	r := regions(t)
	if r == nil {
		return
	}
	key := r.rest[0].newKey(t, fmt.Sprintf(`"max_budget":%v,"budget_duration":"30d"`, budget))
	var paid float64
	for _, n := range r.nodes {
		for range 3 {
			if a := n.chat(t, key, "gpt", "fake:words=100", `"max_tokens":100`); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			paid += onePaid
		}
	}
	for _, n := range r.rest {
		r.wire.Cut(r.off.o.host, n.o.host)
	}
	r.noQuorum(t)
	r.writes(t)
	beyond := spendAll(t, key, r.off)
	within := spendAll(t, key, r.rest...)
	if paid+beyond+within > budget+1e-9 {
		t.Errorf("%v before, %v on the cut-off side and %v on the other: more than %v", paid, beyond, within, budget)
	}
	if beyond == 0 || within == 0 {
		t.Errorf("%v on the cut-off side and %v on the other: a side that holds credit spends it", beyond, within)
	}
	t.Logf("of %v: %.4f before the cut, %.4f by the side that was cut off, %.4f by the majority", budget, paid, beyond, within)

	r.wire.Heal()
	r.waitFormed()
	paid += beyond + within
	paid += spendAll(t, key, r.nodes...)
	if paid > budget+1e-9 {
		t.Errorf("after healing %v of %v is spent", paid, budget)
	}
	rowsAddUp(t, r.nodes, key, paid)
}

func TestACutOffSideMarksItsReadsAndHasItsOwnExperienceOfProviders(t *testing.T) {
	t.Parallel()
	wire := network.New(t, 13)
	if wire == nil {
		return
	}
	a, b := fake.StartOn(t, providerOn(t, wire)), fake.StartOn(t, providerOn(t, wire))
	config := configFor(a, "")
	for i, f := range []*fake.Server{a, b} {
		config = strings.Replace(config, "model_list:\n", fmt.Sprintf("model_list:\n  - model_name: twice\n    litellm_params: {model: openai/gpt-4o, api_base: %q, api_key: sk-upstream-%d}\n", f.OpenAI(), i), 1)
	}
	c := startCluster(t, 3, clusterOptions{config: config, wire: wire})
	oceans(wire, c)
	off, rest := c.followers()[0], c.leader()
	key := rest.newKey(t, "")
	if got := off.chat(t, key, "twice", "hi", ""); got.status != 200 {
		t.Fatalf("%d %s", got.status, got.body)
	}
	fresh := off.get(t, "/key/info?key="+key, masterKey)
	if stale := fresh.header.Get("X-State-Stale-Ms"); stale != "" {
		t.Errorf("a read is marked stale (%s ms) while all is well", stale)
	}
	for _, n := range c.nodes {
		if n != off {
			wire.Cut(off.o.host, n.o.host)
		}
	}
	r := &region{cluster: c, off: off}
	r.noQuorum(t)

	read := off.get(t, "/key/info?key="+key, masterKey)
	if ms, err := strconv.Atoi(read.header.Get("X-State-Stale-Ms")); read.status != 200 || err != nil || ms <= 0 {
		t.Errorf("a read without a leader: %d, X-State-Stale-Ms %q", read.status, read.header.Get("X-State-Stale-Ms"))
	}
	if got := off.get(t, "/key/info?consistency=leader&key="+key, masterKey); got.status == 200 && got.header.Get("X-State-Stale-Ms") == "" {
		t.Errorf("a read that asks for the leader's state is answered as if there were one: %s", got.body)
	}

	// Only the cut-off side meets a provider that asks to be left alone.
	a.Refuse(60)
	for i := 0; ; i++ {
		if got := off.chat(t, key, "twice", "hi", ""); got.status == 429 {
			break
		} else if got.status != 200 || i > 100 {
			t.Fatalf("%d %s", got.status, got.body)
		}
	}
	a.Refuse(0)
	a.Forget()
	calls := func(n *node) (toA int) {
		before := a.Count()
		for range 30 {
			if got := n.chat(t, key, "twice", "hi", ""); got.status != 200 {
				t.Errorf("%d %s", got.status, got.body)
			}
		}
		return a.Count() - before
	}
	if got := calls(off); got != 0 {
		t.Errorf("the side that was told to wait sent %d calls all the same", got)
	}
	if got := calls(rest); got == 0 {
		t.Error("the other side leaves a provider alone of which it has heard nothing")
	}
	wire.Heal()
	c.waitFormed()
	eventually(t, formWithin, "after healing all know of it", func() error {
		if got := calls(rest); got != 0 {
			return fmt.Errorf("%d of 30 calls went there", got)
		}
		return nil
	})
}
