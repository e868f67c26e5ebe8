package cluster

import (
	"testing"

	"github.com/hashicorp/raft"
	"github.com/stretchr/testify/require"

	"tollgate/cluster/sim"
)

// covered makes a log of entries from first to last, all of one term, beside a
// snapshot that ends with index at another.
func covered(t *testing.T, first, last, term, index, at uint64) *coveredLog {
	t.Helper()
	d := sim.NewDisk()
	for i := first; i <= last; i++ {
		require.NoError(t, d.Logs.StoreLog(&raft.Log{Index: i, Term: term, Type: raft.LogCommand, Data: []byte("x")}))
	}
	if index > 0 {
		snapshotAt(t, d.Snapshots, index, at)
	}
	return &coveredLog{d.Logs, d.Snapshots}
}

func snapshotAt(t *testing.T, s raft.SnapshotStore, index, term uint64) {
	t.Helper()
	sink, err := s.Create(1, index, term, raft.Configuration{}, 1, nil)
	require.NoError(t, err)
	require.NoError(t, sink.Close())
}

func (c *coveredLog) span(t *testing.T) [2]uint64 {
	t.Helper()
	first, err := c.FirstIndex()
	require.NoError(t, err)
	last, err := c.LastIndex()
	require.NoError(t, err)
	return [2]uint64{first, last}
}

func TestLogKnowsTheEntryThatItsSnapshotEndsWith(t *testing.T) {
	c := covered(t, 81, 90, 4, 80, 3)
	var l raft.Log
	require.NoError(t, c.GetLog(80, &l))
	require.Equal(t, raft.Log{Index: 80, Term: 3, Type: raft.LogNoop}, l)
	require.ErrorIs(t, c.GetLog(79, &l), raft.ErrLogNotFound)
	require.ErrorIs(t, c.GetLog(91, &l), raft.ErrLogNotFound)
	require.NoError(t, c.GetLog(81, &l))
	require.Equal(t, "x", string(l.Data))
	require.ErrorIs(t, covered(t, 2, 3, 1, 1, 1).GetLog(1, &l), raft.ErrLogNotFound, "the first entry could be sent")
	kept := covered(t, 70, 90, 4, 80, 4)
	require.NoError(t, kept.GetLog(80, &l))
	require.Equal(t, "x", string(l.Data), "the log's own entry comes first")
	require.ErrorIs(t, covered(t, 1, 3, 1, 0, 0).GetLog(4, &l), raft.ErrLogNotFound)
}

func TestInstallingASnapshotClearsOnlyWhatItCovers(t *testing.T) {
	for name, c := range map[string]struct {
		first, last, snapshot uint64
		from, to              uint64
		left                  [2]uint64
	}{
		"an old tail goes on beyond it": {30, 120, 80, 30, 120, [2]uint64{81, 120}},
		"all of the log is older":       {30, 60, 80, 30, 60, [2]uint64{0, 0}},
		"compaction":                    {1, 120, 80, 1, 50, [2]uint64{51, 120}},
		"a suffix in conflict":          {30, 120, 80, 101, 120, [2]uint64{30, 100}},
	} {
		l := covered(t, c.first, c.last, 2, c.snapshot, 3)
		require.NoError(t, l.DeleteRange(c.from, c.to), name)
		require.Equal(t, c.left, l.span(t), name)
	}
}

func TestStartFinishesAnInstallationThatBrokeOff(t *testing.T) {
	for name, c := range map[string]struct {
		first, last, term, snapshot, at uint64
		left                            [2]uint64
	}{
		"its own past stays":          {30, 120, 3, 80, 3, [2]uint64{30, 120}},
		"another history goes":        {30, 120, 2, 80, 3, [2]uint64{81, 120}},
		"an older log goes":           {30, 60, 3, 80, 3, [2]uint64{0, 0}},
		"a log right after it stays":  {81, 90, 3, 80, 3, [2]uint64{81, 90}},
		"no snapshot, nothing to do":  {1, 9, 1, 0, 0, [2]uint64{1, 9}},
		"an empty log, nothing to do": {1, 0, 1, 80, 3, [2]uint64{0, 0}},
	} {
		l := covered(t, c.first, c.last, c.term, c.snapshot, c.at)
		require.NoError(t, l.settle(), name)
		require.Equal(t, c.left, l.span(t), name)
	}
}
