package join

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 5, 5, 12, 0, 0, 0, time.UTC)

// disk is a memo in memory that may refuse to write.
type disk struct {
	b    Ballot
	full bool
}

func (d *disk) Ballot() (Ballot, error) { return d.b, nil }

func (d *disk) SaveBallot(b Ballot) error {
	if d.full {
		return errors.New("disk is full")
	}
	d.b = b
	return nil
}

func TestPromiseOutlivesRestartsAndEndsOnlyByItsHoldersWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := &disk{b: Ballot{NodeID: "m"}}
		x, err := openBallotBox(d, "m")
		require.NoError(t, err)
		var to string // whom the box is promised to, and by which claim
		var epoch uint64
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			who := rapid.SampledFrom([]string{"a", "z"}).Draw(t, "who")
			e := rapid.Uint64Range(1, 5).Draw(t, "epoch")
			d.full = rapid.IntRange(0, 9).Draw(t, "disk") == 0
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0, 1:
				ok, err := x.promise(who, e, rapid.Bool().Draw(t, "welcome"))
				if ok {
					require.NoError(t, err)
					require.True(t, to == "" || to == who && e >= epoch, "promised to %s by %d, then to %s by %d", to, epoch, who, e)
					to, epoch = who, e
				}
			case 2:
				if err := x.free(who, e); err == nil && who == to && e > epoch {
					to, epoch = "", 0
				}
			case 3:
				mine, ok, _ := x.claim("m") // refused by the disk: nothing happened
				if ok {
					require.True(t, to == "" || to == "m")
					to, epoch = "m", mine
				}
			case 4:
				if err := x.release(); err == nil && to == "m" {
					to, epoch = "", 0
				}
			case 5: // a restart
				x, err = openBallotBox(d, "m")
				require.NoError(t, err)
			}
			require.Equal(t, to, x.read().To)
			require.Equal(t, x.read(), d.b, "nothing is decided that is not durable")
		}
	})
}

func TestWordOfAnEarlierEpochFreesNobody(t *testing.T) {
	x, err := openBallotBox(&disk{}, "m")
	require.NoError(t, err)
	ok, err := x.promise("a", 3, true)
	require.NoError(t, err)
	require.True(t, ok)
	for _, late := range []uint64{0, 2, 3} {
		require.NoError(t, x.free("a", late))
		require.Equal(t, "a", x.read().To)
	}
	require.NoError(t, x.free("a", 4))
	require.Empty(t, x.read().To)
}

func TestBallotOfAnotherIdentityBindsNobody(t *testing.T) {
	x, err := openBallotBox(&disk{b: Ballot{NodeID: "old", To: "a", ToEpoch: 1, Founded: true}}, "new")
	require.NoError(t, err)
	require.Equal(t, Ballot{NodeID: "new"}, x.read())
}

func TestStoreKeepsTheBallot(t *testing.T) {
	s, err := OpenStore(t.TempDir())
	require.NoError(t, err)
	b, err := s.Ballot()
	require.NoError(t, err)
	require.Zero(t, b)
	require.NoError(t, s.SaveBallot(Ballot{NodeID: "n", Epoch: 3, To: "a", ToEpoch: 2}))
	b, err = s.Ballot()
	require.NoError(t, err)
	require.Equal(t, Ballot{Form: 1, NodeID: "n", Epoch: 3, To: "a", ToEpoch: 2}, b)
}
