package once_test

import (
	"bytes"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/ledger/once"
)

// plain is what the claims must be: a map that is searched.
type plain struct {
	held map[once.ID]plainClaim
	now  time.Time
}

type plainClaim struct {
	once.Claim
	body once.Sum
}

func (p *plain) apply(at time.Time, c *once.Command) (told []once.Told) {
	if at.After(p.now) {
		p.now = at
	}
	for id, h := range p.held {
		if p.now.Sub(h.At) >= once.HoldsFor {
			delete(p.held, id)
		}
	}
	for _, o := range c.Ops {
		h, held := p.held[o.ID]
		switch {
		case o.Kind == once.Release:
			if held && h.Call == o.Call {
				delete(p.held, o.ID)
			}
			told = append(told, once.Told{Verdict: once.Released})
		case held && h.Call == o.Call:
			told = append(told, once.Told{Verdict: once.Yours})
		case held && h.Call != o.Instead && h.body != o.Body:
			told = append(told, once.Told{Verdict: once.OtherBody, Claim: h.Claim})
		case held && h.Call != o.Instead:
			told = append(told, once.Told{Verdict: once.Held, Claim: h.Claim})
		default:
			p.held[o.ID] = plainClaim{once.Claim{Node: c.Node, Incarnation: c.Incarnation, Call: o.Call, At: p.now}, o.Body}
			told = append(told, once.Told{Verdict: once.Yours})
		}
	}
	return told
}

func drawCommand(t *rapid.T) *once.Command {
	c := &once.Command{Node: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "node"), Incarnation: rapid.Uint64Range(1, 3).Draw(t, "incarnation")}
	call := func(name string) (id once.CallID) {
		id[0] = rapid.ByteRange(1, 6).Draw(t, name)
		return id
	}
	for range rapid.IntRange(1, 4).Draw(t, "operations") {
		o := once.Op{Kind: rapid.SampledFrom([]once.Kind{once.Take, once.Take, once.Release}).Draw(t, "kind"),
			ID: once.ID{rapid.ByteRange(0, 4).Draw(t, "key")}, Call: call("call")}
		if o.Kind == once.Take {
			o.Body = once.Sum{rapid.ByteRange(0, 1).Draw(t, "body")}
			if rapid.Bool().Draw(t, "instead") {
				o.Instead = call("of")
			}
		}
		c.Ops = append(c.Ops, o)
	}
	return c
}

func flat(records iter.Seq2[byte, []byte]) []byte {
	var out bytes.Buffer
	for kind, data := range records {
		fmt.Fprintf(&out, "%d %x\n", kind, data)
	}
	return out.Bytes()
}

func restored(t require.TestingT, from *once.Claims) *once.Claims {
	fresh := once.NewClaims()
	swap, err := fresh.Restore(from.Snapshot())
	require.NoError(t, err)
	swap()
	return fresh
}

// Whatever is claimed, released and expired: a key has the call that a plain map
// says; a node that begins with a snapshot answers as one that has seen all; and
// a snapshot holds the moment at which it was taken.
func TestClaimsAreAPlainMapThroughSnapshotsAndTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, model := once.NewClaims(), &plain{held: map[once.ID]plainClaim{}}
		twin := once.NewClaims()
		at := time.Unix(1_700_000_000, 0).UTC()
		var taken iter.Seq2[byte, []byte]
		var then []byte
		for i := range rapid.IntRange(1, 60).Draw(t, "commands") {
			at = at.Add(time.Duration(rapid.Int64Range(-int64(time.Hour), int64(9*time.Hour)).Draw(t, "later")))
			cmd := drawCommand(t)
			payload := once.AppendCommand(nil, cmd)
			got := c.Apply(uint64(i), at, once.Version, payload).(*once.Answer)
			require.NoError(t, got.Err)
			require.Equal(t, model.apply(at, cmd), got.Told)
			require.Equal(t, len(model.held), c.Len())
			same := twin.Apply(uint64(i), at, once.Version, payload).(*once.Answer)
			require.Equal(t, got.Told, same.Told)
			switch rapid.IntRange(0, 6).Draw(t, "then") {
			case 0:
				twin = restored(t, c)
			case 1:
				taken, then = c.Snapshot(), nil
				then = flat(taken)
			}
			if taken != nil {
				require.Equal(t, then, flat(taken), "a snapshot is changed by what comes after it")
			}
		}
		require.Equal(t, string(flat(c.Snapshot())), string(flat(twin.Snapshot())))
	})
}

func TestKeysBeyondTheMostAreRefusedUntilSomeEnd(t *testing.T) {
	c := once.NewClaimsOf(3)
	at := time.Unix(1_700_000_000, 0)
	take := func(n byte) once.Verdict {
		p := once.AppendCommand(nil, &once.Command{Node: "a", Ops: []once.Op{{Kind: once.Take, ID: once.ID{n}, Call: once.CallID{n}}}})
		return c.Apply(1, at, once.Version, p).(*once.Answer).Told[0].Verdict
	}
	var got []once.Verdict
	for n := range byte(5) {
		got = append(got, take(n+1))
	}
	require.Equal(t, []once.Verdict{once.Yours, once.Yours, once.Yours, once.Full, once.Full}, got)
	at = at.Add(once.HoldsFor)
	require.Equal(t, once.Yours, take(9))
	require.Equal(t, 1, c.Len())
}

// A key that is claimed and released all day leaves no marks behind that grow.
func TestClaimsThatComeAndGoTakeNoRoom(t *testing.T) {
	c := once.NewClaims()
	at := time.Unix(1_700_000_000, 0)
	for n := range 20_000 {
		call := once.CallID{1, byte(n), byte(n >> 8)}
		p := once.AppendCommand(nil, &once.Command{Node: "a", Ops: []once.Op{
			{Kind: once.Take, ID: once.ID{7}, Call: call}, {Kind: once.Release, ID: once.ID{7}, Call: call}}})
		c.Apply(uint64(n), at.Add(time.Duration(n)), once.Version, p)
	}
	require.Zero(t, c.Len())
	require.Less(t, once.Marks(c), 2000)
}

func TestANewerReleasesCommandStopsTheNodeAndDamagedOnesChangeNothing(t *testing.T) {
	c := once.NewClaims()
	var stop interface{ StopsNode() }
	require.ErrorAs(t, c.Apply(1, time.Now(), once.Version+1, nil).(error), &stop)
	before := flat(c.Snapshot())
	for _, p := range [][]byte{nil, {1}, slices.Repeat([]byte{0xff}, 40)} {
		require.Error(t, c.Apply(1, time.Now(), once.Version, p).(*once.Answer).Err)
	}
	require.Equal(t, before, flat(c.Snapshot()))
}
