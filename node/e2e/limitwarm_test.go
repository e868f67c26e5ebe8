package e2e

import (
	"slices"
	"sync"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
	"tollgate/node/e2e/network"
)

// Limits are owned by one node, and others are 80 to 220 ms away from it. A key in
// steady use must not feel that: credit is there before it is needed.
func TestAcrossOceansAKeyInSteadyUseWaitsForNoOtherRegion(t *testing.T) {
	t.Parallel()
	wire := network.New(t, 19)
	if wire == nil {
		return
	}
	f := fake.StartOn(t, providerOn(t, wire))
	c := startCluster(t, 3, clusterOptions{config: budgetConfig(f), wire: wire})
	oceans(wire, c)
	c.leader()
	keys := map[string]string{"limited": c.nodes[0].newKey(t, `"rpm_limit":6000,"tpm_limit":1000000`), "free": c.nodes[0].newKey(t, "")}

	const warm, lasts = 5 * time.Second, 15 * time.Second
	var mu sync.Mutex // guards took
	took := map[string][]time.Duration{}
	var crew sync.WaitGroup
	began := time.Now()
	for name, key := range keys {
		for _, n := range c.nodes {
			crew.Go(func() {
				tick := time.NewTicker(50 * time.Millisecond)
				defer tick.Stop()
				for time.Since(began) < lasts {
					at := time.Now()
					a, err := n.call("POST", "/v1/chat/completions", key, chatBody("gpt", "hi", `"max_tokens":10`))
					d := time.Since(at)
					if err != nil || a.status != 200 {
						t.Errorf("%s: %v %d %s", name, err, a.status, a.body)
						return
					}
					if at.Sub(began) > warm {
						mu.Lock()
						took[name] = append(took[name], d)
						mu.Unlock()
					}
					<-tick.C
				}
			})
		}
	}
	crew.Wait()
	if t.Failed() {
		return
	}
	// Whoever waits for another region waits 80 ms at least. A busy machine makes
	// some calls slow as well, those without a limit alike.
	far := map[string]float64{}
	for name, all := range took {
		slices.Sort(all)
		fast, _ := slices.BinarySearch(all, 70*time.Millisecond)
		slow := len(all) - fast
		far[name] = float64(slow) / float64(len(all))
		t.Logf("%s: %d calls, median %s, 99 %% within %s, %.2f %% over 70 ms", name, len(all), all[len(all)/2], all[len(all)*99/100], 100*far[name])
	}
	if far["limited"] > far["free"]+0.02 {
		t.Errorf("%.2f %% of the calls of a limited key wait for another region, %.2f %% of those of a free one are as slow", 100*far["limited"], 100*far["free"])
	}
	if l, u := took["limited"], took["free"]; float64(l[len(l)/2]) > 1.1*float64(u[len(u)/2])+float64(2*time.Millisecond) {
		t.Errorf("the median call takes %s with a limit and %s without", l[len(l)/2], u[len(u)/2])
	}
}
