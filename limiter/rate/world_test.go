package rate_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"tollgate/limiter/rate"
)

// world is a small cluster in virtual time: limiters joined by a network that
// delays, loses and cuts, and a gossip that notices late.
type world struct {
	t     *testing.T
	start time.Time

	mu       sync.Mutex
	rng      *rand.Rand
	delay    func(from, to *host) time.Duration
	loss     float64 // of counts
	notice   time.Duration
	hosts    []*host
	admitted []use
	calls    atomic.Int64
	strict   bool
}

// use is units that a request was admitted with.
type use struct {
	at    time.Duration
	id    uint64
	units int64
	by    *host
	via   string
}

// host is one node's place in the world; its limiter is replaced at a restart.
type host struct {
	w                *world
	id, region, zone string
	inc              uint64
	side             int // hosts of different sides do not reach each other
	up               bool
	frozen           bool
	draining         bool
	joined           time.Time
	limiter          atomic.Pointer[rate.Limiter]
	seq              atomic.Uint64
	far              atomic.Int64 // calls to other regions that are about limits, not signs of life
	view             atomic.Pointer[rate.View]
	cancel           context.CancelFunc
	done             chan struct{}
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, start: time.Now(), rng: rand.New(rand.NewPCG(1, 2)), notice: 6 * time.Second}
	w.delay = func(_, _ *host) time.Duration { return 400*time.Microsecond + w.jitter(200*time.Microsecond) }
	return w
}

func (w *world) jitter(d time.Duration) time.Duration { return time.Duration(w.rng.Int64N(int64(d))) }

func (w *world) since() time.Duration { return time.Since(w.start) }

// lose has a part of the counts lost from now on.
func (w *world) lose(part float64) {
	w.mu.Lock()
	w.loss = part
	w.mu.Unlock()
}

// cluster makes a world of n nodes that have known each other for a while.
func cluster(t *testing.T, n int, shape func(i int) (region, zone string)) *world {
	w := newWorld(t)
	for i := range n {
		region, zone := "r", ""
		if shape != nil {
			region, zone = shape(i)
		}
		w.add(region, zone)
	}
	w.tellAll()
	time.Sleep(70 * time.Second)
	return w
}

func (w *world) add(region, zone string) *host {
	w.mu.Lock()
	h := &host{w: w, id: fmt.Sprintf("node-%02d", len(w.hosts)), region: region, zone: zone, joined: time.Now()}
	w.hosts = append(w.hosts, h)
	w.mu.Unlock()
	h.boot()
	return h
}

func (h *host) boot() {
	h.w.mu.Lock()
	h.inc++
	h.up = true
	h.w.mu.Unlock()
	h.w.publish(h)
	l := rate.New(rate.Config{Clock: h, Peers: &link{h, h.inc}, Strict: func() bool {
		h.w.mu.Lock()
		defer h.w.mu.Unlock()
		return h.w.strict
	}})
	h.limiter.Store(l)
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel, h.done = cancel, make(chan struct{})
	go func(l *rate.Limiter, done chan struct{}) { defer close(done); _ = l.Run(ctx) }(l, h.done)
}

func (h *host) node() *rate.Limiter { return h.limiter.Load() }

// kill ends a process; the others notice by gossip later.
func (h *host) kill() {
	h.w.mu.Lock()
	h.up = false
	h.w.mu.Unlock()
	h.cancel()
	<-h.done
	h.w.later()
}

func (w *world) later() {
	w.mu.Lock()
	d := w.notice
	w.mu.Unlock()
	time.AfterFunc(d, w.tellAll)
}

func (w *world) close() {
	for _, h := range w.hosts {
		h.cancel()
		<-h.done
	}
	time.Sleep(10 * time.Second)
}

// tellAll gives every node the members as its gossip has them now.
func (w *world) tellAll() {
	w.mu.Lock()
	hosts := slices.Clone(w.hosts)
	w.mu.Unlock()
	for _, h := range hosts {
		w.publish(h)
	}
}

func (w *world) publish(h *host) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v := &rate.View{Self: h.id}
	for _, x := range w.hosts {
		v.Members = append(v.Members, rate.Member{ID: x.id, Region: x.region, Zone: x.zone, Incarnation: x.inc,
			Alive: x.up && x.side == h.side && !x.frozen, Draining: x.draining, Since: x.joined})
	}
	h.view.Store(v)
}

func (w *world) host(id string) *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.hosts, func(h *host) bool { return h.id == id })
	if i < 0 {
		return nil
	}
	return w.hosts[i]
}

// link is one process's way into the network.
type link struct {
	h   *host
	inc uint64
}

func (k *link) View() *rate.View { return k.h.view.Load() }

var errRefused = errors.New("connection refused")

// pass carries something one way, or says why it does not arrive.
func (w *world) pass(ctx context.Context, from, to *host) error {
	w.mu.Lock()
	d, cut, down := w.delay(from, to), from.side != to.side, !to.up
	w.mu.Unlock()
	if !cut {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
		if down {
			return errRefused
		}
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (k *link) Ask(ctx context.Context, node string, payload []byte) ([]byte, error) {
	w, to := k.h.w, k.h.w.host(node)
	w.calls.Add(1)
	if to == nil {
		return nil, errRefused
	}
	if to.region != k.h.region && !rate.IsPing(payload) {
		k.h.far.Add(1)
	}
	if err := w.pass(ctx, k.h, to); err != nil {
		return nil, err
	}
	type result struct {
		raw []byte
		err error
	}
	done := make(chan result, 1)
	payload = slices.Clone(payload)
	go func() { // a node that is stopped serves what came when it goes on
		to.thaw()
		raw, err := to.node().ServeAsk(context.WithoutCancel(ctx), k.h.id, payload)
		if err == nil {
			err = w.pass(ctx, to, k.h)
		}
		done <- result{raw, err}
	}()
	select {
	case r := <-done:
		return r.raw, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// freeze stops a node as SIGSTOP does: its clock does not tick, it does not answer.
func (h *host) freeze() {
	h.w.mu.Lock()
	h.frozen = true
	h.w.mu.Unlock()
	h.w.later()
}

func (h *host) unfreeze() {
	h.w.mu.Lock()
	h.frozen = false
	h.w.mu.Unlock()
	h.w.later()
}

// Now is the machine's clock; who reads it while the node is stopped stops too.
func (h *host) Now() time.Time {
	h.thaw()
	return time.Now()
}

// thaw waits while the node is stopped.
func (h *host) thaw() {
	for {
		h.w.mu.Lock()
		frozen := h.frozen
		h.w.mu.Unlock()
		if !frozen {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (k *link) Counts(node string, payload []byte) {
	w, to, seq := k.h.w, k.h.w.host(node), k.h.seq.Add(1)
	w.mu.Lock()
	lost := w.rng.Float64() < w.loss || to == nil || to.side != k.h.side || !to.up || to.frozen
	d := time.Duration(0)
	if !lost {
		d = w.delay(k.h, to)
	}
	w.mu.Unlock()
	if lost {
		return
	}
	time.AfterFunc(d, func() { to.node().HearCounts(k.h.id, uint32(k.inc), seq, payload) })
}

// request is one on a node. It reports whether it was admitted.
func (h *host) request(id uint64, limit int64) bool {
	return h.spend(rate.Hold{ID: id, Kind: rate.Requests, Limit: limit, Units: 1})
}

func (h *host) spend(hold rate.Hold) bool {
	holds := []rate.Hold{hold}
	_, ok := h.node().TakeCtx(context.Background(), holds)
	if ok {
		h.w.mu.Lock()
		h.w.admitted = append(h.w.admitted, use{time.Since(h.w.start), hold.ID, holds[0].Units, h, rate.Via(&holds[0])})
		h.w.mu.Unlock()
	}
	return ok
}

// worst is the most units that any 60 s admitted.
func (w *world) worst(id uint64) int64 { return w.worstIn(id, 0, 1<<62) }

// worstIn is the same between two times.
func (w *world) worstIn(id uint64, after, before time.Duration) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var of []use
	for _, u := range w.admitted {
		if u.id == id && u.at >= after && u.at < before {
			of = append(of, u)
		}
	}
	slices.SortStableFunc(of, func(a, b use) int { return int(a.at - b.at) })
	worst, sum, from := int64(0), int64(0), 0
	for _, u := range of {
		sum += u.units
		for of[from].at <= u.at-time.Minute {
			sum -= of[from].units
			from++
		}
		worst = max(worst, sum)
	}
	return worst
}

func (w *world) total(id uint64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := int64(0)
	for _, u := range w.admitted {
		if u.id == id {
			n += u.units
		}
	}
	return n
}

// offer has n requests made, spread over a span, each on the host that pick names.
func (w *world) offer(n int, within time.Duration, id uint64, limit int64, pick func(i int) *host) {
	var all sync.WaitGroup
	begin := time.Now()
	for i := range n {
		until(begin, within*time.Duration(i)/time.Duration(n))
		all.Go(func() {
			if h := pick(i); h != nil {
				h.request(id, limit)
			}
		})
	}
	all.Wait()
}

// until waits for a time after begin. Goroutines begin when they have something to
// do: the race detector has room for 8,128 of them.
func until(begin time.Time, after time.Duration) { time.Sleep(after - time.Since(begin)) }

func (w *world) anyUp(i int) *host {
	w.mu.Lock()
	defer w.mu.Unlock()
	for j := range w.hosts {
		if h := w.hosts[(i+j)%len(w.hosts)]; h.up && !h.frozen {
			return h
		}
	}
	return nil
}

// inBubble runs a test in virtual time.
func inBubble(t *testing.T, f func(t *testing.T)) { synctest.Test(t, f) }

// report logs what the nodes have done.
func (w *world) report(t *testing.T, id uint64) {
	for _, h := range w.hosts {
		t.Logf("%s %+v", h.id, h.node().Stats())
	}
	t.Logf("worst %d total %d calls %d", w.worst(id), w.total(id), w.calls.Load())
}

// explain is who admitted what, from where, in the worst 60 s.
func (w *world) explain(id uint64) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var of []use
	for _, u := range w.admitted {
		if u.id == id {
			of = append(of, u)
		}
	}
	slices.SortStableFunc(of, func(a, b use) int { return int(a.at - b.at) })
	worst, sum, from, at, end := int64(0), int64(0), 0, 0, 0
	for i, u := range of {
		sum += u.units
		for of[from].at <= u.at-time.Minute {
			sum -= of[from].units
			from++
		}
		if sum > worst {
			worst, at, end = sum, from, i
		}
	}
	by := map[string]int64{}
	for _, u := range of[at : end+1] {
		by[fmt.Sprintf("%s %s %v", u.by.id, u.via, u.at.Truncate(5*time.Second))] += u.units
	}
	keys := slices.Sorted(maps.Keys(by))
	out := fmt.Sprintf("%v to %v", of[at].at, of[end].at)
	for _, k := range keys {
		out += fmt.Sprintf("\n  %s: %d", k, by[k])
	}
	return out
}
