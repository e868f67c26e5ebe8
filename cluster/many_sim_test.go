package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster"
	"tollgate/cluster/command"
	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/cluster/sim"
	"tollgate/config/model"
	"tollgate/config/state"
)

func TestThreeNodesBecomeThreeVotersInSeconds(t *testing.T) {
	inWorld(t, func(w *world) {
		start := time.Now()
		all := w.form("eu", "us", "ap")
		require.Less(t, time.Since(start), 20*time.Second)
		for _, n := range all {
			require.Equal(t, 3, n.Membership().Len())
			s := n.Status()
			require.Equal(t, cluster.WAN, s.Profile, "three regions")
			require.True(t, s.Quorum && s.Ready)
			require.EqualValues(t, 1, s.Feature)
		}
	})
}

func TestAnyNodeTakesWritesAndShowsThemWhenItAnswers(t *testing.T) {
	inWorld(t, func(w *world) {
		all := w.form("eu", "eu", "eu", "eu") // the fourth does not vote
		for i, n := range all {
			key := fmt.Sprint("key", i)
			r, err := n.Mutate(w.soon(), put(key))
			require.NoError(t, err)
			_, ok := n.store.State().KeyByHash(key)
			require.True(t, ok)
			require.GreaterOrEqual(t, n.Applied(), r.Index)
			again, err := n.Mutate(w.soon(), put(key))
			require.NoError(t, err)
			require.NotNil(t, again.Conflict, "the leader's conflict arrives")
		}
		_, err := all[1].Mutate(w.soon(), model.Mutation{Changes: []model.Change{{Table: "nonsense", ID: "x"}}})
		require.ErrorIs(t, err, state.ErrMutation)
		_, _, err = all[1].Submit(w.soon(), command.Mutation, 1, make([]byte, 17<<20))
		require.ErrorIs(t, err, cluster.ErrTooLarge)
	})
}

func TestWritesAreHeldWhileALeaderIsElected(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "eu", "eu")
		old := w.leader()
		w.kill(old.id)
		for i, n := range w.others(old) {
			_, err := n.Mutate(w.soon(), put(fmt.Sprint("after", i)))
			require.NoError(t, err)
		}
		w.start(old)
		require.NoError(t, old.WaitReady(w.soon()))
		stale, err := old.Wait(w.soon(), cluster.Consistency{Level: cluster.Linearizable})
		require.NoError(t, err)
		require.Less(t, stale, 2*time.Second)
		_, ok := old.store.State().KeyByHash("after1")
		require.True(t, ok, "it has caught up")
	})
}

func TestMinorityRefusesWithinSecondsProvingNothingHappened(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "eu", "eu")
		lost := w.others(w.leader())[0]
		w.net.Isolate(sim.Everything, lost.id)
		time.Sleep(10 * time.Second)
		start := time.Now()
		_, err := lost.Mutate(w.soon(), put("k"))
		require.ErrorIs(t, err, cluster.ErrNoQuorum)
		require.Less(t, time.Since(start), 7*time.Second)
		stale, err := lost.Wait(w.soon(), cluster.Consistency{Level: cluster.Leader})
		require.ErrorIs(t, err, cluster.ErrNoQuorum)
		require.Greater(t, stale, 10*time.Second)
		_, err = lost.Wait(w.soon(), cluster.Consistency{})
		require.NoError(t, err, "local reads go on")
		_, err = lost.Wait(w.soon(), cluster.Consistency{MinIndex: lost.Applied() + 1000})
		require.ErrorIs(t, err, cluster.ErrBehind)
		require.False(t, lost.Status().Quorum)
		w.net.HealAll()
		w.until("it hears the leader", func() bool { return lost.Status().Quorum })
		_, err = lost.Mutate(w.soon(), put("k"))
		require.NoError(t, err)
	})
}

// Raft gives a silent leader up at a moment of its own choice. From when the node
// says that it has no quorum, a refusal proves that nothing was done all the same.
func TestChangesAreRefusedForCertainFromWhenTheStatusSaysThatThereIsNoQuorum(t *testing.T) {
	known := 0
	for range 24 {
		inWorld(t, func(w *world) {
			w.form("eu", "us", "ap")
			lost := w.others(w.leader())[0]
			w.net.Isolate(sim.Everything, lost.id)
			for lost.Status().Quorum {
				time.Sleep(10 * time.Millisecond)
			}
			if lost.Status().LeaderID != "" {
				known++
			}
			sent := w.called("cluster.submit")
			_, err := lost.Mutate(w.soon(), put("k"))
			require.ErrorIs(t, err, cluster.ErrNoQuorum)
			require.Equal(t, sent, w.called("cluster.submit"), "nobody is sent what may get lost")
		})
	}
	require.NotZero(t, known, "raft had given the leader up each time already")
}

func TestLostAnswerIsFoundOutByRepeatingTheSameMutation(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "eu", "eu")
		n := w.others(w.leader())[0]
		var lost int
		w.mu.Lock()
		w.spoil = func(from, _, method string) fault {
			if from == n.id && method == "cluster.submit" && lost < 2 {
				lost++
				return answerLost
			}
			return whole
		}
		w.mu.Unlock()
		r, err := n.Mutate(w.soon(), put("k"))
		require.NoError(t, err)
		require.Nil(t, r.Conflict, "the repeat answers as the first, not as a second")
		require.Equal(t, 2, lost)
		k, _ := n.store.State().KeyByHash("k")
		require.Equal(t, r.Index, k.Version)
	})
}

func TestLostAnswerOfACommandThatIsNotRepeatableIsUnknown(t *testing.T) {
	const custom = command.Skippable | 33
	asText := cluster.AnswerCodec{
		Encode: func(any) ([]byte, error) { return []byte("done"), nil },
		Decode: func(b []byte) (any, error) { return string(b), nil },
	}
	inWorld(t, func(w *world) {
		w.form("eu", "eu", "eu")
		leader := w.leader()
		n := w.others(leader)[0]
		answer, index, err := n.Submit(w.soon(), custom, 1, nil)
		require.NoError(t, err)
		require.Equal(t, "done", answer)
		require.NoError(t, leader.WaitApplied(w.soon(), index))
		w.mu.Lock()
		w.spoil = func(_, _, method string) fault {
			if method == "cluster.submit" {
				return answerLost
			}
			return whole
		}
		w.mu.Unlock()
		before := w.called("cluster.submit")
		_, _, err = n.Submit(w.soon(), custom, 1, nil)
		require.ErrorIs(t, err, cluster.ErrOutcomeUnknown)
		require.Equal(t, before+1, w.called("cluster.submit"), "it was not tried again")
	}, func(c *cluster.Config) { c.Answers = map[command.Type]cluster.AnswerCodec{custom: asText} })
}

func TestForwardedCommandIsNeverForwardedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "eu", "eu")
		leader := w.leader()
		others := w.others(leader)
		before := w.called("cluster.submit")
		caller := &spoiled{w, others[0].id, others[0].host.Start().Calls()}
		_, err := caller.Call(w.soon(), others[1].id, "cluster.submit", []byte{1, byte(command.Mutation), 1, '{', '}'})
		var refused *peer.Error
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "rejected", refused.Code, "the mutation has no id")
		m := put("k")
		m.ID = "x"
		text, err := json.Marshal(m)
		require.NoError(t, err)
		ok := append([]byte{1, byte(command.Mutation), 1}, text...)
		_, err = caller.Call(w.soon(), others[1].id, "cluster.submit", ok)
		require.ErrorAs(t, err, &refused)
		require.Equal(t, "not_leader", refused.Code, refused.Message)
		require.Equal(t, leader.id, refused.Detail)
		require.Equal(t, before+2, w.called("cluster.submit"))
		for _, bad := range [][]byte{nil, {1}, {9, 1, 1}, {1, byte(command.Skippable | 9), 1}} {
			_, err = caller.Call(w.soon(), leader.id, "cluster.submit", bad)
			require.ErrorAs(t, err, &refused)
			require.Equal(t, "rejected", refused.Code)
		}
	})
}

func TestOneAskServesAllWhoWait(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "eu", "eu")
		n := w.others(w.leader())[0]
		_, err := n.CatchUp(w.soon(), "first") // so that the pause before the next is known
		require.NoError(t, err)
		before := w.called("cluster.concern")
		var wg sync.WaitGroup
		for i := range 500 {
			wg.Go(func() {
				moved, err := n.CatchUp(w.soon(), fmt.Sprint("nobody's", i%50))
				if moved || err != nil {
					t.Errorf("%v %v", moved, err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, 1, w.called("cluster.concern")-before)
		start := time.Now()
		for time.Since(start) < time.Second { // a flood, one at a time
			_, err := n.CatchUp(w.soon(), "nobody's")
			require.NoError(t, err)
		}
		require.LessOrEqual(t, w.called("cluster.concern")-before, 52)
	})
}

func TestKeyMadeElsewhereIsFoundByCatchingUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "us", "ap")
		maker, user := w.leader(), w.others(w.leader())[0]
		for i := range 200 {
			key := fmt.Sprint("key", i)
			_, err := maker.Mutate(w.soon(), put(key))
			require.NoError(t, err)
			if _, ok := user.store.State().KeyByHash(key); !ok {
				moved, err := user.CatchUp(w.soon(), key)
				require.NoError(t, err)
				require.True(t, moved)
				_, ok = user.store.State().KeyByHash(key)
				require.True(t, ok)
			}
		}
		require.Positive(t, w.called("cluster.concern"), "the other node was behind at least once")
		time.Sleep(time.Minute)
		// The first ask after a while may take an old change for a new one.
		_, err := user.CatchUp(w.soon(), "key0")
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		moved, err := user.CatchUp(w.soon(), "key0")
		require.NoError(t, err)
		require.False(t, moved, "an old change is known to all: look once")
	})
}

func TestNodeThatCannotCatchUpSaysSoAndNeverThatAKeyIsUnknown(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "eu", "eu")
		leader := w.leader()
		behind := w.others(leader)[0]
		w.net.Cut(leader.id, behind.id, sim.Raft)
		_, err := leader.Mutate(w.soon(), put("k"))
		require.NoError(t, err)
		_, err = behind.CatchUp(w.soon(), "k")
		require.ErrorIs(t, err, cluster.ErrBehind)
		w.net.HealAll()
		w.until("it has the key", func() bool { _, ok := behind.store.State().KeyByHash("k"); return ok })

		old := w.leader()
		w.net.Isolate(sim.Everything, old.id)
		time.Sleep(500 * time.Millisecond) // what was under way still counts
		start := time.Now()
		_, err = old.CatchUp(w.soon(), "made elsewhere")
		require.ErrorIs(t, err, cluster.ErrBehind, "a leader that is cut off may not know of others' writes")
		require.Less(t, time.Since(start), 2*time.Second)
	})
}

func TestReadsAreAsNewAsAskedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "us", "ap")
		writer, reader := w.others(w.leader())[0], w.others(w.leader())[1]
		for i, level := range []cluster.Level{cluster.Leader, cluster.Linearizable, cluster.Leader, cluster.Linearizable} {
			key := fmt.Sprint("key", i)
			_, err := writer.Mutate(w.soon(), put(key))
			require.NoError(t, err)
			_, err = reader.Wait(w.soon(), cluster.Consistency{Level: level})
			require.NoError(t, err)
			_, ok := reader.store.State().KeyByHash(key)
			require.True(t, ok, level)
		}
		_, err := reader.Wait(w.soon(), cluster.Consistency{Level: "strong"})
		require.Error(t, err)
		old := w.leader()
		w.net.Isolate(sim.Everything, old.id)
		time.Sleep(time.Second) // what was under way still counts
		_, err = old.Wait(w.soon(), cluster.Consistency{Level: cluster.Linearizable})
		require.Error(t, err, "a deposed leader proves nothing")
	})
}

func TestSpreadNamesWhoHasNotFollowed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "us", "ap")
		leader := w.leader()
		r, err := leader.Mutate(w.soon(), put("k"))
		require.NoError(t, err)
		require.Empty(t, leader.Spread(w.soon(), r.Index))
		behind := w.others(leader)[0]
		w.net.Cut(leader.id, behind.id, sim.Raft)
		r, err = leader.Mutate(w.soon(), put("k2"))
		require.NoError(t, err)
		start := time.Now()
		require.Equal(t, []string{behind.member().Name}, leader.Spread(w.soon(), r.Index))
		require.LessOrEqual(t, time.Since(start), 1100*time.Millisecond)
		w.net.HealAll()
		w.kill(behind.id)
		start = time.Now()
		require.Equal(t, []string{behind.member().Name}, leader.Spread(w.soon(), r.Index))
		require.Less(t, time.Since(start), time.Second, "a dead node is not waited for")
	})
}

func TestForgottenNodeEndsAndLosesItsVote(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "eu", "eu")
		leader := w.leader()
		gone := w.others(leader)[0]
		_, err := leader.SubmitMembership(w.soon(), &members.Command{Op: members.OpRemove, ID: gone.id, Why: "forgotten"})
		require.NoError(t, err)
		err = <-gone.run
		gone.run <- nil
		require.ErrorIs(t, err, cluster.ErrRemoved)
		require.ErrorContains(t, err, "forgotten")
		<-gone.Removed()
		w.until("it is out of raft", func() bool { return leader.Status().Members == 2 })
		_, err = w.leader().Mutate(w.soon(), put("k"))
		require.NoError(t, err)
	})
}

func TestLeaderThatLeavesHandsOverFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "eu", "eu")
		old := w.leader()
		r, err := w.others(old)[0].SubmitMembership(w.soon(), &members.Command{Op: members.OpRemove, ID: old.id, Why: "left"})
		require.NoError(t, err)
		require.Empty(t, r.Refused)
		w.until("another leads without it", func() bool {
			for _, n := range w.others(old) {
				if n.IsLeader() && n.Status().Members == 2 {
					return true
				}
			}
			return false
		})
		<-old.Removed()
		select {
		case err := <-old.run:
			t.Fatalf("one that leaves ends in its own order, not by %v", err)
		default:
		}
	})
}

func TestVoterGoneForGoodIsReplacedByASpare(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "us", "ap", "ap")
		leader := w.leader()
		var gone *inhabitant
		for _, s := range leader.Servers() {
			if s.Voter && !s.Leader {
				gone = w.nodes[s.ID]
			}
		}
		w.kill(gone.id)
		w.until("three voters that live", func() bool {
			voters := 0
			for _, s := range w.leader().Servers() {
				if s.Voter && s.ID != gone.id {
					voters++
				}
			}
			return voters == 3
		})
	})
}

func TestSecondProcessWithTheSameIdIsStale(t *testing.T) {
	inWorld(t, func(w *world) {
		all := w.form("eu", "eu", "eu")
		n := all[1]
		w.kill(n.id)
		n.starts = 0 // as in a copy of the disk that was made before
		w.start(n)
		require.NoError(t, n.WaitReady(w.soon()))
		_, err := n.Register(w.soon(), *n.member())
		require.ErrorIs(t, err, cluster.ErrStaleStart)
		stranger := *all[2].member()
		stranger.Role = members.RoleWitness
		w.kill(all[2].id)
		w.start(all[2])
		require.NoError(t, all[2].WaitReady(w.soon()))
		_, err = all[2].Register(w.soon(), stranger)
		require.ErrorIs(t, err, cluster.ErrStartRefused)
	})
}

func TestLeadershipGoesWhereItIsSent(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "eu", "eu")
		old := w.leader()
		asked, heir := w.others(old)[0], w.others(old)[1]
		got, err := asked.TransferLeadership(w.soon(), heir.id)
		require.NoError(t, err)
		require.Equal(t, heir.id, got)
		require.Equal(t, heir, w.leader())
		_, err = asked.TransferLeadership(w.soon(), "01NOBODY")
		require.ErrorIs(t, err, cluster.ErrNoVoter)
		require.NoError(t, heir.StepDown(w.soon()))
		require.NotEqual(t, heir, w.leader())
		require.NoError(t, heir.StepDown(w.soon()), "a follower has nothing to give")
	})
}

func TestLeaderGoesToThePreferredRegion(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "us", "ap")
		w.until("the leader is in us", func() bool { return w.leader().region == "us" })
	}, func(c *cluster.Config) {
		c.Settings = func() cluster.Settings { return cluster.Settings{PreferRegion: "us"} }
	})
}

func TestFeatureLevelRisesWhenAllSpeakIt(t *testing.T) {
	inWorld(t, func(w *world) {
		all := w.form("eu", "eu", "eu")
		restart := func(n *inhabitant, level uint32) {
			w.kill(n.id)
			w.start(n)
			require.NoError(t, n.WaitReady(w.soon()))
			m := n.member()
			m.FeatureMax = level
			_, err := n.Register(w.soon(), *m)
			require.NoError(t, err)
		}
		restart(all[0], 2)
		restart(all[1], 2)
		time.Sleep(time.Hour)
		require.EqualValues(t, 1, all[2].Feature(), "one speaks only the old level")
		restart(all[2], 3)
		time.Sleep(5 * time.Minute)
		require.EqualValues(t, 1, all[2].Feature(), "time to put the release back")
		time.Sleep(6 * time.Minute)
		require.EqualValues(t, 2, all[2].Feature())
	})
}

func TestCallerWhoGoesWhileHeldKnowsThatNothingHappened(t *testing.T) {
	inWorld(t, func(w *world) {
		w.form("eu", "eu", "eu")
		n := w.others(w.leader())[0]
		w.net.Isolate(sim.Everything, n.id)
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := n.Mutate(ctx, put("k"))
		require.False(t, errors.Is(err, cluster.ErrOutcomeUnknown), err)
		require.ErrorIs(t, err, cluster.ErrNoQuorum)
		require.Less(t, time.Since(start), 1100*time.Millisecond)
	})
}
