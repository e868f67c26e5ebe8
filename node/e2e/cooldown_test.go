package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
)

// twoPlaces is a model that two providers serve, one in each of two regions.
func twoPlaces(eu, us *fake.Server, more string) string {
	entry := func(id, region string, f *fake.Server) string {
		return fmt.Sprintf("  - {model_name: pair, model_info: {id: %s}, litellm_params: {model: openai/gpt-4o-mini, api_base: %q, api_key: sk-of-%s, region_name: %s}}\n",
			id, f.OpenAI(), id, region)
	}
	return "model_list:\n" + entry("in-eu", "eu", eu) + entry("in-us", "us", us) + "general_settings: {master_key: os.environ/LITELLM_MASTER_KEY}\n" + more
}

// conditionOf is litellm_deployment_state of a deployment as a node shows it, "" when
// it does not.
func (n *node) conditionOf(id string) (string, error) {
	a, err := n.call("GET", "/metrics", "", "")
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(a.body, "\n") {
		if strings.HasPrefix(line, "litellm_deployment_state{") && strings.Contains(line, `model_id="`+id+`"`) {
			return line[strings.LastIndexByte(line, ' ')+1:], nil
		}
	}
	return "", nil
}

func TestACredentialThatIsLimitedOnOneNodeIsLeftAloneByAllWithinASecond(t *testing.T) {
	t.Parallel()
	eu, us := fake.Start(t), fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: twoPlaces(eu, us, "router_settings: {num_retries: 2}\n"), regions: []string{"eu", "us", "eu"}})
	key := c.nodes[0].newKey(t, "")
	for _, n := range c.nodes {
		eventually(t, formWithin, "the key is known", func() error {
			a, err := n.call("POST", "/v1/chat/completions", key, chatBody("pair", "hi", ""))
			if err == nil && a.status != 200 {
				err = fmt.Errorf("%d %s", a.status, a.body)
			}
			return err
		})
	}
	eu.Refuse(60)
	if a := c.nodes[0].chat(t, key, "pair", "hi", ""); a.status != 200 {
		t.Fatalf("the other provider did not stand in: %d %s", a.status, a.body)
	}
	told := time.Now()
	for _, n := range c.nodes {
		eventually(t, soon, "the node knows", func() error {
			is, err := n.conditionOf("in-eu")
			if err == nil && is != "2" {
				err = fmt.Errorf("state %q", is)
			}
			return err
		})
	}
	took := time.Since(told)
	t.Logf("all nodes knew after %v", took)
	if took > time.Second {
		t.Errorf("it took %v until all knew", took)
	}
	before := eu.Count()
	for range 20 {
		for _, n := range c.nodes {
			if a := n.chat(t, key, "pair", "hi", ""); a.status != 200 || a.header.Get("x-litellm-model-id") != "in-us" {
				t.Fatalf("%s: %d by %q %s", n.o.args[1], a.status, a.header.Get("x-litellm-model-id"), a.body)
			}
		}
	}
	if n := eu.Count() - before; n != 0 {
		t.Errorf("a provider that asked for a minute was called %d times", n)
	}
	if a := c.nodes[0].get(t, "/metrics", ""); !strings.Contains(a.body, `litellm_deployment_cooled_down_total{`) || !strings.Contains(a.body, `exception_status="429"`) {
		t.Error("the cooldown is not counted")
	}
}

func TestADeadRegionOfAProviderSpillsOverAndComesBackByOneProbe(t *testing.T) {
	t.Parallel()
	eu, us := fake.Start(t), fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: twoPlaces(eu, us, "router_settings: {num_retries: 2, cooldown_time: 3}\n"), regions: []string{"eu", "us", "eu"}})
	key := c.nodes[0].newKey(t, "")
	mark := func(i int, phase string) string { return fmt.Sprintf("from-%d-%s", i, phase) }
	// say sends one call from each node, and fails if one is not answered.
	say := func(phase string) {
		t.Helper()
		for i, n := range c.nodes {
			if a := n.chat(t, key, "pair", mark(i, phase), ""); a.status != 200 {
				t.Fatalf("node %d, %s: %d %s", i+1, phase, a.status, a.body)
			}
		}
	}
	arrived := func(f *fake.Server, i int, phase string) int {
		n, _ := f.With(mark(i, phase))
		return n
	}
	for range 10 {
		say("well")
	}
	for i, where := range []*fake.Server{eu, us, eu} {
		if n := arrived(where, i, "well"); n != 10 {
			t.Errorf("node %d called its own region %d of 10 times", i+1, n)
		}
	}

	eu.Fail(503)
	eventually(t, soon, "both nodes of the region leave it alone", func() error {
		say("dying")
		for _, i := range []int{0, 2} {
			if is, err := c.nodes[i].conditionOf("in-eu"); err != nil || is != "2" {
				return fmt.Errorf("node %d: state %q, %v", i+1, is, err)
			}
		}
		return nil
	})
	began := time.Now()
	for time.Since(began) < 9*time.Second { // three rests; others would try by themselves after 13 s
		say("dead")
	}
	first, second := arrived(eu, 0, "dead"), arrived(eu, 2, "dead")
	t.Logf("while it was dead for %v it was asked %d and %d times, the other %d times", time.Since(began), first, second, arrived(us, 0, "dead")+arrived(us, 2, "dead"))
	if first > 0 && second > 0 || first+second > 9 {
		t.Errorf("a dead provider was asked %d and %d times by the nodes of its region: one may, once a second at most", first, second)
	}
	if n := arrived(eu, 1, "dead"); n != 0 {
		t.Errorf("a node of another region asked it %d times", n)
	}

	eu.Fail(0)
	eventually(t, soon, "both nodes come back", func() error {
		say("again")
		for _, i := range []int{0, 2} {
			if is, err := c.nodes[i].conditionOf("in-eu"); err != nil || is != "0" {
				return fmt.Errorf("node %d: state %q, %v", i+1, is, err)
			}
		}
		return nil
	})
	for range 10 {
		say("well again")
	}
	for i, where := range []*fake.Server{eu, us, eu} {
		if n := arrived(where, i, "well again"); n != 10 {
			t.Errorf("node %d called its own region %d of 10 times", i+1, n)
		}
	}
}
