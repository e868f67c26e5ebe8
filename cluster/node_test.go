package cluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tollgate/cluster"
	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/config/model"
	"tollgate/config/secret"
	"tollgate/config/state"
	"tollgate/config/unit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is one node with the parts that a real one joins.
type house struct {
	*cluster.Node
	id    *cluster.Identity
	store *state.Store
	box   *secret.Box
	log   *bytes.Buffer
	run   chan error
	stop  context.CancelFunc
}

type option func(*cluster.Config)

func start(t testing.TB, dir, salt string, opts ...option) (*house, error) {
	t.Helper()
	id, err := cluster.LoadIdentity(dir)
	require.NoError(t, err)
	kek, err := secret.LoadKEK(salt, dir)
	require.NoError(t, err)
	h := &house{id: id, box: secret.NewBox(kek), log: &bytes.Buffer{}, run: make(chan error, 1)}
	h.store = state.NewStore(func(s *state.Snapshot) *state.Routing {
		r := &state.Routing{}
		if v := s.ActiveConfig(); v != nil {
			cfg, errs := h.box.OpenConfig(&v.Config)
			r.Version, r.Config = v.Number, cfg
			for _, err := range errs {
				r.Warnings = append(r.Warnings, err.Error())
			}
		}
		return r
	})
	cfg := cluster.Config{
		Dir: dir, Identity: id, Bootstrap: true, Box: h.box, KeysChanged: h.store.Recompile,
		Appliers: map[command.Type]fsm.Applier{command.Mutation: state.NewApplier(h.store)},
		Logger:   slog.New(slog.NewTextHandler(&locked{w: h.log}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, o := range opts {
		o(&cfg)
	}
	if h.Node, err = cluster.Open(cfg); err != nil {
		require.NoError(t, id.Close())
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.stop = cancel
	go func() { h.run <- h.Run(ctx) }()
	return h, nil
}

// locked keeps raft's goroutines from writing at once.
type locked struct {
	mu sync.Mutex
	w  *bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func open(t testing.TB, dir string, opts ...option) *house {
	t.Helper()
	h, err := start(t, dir, "salt", opts...)
	require.NoError(t, err)
	require.NoError(t, h.WaitReady(soon(t)))
	return h
}

func (h *house) shut(t testing.TB) {
	t.Helper()
	h.stop()
	require.NoError(t, <-h.run)
	require.NoError(t, h.Close())
	require.NoError(t, h.id.CleanShutdown())
}

func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func key(hash string) model.Change {
	return model.Put(model.Keys, &model.Key{Hash: hash, Alias: "alias of " + hash}, model.Version(0))
}

func TestRestartKeepsKeysAndConfig(t *testing.T) {
	for _, viaSnapshot := range []bool{false, true} {
		t.Run(fmt.Sprintf("snapshot %v", viaSnapshot), func(t *testing.T) {
			dir := t.TempDir()
			h := open(t, dir)
			ctx := soon(t)
			cfg := model.Config{Deployments: []model.Deployment{{ID: "d", Group: "gpt", Params: model.Params{"api_key": json.RawMessage(`"sk-CANARY"`)}}}}
			require.NoError(t, h.box.SealConfig(&cfg, func(name string) bool { return name == "api_key" }))
			r, err := h.Mutate(ctx, model.Mutation{ID: "first", Changes: []model.Change{key("k1"),
				model.Put(model.Configs, &model.ConfigVersion{Number: 1, Config: cfg}, model.Version(0))}})
			require.NoError(t, err)
			require.Nil(t, r.Conflict)
			_, ok := h.store.State().KeyByAlias("alias of k1")
			require.True(t, ok, "visible when Mutate returns")
			require.GreaterOrEqual(t, h.Applied(), r.Index)
			require.Equal(t, `"sk-CANARY"`, string(h.store.State().Routing.Config.Deployments[0].Params["api_key"]))
			if viaSnapshot {
				require.NoError(t, h.Snapshot(ctx))
			}
			_, err = h.Mutate(ctx, model.Mutation{Changes: []model.Change{key("k2")}})
			require.NoError(t, err)
			node, clusterID := h.id.NodeID, h.id.ClusterID
			h.shut(t)

			h = open(t, dir)
			require.NoError(t, h.Barrier(ctx))
			require.Equal(t, []string{"k1", "k2"}, h.store.State().Keys.IDs())
			require.Equal(t, uint64(1), h.store.State().ActiveConfig().Number)
			require.Equal(t, `"sk-CANARY"`, string(h.store.State().Routing.Config.Deployments[0].Params["api_key"]), "opened with the restored data key")
			require.Empty(t, h.store.State().Routing.Warnings)
			require.Equal(t, [3]any{node, clusterID, uint64(2)}, [3]any{h.id.NodeID, h.id.ClusterID, h.id.Incarnation})
			require.False(t, h.id.Unclean)
			again, err := h.Mutate(ctx, model.Mutation{ID: "first", Changes: []model.Change{key("k1")}})
			require.NoError(t, err)
			require.Equal(t, r, again, "a repeated mutation answers as the first time, also after a restart")
			h.shut(t)
			requireNowhere(t, dir, "sk-CANARY")
		})
	}
}

// requireNowhere looks for a secret in every file below dir.
func requireNowhere(t *testing.T, dir, secret string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		require.NotContains(t, string(data), secret, path)
		return err
	}))
}

func TestKilledNodeKeepsWhatItAcknowledged(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	h := open(t, dir)
	for i := range 20 {
		_, err := h.Mutate(soon(t), model.Mutation{Changes: []model.Change{key(fmt.Sprintf("k%02d", i))}})
		require.NoError(t, err)
	}
	// The files as they lie at this moment are what a killed process leaves.
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	h.shut(t)
	h = open(t, copied)
	require.NoError(t, h.Barrier(soon(t)))
	require.Equal(t, 20, h.store.State().Keys.Len())
	require.True(t, h.id.Unclean)
	require.False(t, h.id.Rebooted, "the machine is still up")
	h.shut(t)
}

func TestConflictIsAResultAndNonsenseAnError(t *testing.T) {
	h := open(t, t.TempDir())
	defer h.shut(t)
	ctx := soon(t)
	_, err := h.Mutate(ctx, model.Mutation{Changes: []model.Change{key("k")}})
	require.NoError(t, err)
	r, err := h.Mutate(ctx, model.Mutation{Changes: []model.Change{key("k")}})
	require.NoError(t, err)
	require.NotNil(t, r.Conflict)
	_, err = h.Mutate(ctx, model.Mutation{Changes: []model.Change{{Table: "nonsense", ID: "x"}}})
	require.ErrorIs(t, err, state.ErrMutation)
	_, _, err = h.Submit(ctx, command.Mutation, 1, make([]byte, 17<<20))
	require.ErrorIs(t, err, cluster.ErrTooLarge)
}

func TestUnknownCommandStopsTheNodeLoudly(t *testing.T) {
	h := open(t, t.TempDir())
	_, _, err := h.Submit(soon(t), 77, 1, []byte("future"))
	require.ErrorIs(t, err, cluster.ErrOutcomeUnknown)
	require.ErrorIs(t, <-h.run, fsm.ErrUnknownType)
	_, err = h.Mutate(soon(t), model.Mutation{Changes: []model.Change{key("k")}})
	require.ErrorIs(t, err, fsm.ErrUnknownType)
	require.ErrorIs(t, h.WaitApplied(soon(t), 1<<40), fsm.ErrUnknownType)
	h.stop()
	require.NoError(t, h.Close())
	require.NoError(t, h.id.Close())
}

func TestSkippableCommandIsPassedOver(t *testing.T) {
	h := open(t, t.TempDir())
	defer h.shut(t)
	_, index, err := h.Submit(soon(t), command.Skippable|77, 1, []byte("future"))
	require.NoError(t, err)
	require.NoError(t, h.WaitApplied(soon(t), index))
}

func TestWrongKEKStopsTheStartAndSaysSo(t *testing.T) {
	for _, viaSnapshot := range []bool{false, true} {
		t.Run(fmt.Sprintf("snapshot %v", viaSnapshot), func(t *testing.T) {
			dir := t.TempDir()
			h := open(t, dir)
			if viaSnapshot {
				require.NoError(t, h.Snapshot(soon(t)))
			}
			h.shut(t)
			h, err := start(t, dir, "another salt")
			if err == nil {
				err = h.WaitReady(soon(t))
				h.stop()
				require.Error(t, <-h.run)
				require.NoError(t, h.Close())
				require.NoError(t, h.id.Close())
			}
			require.ErrorIs(t, err, secret.ErrWrongKEK)
		})
	}
}

func TestOperatorMayGiveAKEKLater(t *testing.T) {
	dir := t.TempDir()
	run := func(salt string, f func(*house)) {
		h, err := start(t, dir, salt)
		require.NoError(t, err)
		require.NoError(t, h.WaitReady(soon(t)))
		f(h)
		h.shut(t)
	}
	run("", func(h *house) {
		cfg := model.Config{Environment: map[string]string{"KEY": "text"}}
		require.NoError(t, h.box.SealConfig(&cfg, func(string) bool { return true }))
		_, err := h.Mutate(soon(t), model.Mutation{Changes: []model.Change{
			model.Put(model.Configs, &model.ConfigVersion{Number: 1, Config: cfg}, model.Version(0))}})
		require.NoError(t, err)
	})
	check := func(h *house) {
		require.Equal(t, "text", h.store.State().Routing.Config.Environment["KEY"])
		require.Empty(t, h.store.State().Routing.Warnings)
	}
	run("salt", check)
	require.NoError(t, os.Remove(filepath.Join(dir, secret.KEKFile)))
	run("salt", check) // the data key has been wrapped anew: the file is not missed
}

func TestCancelledCallerCannotKnowTheOutcome(t *testing.T) {
	gate := &gated{entered: make(chan struct{}), release: make(chan struct{})}
	h := open(t, t.TempDir(), func(c *cluster.Config) { c.Appliers[command.BudgetBatch] = gate })
	defer h.shut(t)
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() {
		_, _, err := h.Submit(ctx, command.BudgetBatch, 1, nil)
		result <- err
	}()
	<-gate.entered
	cancel()
	err := <-result
	require.ErrorIs(t, err, cluster.ErrOutcomeUnknown)
	require.ErrorIs(t, err, context.Canceled)
	close(gate.release)
	_, _, err = h.Submit(ctx, command.BudgetBatch, 1, nil)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, cluster.ErrOutcomeUnknown, "it was never proposed")
}

// gated applies only when it is let.
type gated struct {
	once             sync.Once
	entered, release chan struct{}
}

func (g *gated) Apply(uint64, time.Time, byte, []byte) any {
	g.once.Do(func() { close(g.entered) })
	<-g.release
	return nil
}
func (g *gated) Snapshot() iter.Seq2[byte, []byte]               { return func(func(byte, []byte) bool) {} }
func (g *gated) Restore(iter.Seq2[byte, []byte]) (func(), error) { return func() {}, nil }

func TestNodeWithoutAClusterRefusesProvingNothingHappened(t *testing.T) {
	h, err := start(t, t.TempDir(), "salt", func(c *cluster.Config) { c.Bootstrap = false })
	require.NoError(t, err)
	_, err = h.Mutate(soon(t), model.Mutation{Changes: []model.Change{key("k")}})
	require.ErrorIs(t, err, cluster.ErrNoQuorum)
	_, err = h.LeaderIndex(soon(t))
	require.ErrorIs(t, err, cluster.ErrNoQuorum)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, h.WaitReady(ctx), context.Canceled)
	h.shut(t)
	_, err = h.Mutate(soon(t), model.Mutation{Changes: []model.Change{key("k")}})
	require.ErrorIs(t, err, cluster.ErrClosed)
	require.ErrorIs(t, h.WaitApplied(soon(t), 1), cluster.ErrClosed)
	require.NoError(t, h.Close(), "closing twice is fine")
}

func TestLeaderIndexCoversWhatWasAcknowledged(t *testing.T) {
	h := open(t, t.TempDir())
	defer h.shut(t)
	for i := range 10 {
		r, err := h.Mutate(soon(t), model.Mutation{Changes: []model.Change{key(fmt.Sprint(i))}})
		require.NoError(t, err)
		index, err := h.LeaderIndex(soon(t))
		require.NoError(t, err)
		require.GreaterOrEqual(t, index, r.Index)
	}
	s := h.Status()
	require.Equal(t, "leader", s.State)
	require.Equal(t, h.id.NodeID, s.LeaderID)
	require.Equal(t, [2]int{1, 1}, [2]int{s.Voters, s.Members})
	require.True(t, h.IsLeader())
}

func TestLeaderStampsItsTime(t *testing.T) {
	noon := time.Date(2031, 1, 1, 12, 0, 0, 0, time.UTC)
	h := open(t, t.TempDir(), func(c *cluster.Config) { c.Clock = unit.ClockFunc(func() time.Time { return noon }) })
	defer h.shut(t)
	_, err := h.Mutate(soon(t), model.Mutation{At: noon.Add(time.Hour), Changes: []model.Change{key("k")}})
	require.NoError(t, err)
	require.Equal(t, noon, h.store.State().Now)
}

func TestManyWritersAtOnceAllGetTheirAnswer(t *testing.T) {
	h := open(t, t.TempDir())
	defer h.shut(t)
	const writers, each = 16, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				r, err := h.Mutate(soon(t), model.Mutation{Changes: []model.Change{key(fmt.Sprintf("%d-%d", w, i))}})
				if err != nil || r.Conflict != nil {
					t.Errorf("writer %d: %v %v", w, err, r.Conflict)
					return
				}
				if k, ok := h.store.State().KeyByHash(fmt.Sprintf("%d-%d", w, i)); !ok || k.Version != r.Index {
					t.Errorf("own write not visible")
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, writers*each, h.store.State().Keys.Len())
}

func TestFaultyConfigNamesEveryFault(t *testing.T) {
	_, err := cluster.Open(cluster.Config{Profile: "fast"})
	for _, want := range []string{"data directory", "identity", "profile"} {
		require.ErrorContains(t, err, want)
	}
}

func TestRaftIsQuietWhenAllIsWell(t *testing.T) {
	h := open(t, t.TempDir())
	_, err := h.Mutate(soon(t), model.Mutation{Changes: []model.Change{key("k")}})
	require.NoError(t, err)
	require.NoError(t, h.Snapshot(soon(t)))
	h.shut(t)
	require.Empty(t, h.log.String())
}

func BenchmarkMutate(b *testing.B) {
	h := open(b, b.TempDir())
	defer h.shut(b)
	ctx := context.Background()
	i := 0
	for b.Loop() {
		i++
		if _, err := h.Mutate(ctx, model.Mutation{Changes: []model.Change{key(fmt.Sprint(i))}}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRestartWithHundredThousandKeys(b *testing.B) {
	dir := b.TempDir()
	h := open(b, dir)
	for batch := range 20 {
		var changes []model.Change
		for i := range 5000 {
			changes = append(changes, key(fmt.Sprintf("%064x", batch*5000+i)))
		}
		_, err := h.Mutate(context.Background(), model.Mutation{Changes: changes})
		require.NoError(b, err)
	}
	require.NoError(b, h.Snapshot(context.Background()))
	for b.Loop() {
		h.shut(b)
		h = open(b, dir)
		require.Equal(b, 100_000, h.store.State().Keys.Len())
	}
	h.shut(b)
}
