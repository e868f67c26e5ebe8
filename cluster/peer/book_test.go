package peer_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/peer"
)

func TestBookKnowsTheLastAddressOnly(t *testing.T) {
	b := peer.NewBook()
	_, ok := b.Lookup("node-a")
	require.False(t, ok)
	b.Set("node-a", "10.0.0.1:7946")
	b.Set("node-a", "10.0.0.2:7946")
	b.Set("node-b", "10.0.0.3:7946")
	all := b.All()
	b.Delete("node-b")
	addr, ok := b.Lookup("node-a")
	require.True(t, ok)
	require.Equal(t, "10.0.0.2:7946", addr)
	require.Equal(t, map[string]string{"node-a": "10.0.0.2:7946", "node-b": "10.0.0.3:7946"}, all)
	require.Equal(t, map[string]string{"node-a": "10.0.0.2:7946"}, b.All())
}
