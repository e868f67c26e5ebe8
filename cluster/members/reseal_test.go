package members_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/members"
)

func TestResealReplacesWhatStillStandsAndNothingElse(t *testing.T) {
	a := members.NewApplier()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	index := uint64(0)
	do := func(c *members.Command) members.Result {
		index++
		r, ok := a.Apply(index, at, members.Version, c.Encode()).(members.Result)
		require.True(t, ok)
		a.Publish()
		return r
	}
	do(&members.Command{Op: members.OpFound, CA: &members.CA{Cert: "cert", SealedKey: "ca-1"}, Key: &members.GossipKey{ID: "k1", Sealed: "g-1"}, Feature: 1,
		Node: &members.Node{ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Name: "n", Role: members.RoleNode, Addr: "h:1", FeatureMin: 1, FeatureMax: 1}})
	do(&members.Command{Op: members.OpToken, Token: &members.Token{ID: "t1", SealedKey: "t-1", Role: members.RoleNode, Uses: 1, Expires: at.Add(time.Hour)}})
	before := a.State()
	field, values := before.SealedValues()
	require.Equal(t, "key", field)
	require.Len(t, values, 3)
	for i := range values {
		values[i].New = values[i].Old + "-anew"
	}
	values[1].Old = "replaced meanwhile"
	require.Empty(t, do(&members.Command{Op: members.OpReseal, Sealed: values}).Refused)
	_, after := a.State().SealedValues()
	require.Equal(t, []members.Sealed{{Entity: "ca", Old: "ca-1-anew"}, {Entity: "gossip/k1", Old: "g-1"}, {Entity: "token/t1", Old: "t-1-anew"}}, after)
	_, still := before.SealedValues()
	require.Equal(t, "ca-1", still[0].Old, "a published state never changes")
	require.Equal(t, members.CodeBadCommand, do(&members.Command{Op: members.OpReseal, Sealed: []members.Sealed{{}}}).Refused)
}
