package e2e

import (
	"fmt"
	"testing"
	"time"

	"tollgate/node/e2e/fake"
	"tollgate/node/e2e/network"
)

// region is a cluster of three regions of which one can be cut off from the
// others; the provider stays in reach of all.
type region struct {
	*cluster
	wire *network.Network
	off  *node   // the region that is cut off
	rest []*node // the majority
	key  string
}

func regions(t *testing.T) *region {
	t.Helper()
	wire := network.New(t, 7)
	if wire == nil {
		return nil
	}
	f := fake.StartOn(t, providerOn(t, wire))
	c := startCluster(t, 3, clusterOptions{config: configFor(f, ""), wire: wire})
	oceans(wire, c)
	r := &region{cluster: c, wire: wire}
	for _, n := range c.nodes {
		if r.off == nil && n != c.leader() {
			r.off = n
			continue
		}
		r.rest = append(r.rest, n)
	}
	r.key = r.rest[0].newKey(t, "")
	if a := r.off.chat(t, r.key, "gpt", "hi", ""); a.status != 200 {
		t.Fatalf("before the cut: %d %s", a.status, a.body)
	}
	return r
}

// serves requires that a node answers calls with a known key.
func (r *region) serves(t *testing.T, who string, n *node) {
	t.Helper()
	if a := n.chat(t, r.key, "gpt", "hi", ""); a.status != 200 {
		t.Errorf("%s does not serve a known key: %d %s", who, a.status, a.body)
	}
	s := n.open(t, "/v1/chat/completions", r.key, chatBody("gpt", "fake:words=5", `"stream":true`))
	s.until(t, "data: [DONE]")
}

// noQuorum waits until the cut-off node knows that it is.
func (r *region) noQuorum(t *testing.T) {
	t.Helper()
	eventually(t, formWithin, "the cut-off node knows it", func() error {
		s, err := r.off.status()
		if err == nil && s.Quorum {
			err = fmt.Errorf("%+v", s)
		}
		return err
	})
}

// refusedForLackOfQuorum requires that a node takes no change, and that it says
// for lack of a majority once it has given the other voters up: until then an
// election may be under way.
func refusedForLackOfQuorum(t *testing.T, n *node, path, body string) {
	t.Helper()
	eventually(t, formWithin, path+" is refused for lack of a quorum", func() error {
		a := n.do(t, "POST", path, masterKey, body)
		code := a.get("error.code").String()
		if a.status != 503 || code != "no_quorum" && code != "no_leader" || a.header.Get("Retry-After") == "" {
			t.Fatalf("%s without a quorum: %d %v %s", path, a.status, a.header, a.body)
		}
		if code != "no_quorum" {
			return fmt.Errorf("it says %s", code)
		}
		return nil
	})
}

// writes waits until a majority node takes management calls, and returns a key.
func (r *region) writes(t *testing.T) string {
	t.Helper()
	var key string
	eventually(t, formWithin, "the majority takes management calls", func() error {
		a, err := r.rest[1].call("POST", "/key/generate", masterKey, "{}")
		if err == nil && a.status != 200 {
			err = fmt.Errorf("%d %s", a.status, tail(a.body, 200))
		}
		key = a.get("key").String()
		return err
	})
	return key
}

func TestARegionCutOffServesWhatItKnowsRefusesWritesAndMergesOnHealing(t *testing.T) {
	t.Parallel()
	r := regions(t)
	if r == nil {
		return
	}
	doomed := r.rest[0].newKey(t, "")
	if a := r.off.chat(t, doomed, "gpt", "hi", ""); a.status != 200 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	for _, n := range r.rest {
		r.wire.Cut(r.off.o.host, n.o.host)
	}
	r.noQuorum(t)

	// The cut-off side: known keys, routing and streams work.
	r.serves(t, "the cut-off side", r.off)
	// New keys, revocation, config and joins are refused with a code of their own.
	for path, body := range map[string]string{
		"/key/generate": "{}", "/key/delete": fmt.Sprintf(`{"keys":[%q]}`, doomed), "/cluster/token": "{}",
	} {
		refusedForLackOfQuorum(t, r.off, path, body)
	}
	// How old its view is shows.
	if s, err := r.off.status(); err != nil || s.LeaderAgeMS <= 0 {
		t.Errorf("the age of the leader's last word: %+v %v", s, err)
	}
	// Reads of management are local.
	if a := r.off.get(t, "/key/info?key="+r.key, masterKey); a.status != 200 {
		t.Errorf("a local read: %d %s", a.status, a.body)
	}

	// The majority goes on in full.
	made := r.writes(t)
	for _, n := range r.rest {
		r.serves(t, "the majority", n)
	}
	if a := r.rest[0].do(t, "POST", "/key/delete", masterKey, fmt.Sprintf(`{"keys":[%q]}`, doomed)); a.status != 200 {
		t.Errorf("a deletion by the majority: %d %s", a.status, a.body)
	}
	// A key that the cut-off side cannot know: an outage and not the caller's fault.
	if a := r.off.chat(t, made, "gpt", "hi", ""); a.status != 503 {
		t.Errorf("a key made elsewhere during the cut: %d %s", a.status, a.body)
	}
	// The ledger keeps writing.
	id := r.off.chat(t, r.key, "gpt", "hi", "").get("id").String()

	r.wire.Heal()
	r.waitFormed()
	// Raft's connections that the cut has broken are dialled anew after up to ten
	// seconds; until then the node knows that it may be behind.
	for what, c := range map[string]struct {
		key    string
		status int
	}{"the new key": {made, 200}, "the deleted key": {doomed, 401}} {
		eventually(t, formWithin, "after healing "+what, func() error {
			if a := r.off.chat(t, c.key, "gpt", "hi", ""); a.status != c.status {
				return fmt.Errorf("%d %s", a.status, a.body)
			}
			return nil
		})
	}
	r.off.row(t, id)
	if key := r.off.newKey(t, ""); r.rest[0].chat(t, key, "gpt", "hi", "").status != 200 {
		t.Error("after healing a key made in the region that was cut off does not work elsewhere")
	}
}

func TestAOneWayCutNeitherStopsTheMajorityNorDeposesItsLeader(t *testing.T) {
	t.Parallel()
	for _, direction := range []string{"unheard", "deaf"} {
		t.Run(direction, func(t *testing.T) {
			t.Parallel()
			r := regions(t)
			if r == nil {
				return
			}
			leader := r.leader()
			before, err := leader.status()
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range r.rest {
				if direction == "unheard" {
					r.wire.CutOneWay(r.off.o.host, n.o.host)
				} else {
					r.wire.CutOneWay(n.o.host, r.off.o.host)
				}
			}
			// Both sides serve through it all, for longer than an election takes.
			end := time.Now().Add(10 * time.Second)
			for time.Now().Before(end) {
				r.serves(t, "the cut-off side", r.off)
				for _, n := range r.rest {
					r.serves(t, "the majority", n)
				}
			}
			made := r.writes(t)
			s, err := leader.status()
			if err != nil || s.State != "leader" || s.Term != before.Term {
				t.Errorf("the leader was deposed: %+v, before %+v, %v", s, before, err)
			}
			r.wire.Heal()
			r.waitFormed()
			if a := r.off.chat(t, made, "gpt", "hi", ""); a.status != 200 {
				t.Errorf("after healing: %d %s", a.status, a.body)
			}
			if s, err := leader.status(); err != nil || s.State != "leader" {
				t.Errorf("healing deposed the leader: %+v %v", s, err)
			}
		})
	}
}

func TestWithOnlyGossipsPacketsCutTheClusterAgreesOn(t *testing.T) {
	t.Parallel()
	r := regions(t)
	if r == nil {
		return
	}
	for _, n := range r.rest {
		r.wire.Block(r.off.o.host, n.o.host, network.Match{Protocol: network.UDP})
	}
	leader := r.leader()
	for range 20 {
		key := r.off.newKey(t, "")
		if a := r.rest[0].chat(t, key, "gpt", "hi", ""); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	r.wire.Heal()
	r.waitFormed()
	if r.leader() != leader {
		t.Error("the leader changed, and nothing but UDP was cut")
	}
}
