package sim_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/stretchr/testify/require"

	"tollgate/cluster"
	"tollgate/cluster/sim"
)

// op is what a client asks of one key.
type op struct {
	kind  string // create, update, block, unblock, delete, read
	key   string
	value float64
}

// got is what it was told.
type got struct {
	outcome string // done, missing, exists, unknown
	blocked bool
	value   float64
}

// register is a key as the model has it.
type register struct {
	live, blocked bool
	value         float64
}

// keyModel is a key as one node alone would keep it. What may or may not have
// happened is allowed to happen at any time after it was asked for.
var keyModel = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(op).key
			by[key] = append(by[key], o)
		}
		var out [][]porcupine.Operation
		for _, h := range by {
			out = append(out, h)
		}
		return out
	},
	Init: func() any { return register{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(register), input.(op), output.(got)
		if in.kind == "read" {
			if !s.live {
				return out.outcome == "missing", s
			}
			return out.outcome == "done" && out.blocked == s.blocked && out.value == s.value, s
		}
		can := s.live != (in.kind == "create")
		next := s
		if can {
			switch in.kind {
			case "create":
				next = register{live: true, value: in.value}
			case "update":
				next.value = in.value
			case "block", "unblock":
				next.blocked = in.kind == "block"
			case "delete":
				next = register{}
			}
		}
		switch out.outcome {
		case "unknown":
			return true, next
		case "done":
			return can, next
		case "exists", "missing":
			return !can, s
		}
		return false, s
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// ask does an operation through a node. ok is false when it proves that nothing
// happened.
func ask(h *host, o op, level cluster.Level) (got, bool) {
	var r reply
	switch o.kind {
	case "create":
		r = h.manage(cluster.Linearizable, "POST", "/key/generate", map[string]any{"key": o.key, "metadata": map[string]any{"v": o.value}})
	case "update":
		r = h.manage(cluster.Linearizable, "POST", "/key/update", map[string]any{"key": o.key, "metadata": map[string]any{"v": o.value}})
	case "block", "unblock":
		r = h.manage(cluster.Linearizable, "POST", "/key/"+o.kind, map[string]any{"key": o.key})
	case "delete":
		r = h.manage(cluster.Linearizable, "POST", "/key/delete", map[string]any{"keys": []string{o.key}})
	case "read":
		r = h.manage(level, "GET", "/key/info?key="+o.key, nil)
	}
	switch {
	case r.status == 200 && o.kind == "read":
		info, _ := r.body["info"].(map[string]any)
		meta, _ := info["metadata"].(map[string]any)
		blocked, _ := info["blocked"].(bool)
		v, _ := meta["v"].(float64)
		return got{outcome: "done", blocked: blocked, value: v}, true
	case r.status == 200:
		return got{outcome: "done"}, true
	case r.status == 409 && strings.Contains(fmt.Sprint(r.body), "was made and is gone"):
		return got{outcome: "done"}, true
	case r.status == 404:
		return got{outcome: "missing"}, true
	case r.status == 400 || r.status == 409:
		return got{outcome: "exists"}, true
	case r.code == "outcome_unknown":
		return got{outcome: "unknown"}, o.kind != "read"
	}
	h.w.net.Note("nothing done, says %s of %+v: %d %s %v", h.name, o, r.status, r.code, r.body)
	return got{}, false
}

// history lets clients work on a few keys at a time through all nodes, under
// faults, and returns what they asked and were told.
func history(t *testing.T, seed uint64, level cluster.Level) (out []porcupine.Operation, trace []string) {
	var mu sync.Mutex      // guards out
	var order atomic.Int64 // stands for time: two moments of virtual time may be the same
	synctest.Test(t, func(t *testing.T) {
		w := found(t, plan{seed: seed, regions: []string{"eu", "us", "ap", "eu", "us"}, net: sim.Config{Jitter: 0.1, Loss: 0.005}})
		w.age()
		start := time.Now()
		kinds := []string{"create", "create", "update", "update", "block", "unblock", "delete", "read", "read", "read", "read"}
		for c := range 2 * len(w.hosts) {
			w.client(10*time.Millisecond, 3*time.Second, func(n int) {
				// Each key has its half minute, so that no history of one grows long.
				o := op{kind: kinds[w.net.IntN(len(kinds))], value: float64(c*100_000 + n),
					key: fmt.Sprintf("sk-%d-%d", int(time.Since(start)/(30*time.Second)), w.net.IntN(3))}
				h := w.hosts[w.net.IntN(len(w.hosts))]
				call := order.Add(1)
				answer, happened := ask(h, o, level)
				if !happened {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				out = append(out, porcupine.Operation{ClientId: c, Input: o, Call: call, Output: answer, Return: order.Add(1)})
			})
		}
		for range 8 {
			w.hurt()
			time.Sleep(w.net.Between(0, 15*time.Second))
		}
		w.rest()
		w.agree()
		trace = w.net.Trace()
	})
	// What may have happened may happen until the end. Its client goes on, and a
	// client of porcupine's does one thing at a time.
	for i := range out {
		if out[i].Output.(got).outcome == "unknown" {
			out[i].Return, out[i].ClientId = order.Add(1), 1000+i
		}
	}
	return out, trace
}

func TestManagementIsLinearizable(t *testing.T) {
	seeds(t, 3, 10, func(t *testing.T, seed uint64) {
		h, trace := history(t, seed, cluster.Linearizable)
		count := map[string]int{}
		for _, o := range h {
			count[o.Input.(op).kind+" "+o.Output.(got).outcome]++
		}
		t.Logf("%d operations: %v", len(h), count)
		for _, kind := range []string{"create", "update", "block", "unblock", "delete", "read"} {
			require.Positive(t, count[kind+" done"], kind)
		}
		result := porcupine.CheckOperationsTimeout(keyModel, h, time.Minute)
		if result == porcupine.Illegal {
			explain(t, h)
			for _, line := range trace {
				t.Log(line)
			}
		}
		require.Equal(t, porcupine.Ok, result)
	})
}

// explain prints the keys whose history is wrong.
func explain(t *testing.T, history []porcupine.Operation) {
	t.Helper()
	for _, part := range keyModel.Partition(history) {
		if !porcupine.CheckOperations(keyModel, part) {
			for _, o := range part {
				t.Logf("%6d-%6d client %d %+v -> %+v", o.Call, o.Return, o.ClientId, o.Input, o.Output)
			}
		}
	}
}

// The check can fail: reads of what a node has at the moment are no
// linearizable ones.
func TestLocalReadsAreCaughtAsStale(t *testing.T) {
	for seed := range uint64(10) {
		h, _ := history(t, seed, cluster.Local)
		if porcupine.CheckOperationsTimeout(keyModel, h, time.Minute) == porcupine.Illegal {
			return
		}
	}
	t.Fatal("ten runs with stale reads passed for linearizable")
}
