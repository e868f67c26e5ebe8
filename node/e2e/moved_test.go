package e2e

import (
	"testing"

	"tollgate/node/e2e/fake"
)

// Machines whose addresses do not last come back from an outage of all of them:
// what each knew of the others is wrong, and the address that they were started
// with is all there is.
func TestNodesThatAllComeBackElsewhereFindEachOther(t *testing.T) {
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, "")})
	key := c.nodes[1].newKey(t, "")
	for _, n := range c.nodes {
		n.kill()
	}
	for i, n := range c.nodes {
		old := n.o.cluster
		n.o.cluster = freePort(t)
		for j := range n.o.args {
			if n.o.args[j] == old {
				n.o.args[j] = n.o.cluster
			}
		}
		if i > 0 {
			n.o.command = []string{"join", c.nodes[0].o.cluster, "--token", "used-long-ago"}
		}
		n.begin()
	}
	for _, n := range c.nodes {
		n.ready()
	}
	c.waitFormed()
	for i, n := range c.nodes {
		if a := n.chat(t, key, "gpt", "hi", ""); a.status != 200 {
			t.Errorf("%s: %d %s", nameOf(i), a.status, a.body)
		}
	}
	c.nodes[2].newKey(t, "")
}
