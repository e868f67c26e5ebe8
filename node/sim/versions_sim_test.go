package sim_test

import (
	"iter"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster"
	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/cluster/members"
	"tollgate/config/state"
)

// novelty is a state machine of a release to come: it counts.
type novelty struct{ seen int }

func (n *novelty) Apply(uint64, time.Time, byte, []byte) any { n.seen++; return n.seen }
func (n *novelty) Snapshot() iter.Seq2[byte, []byte] {
	seen := byte(n.seen)
	return func(yield func(byte, []byte) bool) { yield(1, []byte{seen}) }
}
func (n *novelty) Restore(records iter.Seq2[byte, []byte]) (func(), error) {
	for _, data := range records {
		seen := int(data[0])
		return func() { n.seen = seen }, nil
	}
	return func() {}, nil
}

// futureMutations reads mutations of a version that this release does not know.
type futureMutations struct{ *state.Applier }

func (f futureMutations) Apply(index uint64, at time.Time, version byte, payload []byte) any {
	if version == state.MutationVersion+1 {
		version = state.MutationVersion
	}
	return f.Applier.Apply(index, at, version, payload)
}

// newRelease is what a node of a release to come knows beside ours.
func newRelease(cfg *cluster.Config) {
	for _, t := range []command.Type{40, command.Skippable | 41} {
		cfg.Appliers[t] = &novelty{}
	}
	cfg.Appliers[command.Mutation] = futureMutations{cfg.Appliers[command.Mutation].(*state.Applier)}
}

// TestOldReleaseStopsAtWhatItMayNotPassOver upgrades all nodes but one, and has
// the leader propose what that one does not know.
func TestOldReleaseStopsAtWhatItMayNotPassOver(t *testing.T) {
	for name, c := range map[string]struct {
		kind    command.Type
		version byte
		payload string
		stops   bool
		says    error
	}{
		"an unknown type stops it":        {kind: 40, stops: true, says: fsm.ErrUnknownType},
		"an unknown version stops it":     {kind: command.Mutation, version: state.MutationVersion + 1, payload: `{"id":"x"}`, stops: true},
		"a type marked so is passed over": {kind: command.Skippable | 41},
		"membership to come stops it":     {kind: command.Membership, version: members.Version + 1, payload: `{}`, stops: true},
		"what it knows goes on as it did": {kind: command.Mutation, version: state.MutationVersion, payload: `{"id":"x"}`},
	} {
		t.Run(name, func(t *testing.T) {
			forSeeds(t, 1, 3, func(t *testing.T, seed uint64) {
				w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap"}})
				old := w.except(w.theLeader())[int(seed)%2]
				for _, h := range w.except(old) {
					h.stop()
					h.start(newRelease)
					w.theLeader()
					time.Sleep(20 * time.Second)
				}
				l := w.theLeader()
				if l == old {
					_, err := l.TransferLeadership(soon(t, 20*time.Second), "")
					require.NoError(t, err)
					l = w.theLeader()
				}
				if c.kind == command.Membership {
					// Even the newer ones do not know it: the whole cluster would stop. The
					// leader refuses to pass it on when another node sends it.
					_, _, err := w.except(l)[0].Submit(soon(t, 10*time.Second), c.kind, c.version, []byte(c.payload))
					require.ErrorIs(t, err, cluster.ErrRejected)
					require.True(t, w.theLeader() == l)
					return
				}
				_, _, err := l.Submit(soon(t, 10*time.Second), c.kind, c.version, []byte(c.payload))
				require.NoError(t, err)
				time.Sleep(5 * time.Second)
				old.mu.Lock()
				run := old.run
				old.mu.Unlock()
				run.mu.Lock()
				err = run.err
				run.mu.Unlock()
				if !c.stops {
					require.NoError(t, err)
					require.Equal(t, l.Applied(), old.Applied())
					return
				}
				require.Error(t, err, "it must end loudly")
				if c.says != nil {
					require.ErrorIs(t, err, c.says)
				}
				require.Less(t, old.Applied(), l.Applied())
				// The others go on without it.
				require.Equal(t, 200, l.manage("", "POST", "/key/generate", map[string]any{"key": "sk-on"}).status)
				// With the newer release it goes on where it stopped.
				old.stop()
				old.start(newRelease)
				w.agree()
				require.Nil(t, old.local("sk-on"))
			})
		})
	}
}

// TestFeatureLevelRisesOnlyWhenAllSpeakIt upgrades a cluster node by node.
func TestFeatureLevelRisesOnlyWhenAllSpeakIt(t *testing.T) {
	forSeeds(t, 2, 5, func(t *testing.T, seed uint64) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap", "eu"}, featureAfter: time.Minute})
		for i, h := range w.hosts {
			require.Equal(t, uint32(1), w.theLeader().Feature(), "before %s was upgraded", h.name)
			h.stop()
			h.speaks = 2
			h.start()
			w.theLeader()
			if i < len(w.hosts)-1 {
				time.Sleep(3 * time.Minute)
			}
		}
		w.until(time.Minute, "all have registered", func() bool {
			for _, n := range w.hosts[0].Membership().Nodes() {
				if n.FeatureMax != 2 {
					return false
				}
			}
			return true
		})
		require.Equal(t, uint32(1), w.hosts[0].Feature(), "not at once")
		w.until(3*time.Minute, "the level rises everywhere", func() bool {
			for _, h := range w.hosts {
				if h.Feature() != 2 {
					return false
				}
			}
			return true
		})
		// The way back is closed.
		back := w.except(w.theLeader())[0]
		back.stop()
		back.speaks = 1
		back.start()
		_, err := back.Register(soon(t, time.Minute), *back.member())
		require.ErrorIs(t, err, cluster.ErrStartRefused)
		back.stop()
		back.speaks = 2
		w.agree()
	})
}

// TestLateNodeGetsASnapshot lets a node miss so much that the log of the others
// does not hold it any more.
func TestLateNodeGetsASnapshot(t *testing.T) {
	forSeeds(t, 2, 6, func(t *testing.T, seed uint64) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap", "eu"}})
		late := w.except(w.theLeader())[w.net.IntN(3)]
		late.stop()
		for i := range 30 {
			r := w.theLeader().manage("", "POST", "/key/generate", map[string]any{"key": "sk-missed-" + string(rune('a'+i)), "max_budget": 1})
			require.Equal(t, 200, r.status)
		}
		for _, h := range w.except(late) {
			h.snapshot()
			h.stop()
			h.trim(0)
			h.start()
			w.theLeader()
			time.Sleep(10 * time.Second)
		}
		require.Equal(t, 200, w.theLeader().manage("", "POST", "/key/generate", map[string]any{"key": "sk-last"}).status)
		late.start()
		w.until(time.Minute, "the late one has it all", func() bool {
			return late.local("sk-last") == nil && late.local("sk-missed-a") == nil
		})
		list, err := late.machine.Disk.Snapshots.List()
		require.NoError(t, err)
		require.NotEmpty(t, list, "it came by a snapshot")
		time.Sleep(10 * time.Second) // its account has registered
		require.NoError(t, late.spend("sk-missed-a", 1e6, 1e6))
		w.agree()
	})
}

// trim drops what a snapshot covers from the log on disk, but for the last
// entries.
func (h *host) trim(trail uint64) {
	t := h.w.t
	list, err := h.machine.Disk.Snapshots.List()
	require.NoError(t, err)
	first, err := h.machine.Disk.Logs.FirstIndex()
	require.NoError(t, err)
	if len(list) > 0 && first+trail <= list[0].Index {
		require.NoError(t, h.machine.Disk.Logs.DeleteRange(first, list[0].Index-trail))
	}
}

var _ fsm.Applier = (*novelty)(nil)
