package health

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzReport(f *testing.F) {
	for _, node := range []string{"", someNode} {
		bodies, _ := encodeReports(report{node: node, inc: 1, seq: 2, summaries: someSummaries(4), figures: someFigures(3)}, 1300)
		for _, b := range bodies {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeReport(b)
		if err != nil || len(r.summaries)+len(r.figures) == 0 {
			return
		}
		bodies, err := encodeReports(r, 1<<20)
		require.NoError(t, err)
		back, err := decodeReport(bodies[0])
		require.NoError(t, err)
		require.Equal(t, r, back)

		v, err := New(Config{Node: "n", Region: "eu"})
		require.NoError(t, err)
		v.Merge("other", "eu", r.inc, r.seq, r.summaries)
		v.MergeFigures("other", "eu", r.inc, r.seq, r.figures)
		v.Tick()
	})
}

func FuzzNotices(f *testing.F) {
	f.Add(encodeNotices(someNotices()))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := decodeNotices(b)
		if err != nil {
			return
		}
		back, err := decodeNotices(encodeNotices(list))
		require.NoError(t, err)
		require.Equal(t, list, back)
		v, err := New(Config{Node: "n", Region: "eu"})
		require.NoError(t, err)
		for _, n := range list {
			v.Adopt(n)
		}
		v.Tick()
		for _, n := range v.Active() {
			require.LessOrEqual(t, n.Remaining, maxLife)
		}
	})
}
