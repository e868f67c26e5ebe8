package members_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/cluster/members"
)

func anyCommand(t *rapid.T) members.Command {
	id := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "id")
	tok := rapid.SampledFrom([]string{"", "t1", "t2"}).Draw(t, "token")
	switch rapid.IntRange(0, 11).Draw(t, "op") {
	case 0:
		return members.Command{Op: members.OpFound, Node: node(id), Feature: 1, CA: &members.CA{Cert: id}, Key: &members.GossipKey{ID: "k" + id, Sealed: "s"}}
	case 1, 2, 3:
		c := admit(id, tok)
		c.Node.KeySum = rapid.SampledFrom([]string{"x", "y"}).Draw(t, "key")
		c.Replaces = rapid.SampledFrom([]string{"", "x", "y", members.NoKey}).Draw(t, "replaces")
		return c
	case 4:
		return start(id, rapid.Uint64Range(1, 4).Draw(t, "incarnation"), rapid.SampledFrom([]string{"n", "m"}).Draw(t, "nonce"))
	case 5:
		return members.Command{Op: members.OpRemove, ID: id}
	case 6:
		return token("t1", rapid.IntRange(0, 3).Draw(t, "uses"), noon.Add(time.Duration(rapid.IntRange(0, 200).Draw(t, "minutes"))*time.Minute))
	case 7:
		return token("t2", 1, noon.Add(time.Hour))
	case 8:
		return members.Command{Op: members.OpRevoke, ID: tok}
	case 9:
		return members.Command{Op: members.OpKeyInstall, Key: &members.GossipKey{ID: "k" + id, Sealed: "s"}}
	case 10:
		return members.Command{Op: rapid.SampledFrom([]members.Op{members.OpKeyUse, members.OpKeyRemove}).Draw(t, "key op"), ID: "k" + id}
	}
	return members.Command{Op: members.OpFeature, Feature: rapid.Uint32Range(0, 3).Draw(t, "feature")}
}

func TestSameLogGivesTheSameSnapshotBytesHoweverBatchedAndRestored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, other := members.NewApplier(), members.NewApplier()
		at := noon
		for i := range rapid.IntRange(1, 60).Draw(t, "commands") {
			c := anyCommand(t)
			at = at.Add(time.Duration(rapid.IntRange(0, 10).Draw(t, "minutes")) * time.Minute)
			answer := one.Apply(uint64(i), at, members.Version, c.Encode())
			one.Publish()
			require.Equal(t, answer, other.Apply(uint64(i), at, members.Version, c.Encode()))
			switch rapid.IntRange(0, 3).Draw(t, "between") {
			case 0:
				other.Publish()
			case 1: // a snapshot captured here must not see what follows
				seq, then := other.Snapshot(), snapshot(one)
				extra := admit("z", "")
				side := members.NewApplier()
				swap, err := side.Restore(seq)
				require.NoError(t, err)
				swap()
				require.Equal(t, then, snapshot(side))
				side.Apply(uint64(i), at, members.Version, extra.Encode())
				require.Equal(t, then, snapshot(other))
				if rapid.Bool().Draw(t, "go on from the snapshot") {
					fresh := members.NewApplier()
					swap, err := fresh.Restore(records(then))
					require.NoError(t, err)
					swap()
					other = fresh
				}
			}
		}
		other.Publish()
		require.Equal(t, snapshot(one), snapshot(other))
		require.Equal(t, one.State(), other.State())
	})
}

func TestUsesNeverGoBelowZeroAndNoTokenAdmitsMoreThanItsUses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := founded(t)
		uses := rapid.IntRange(1, 4).Draw(t, "uses")
		require.NoError(t, l.do(token("t", uses, noon.Add(12*time.Hour))).Err())
		admitted := map[string]bool{} // id and key
		for range rapid.IntRange(1, 40).Draw(t, "attempts") {
			c := admit(fmt.Sprint("n", rapid.IntRange(0, 6).Draw(t, "node")), "t")
			if rapid.IntRange(0, 5).Draw(t, "what") == 0 {
				c = members.Command{Op: members.OpRemove, ID: c.Node.ID}
			}
			r := l.do(c)
			if c.Op == members.OpAdmit && r.Refused == "" {
				admitted[c.Node.ID] = true
			}
			got, ok := l.State().Token("t")
			require.True(t, ok)
			require.GreaterOrEqual(t, got.Uses, 0)
			require.Equal(t, uses-got.Uses, len(admitted))
		}
	})
}

func TestIncarnationsOfAMemberOnlyGrow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := founded(t)
		last := map[string]members.Node{}
		for range rapid.IntRange(1, 60).Draw(t, "commands") {
			l.do(anyCommand(t))
			for _, n := range l.State().Nodes() {
				was := last[n.ID]
				require.GreaterOrEqual(t, n.Incarnation, was.Incarnation)
				if n.Incarnation == was.Incarnation {
					require.Equal(t, was.Nonce, n.Nonce, "one start, one nonce")
				}
				last[n.ID] = n
			}
			for id := range last {
				if _, _, gone := l.State().Removed(id); gone {
					_, ok := l.State().Node(id)
					require.False(t, ok, "a spent id stays out")
				}
			}
		}
	})
}
