package join_test

import (
	"context"
	"crypto/tls"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/join"
)

// The answer goes into the address book: it must be of the cluster, and of the
// node that it names.
func TestWhoLivesAtAnAddressIsBelievedOnlyOfMembers(t *testing.T) {
	c := newCluster(t, clusterID)
	c.serve()
	who, err := join.Who(t.Context(), c.dial, c.self, "founder.test:7946")
	require.NoError(t, err)
	require.Equal(t, c.deps.Self(), who)

	_, err = join.Who(t.Context(), c.dial, newCluster(t, clusterID).self, "founder.test:7946")
	require.ErrorContains(t, err, "is of another cluster")
	_, err = join.Who(t.Context(), c.dial, nil, "founder.test:7946")
	require.ErrorIs(t, err, join.ErrNotJoined)
	_, err = join.Who(t.Context(), func(context.Context, string) (*tls.Conn, error) { return nil, errNoLeader }, c.self, "x")
	require.ErrorIs(t, err, errNoLeader)

	honest := c.deps.Self
	c.deps.Self = func() join.Whoami {
		w := honest()
		w.ID = "another"
		return w
	}
	c.serve()
	_, err = join.Who(t.Context(), c.dial, c.self, "founder.test:7946")
	require.ErrorContains(t, err, "says another id than its certificate")
}
