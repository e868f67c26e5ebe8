package audit_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/ledger/flush/audit"
	"tollgate/ledger/flush/pgtest"
)

// teams makes so many, one a mutation.
func (w *world) teams(from, to int) (want []string) {
	for i := from; i < to; i++ {
		w.change(model.Put(model.Teams, &model.Team{ID: fmt.Sprint("t", i)}, nil))
		want = append(want, fmt.Sprint("LiteLLM_TeamTable created t", i))
	}
	return want
}

func TestEachActionGivesItsRowOnceThroughRestartsAndChangesOfTheWritingNode(t *testing.T) {
	server := pgtest.StartOwn(t)
	w := newWorld(t, 3, server)
	ctx, end := context.WithCancel(context.Background())
	var writing sync.WaitGroup
	for _, n := range w.nodes { // all at once, which is worse than one after the other
		writing.Go(func() {
			for ctx.Err() == nil {
				_ = n.write() // the server is killed now and then
			}
		})
	}
	want := w.everyAction()
	for round := range 8 {
		want = append(want, w.teams(round*50, round*50+25)...)
		server.Kill()
		want = append(want, w.teams(round*50+25, round*50+50)...)
		server.Start(t)
	}
	end()
	writing.Wait()
	for _, n := range w.nodes {
		n.writeAgain()
		require.Equal(t, want, n.stored())
	}
}

func TestANodeThatLacksRecordsLeavesThemToAnother(t *testing.T) {
	w := newWorld(t, 1, pgtest.Start(t))
	first := w.nodes[0]
	want := w.teams(0, 3)
	require.NoError(t, first.write())
	want = append(want, w.teams(3, 6)...)
	late := w.join()
	want = append(want, w.teams(6, 8)...)
	require.NoError(t, late.write())
	require.Len(t, late.stored(), 3, "the late node writes nothing yet")

	ctx, end := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- first.writer.Run(ctx) }()
	w.pass(time.Minute / 2) // the first node has not projected for a while
	require.Eventually(t, func() bool { return len(late.stored()) == 8 }, 10*time.Second, 5*time.Millisecond)
	end()
	require.NoError(t, <-done)
	require.Equal(t, want, late.stored())
	w.pass(time.Hour)
	want = append(want, w.teams(8, 9)...)
	require.NoError(t, late.write())
	require.Equal(t, want, late.stored())
	require.NotContains(t, late.logged.String(), "level=ERROR")
}

func TestRecordsThatNoNodeBringsArePassedOverWithAnError(t *testing.T) {
	w := newWorld(t, 1, pgtest.Start(t))
	w.teams(0, 3)
	require.NoError(t, w.nodes[0].write())
	w.nodes[0].deaf = true
	w.teams(3, 6)
	late := w.join()
	w.teams(6, 8)
	require.NoError(t, late.write())
	w.pass(59 * time.Second)
	require.NoError(t, late.write())
	require.Len(t, late.stored(), 3)
	w.pass(2 * time.Second)
	require.NoError(t, late.write())
	require.Equal(t, []string{"LiteLLM_TeamTable created t0", "LiteLLM_TeamTable created t1", "LiteLLM_TeamTable created t2",
		"LiteLLM_TeamTable created t6", "LiteLLM_TeamTable created t7"}, late.stored())
	require.Equal(t, 1, strings.Count(late.logged.String(), "level=ERROR"))
	require.Contains(t, late.logged.String(), "from=4 to=6")
	require.Equal(t, uint64(3), late.writer.Stats().Lost)
}

func TestEntriesWithoutRecordsAreNoGap(t *testing.T) {
	w := newWorld(t, 1, pgtest.Start(t))
	w.teams(0, 3)
	require.NoError(t, w.nodes[0].write())
	w.index += 100 // nothing that is audited
	w.applied.Store(w.index)
	for range 3 {
		w.pass(31 * time.Second)
		require.NoError(t, w.nodes[0].write())
	}
	late := w.join()
	w.teams(3, 4)
	require.NoError(t, late.write())
	require.Len(t, late.stored(), 4)
	require.Empty(t, late.logged.String())
}

func TestMoreThanABatchIsWrittenInOrder(t *testing.T) {
	w := newWorld(t, 1, pgtest.Start(t))
	want := w.teams(0, 1300)
	require.NoError(t, w.nodes[0].write())
	require.Equal(t, want, w.nodes[0].stored())
}

func TestARefusedRecordHoldsUpNoOther(t *testing.T) {
	w := newWorld(t, 1, pgtest.Start(t))
	n := w.nodes[0]
	_, err := n.pool.Exec(context.Background(), `ALTER TABLE "LiteLLM_AuditLog" ADD CHECK (object_id <> 't3')`)
	require.NoError(t, err)
	w.teams(0, 6)
	for range 7 {
		require.NoError(t, n.write())
	}
	require.Len(t, n.stored(), 5)
	require.Equal(t, uint64(1), n.writer.Stats().Refused)
	require.Equal(t, w.index, n.writer.Stats().Written)
}

func TestAnotherClustersDatabaseIsNotWritten(t *testing.T) {
	server := pgtest.Start(t)
	w := newWorld(t, 1, server)
	server.Exec(t, w.url, "UPDATE gateway_state_cursor SET name = 'adopted/c2'")
	w.teams(0, 1)
	require.NoError(t, w.nodes[0].write())
	require.Empty(t, w.nodes[0].stored())
	require.Contains(t, w.nodes[0].logged.String(), "has not taken the database over")
}

func TestOnlyOldAndWrittenRecordsAreDropped(t *testing.T) {
	w := newWorld(t, 1, pgtest.Start(t))
	n := w.nodes[0]
	kept := func() (indexes []uint64) {
		for r, err := range n.ledger.Audits(0) {
			require.NoError(t, err)
			indexes = append(indexes, r.Index)
		}
		return indexes
	}
	w.teams(0, 2)
	w.pass(8 * 24 * time.Hour)
	require.NoError(t, n.writer.Retain())
	require.Equal(t, []uint64{1, 2}, kept(), "they are not written yet")
	w.teams(2, 3)
	require.NoError(t, n.write())
	require.NoError(t, n.writer.Retain())
	require.Equal(t, []uint64{3}, kept())
	from, _, err := n.ledger.AuditsFrom()
	require.NoError(t, err)
	require.Equal(t, uint64(3), from)
	require.Len(t, n.list(audit.Filter{}), 3, "the database has the others")
	w.teams(3, 4)
	require.NoError(t, n.write())
	require.Len(t, n.stored(), 4, "what is dropped is no gap")

	alone := newWorld(t, 1, nil)
	alone.teams(0, 1)
	cfg := audit.Config{Ledger: alone.nodes[0].ledger, Cluster: "c1", Clock: alone, Logger: quiet()}
	alone.pass(89 * 24 * time.Hour)
	require.NoError(t, audit.RetainAlone(cfg))
	require.Len(t, alone.nodes[0].list(audit.Filter{}), 1)
	alone.pass(2 * 24 * time.Hour)
	require.NoError(t, audit.RetainAlone(cfg))
	require.Empty(t, alone.nodes[0].list(audit.Filter{}))
}
