package e2e

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"tollgate/ledger/flush/pgtest"
	"tollgate/node/e2e/fake"
)

// BenchmarkDatabaseOutage takes PostgreSQL away for OUTAGE_MINUTES while
// OUTAGE_RATE calls a second come in. It fails when one call fails or one row is
// lost, and tells how soon the backlog was written. make outage runs it.
func BenchmarkDatabaseOutage(b *testing.B) {
	minutes, rate := fromEnv(b, "OUTAGE_MINUTES", 2), fromEnv(b, "OUTAGE_RATE", 500)
	for range b.N {
		outage(b, time.Duration(minutes*float64(time.Minute)), rate)
	}
}

func fromEnv(b *testing.B, name string, otherwise float64) float64 {
	b.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || v <= 0 {
		b.Fatalf("%s is %q: write a number above 0", name, text)
	}
	return v
}

func outage(b *testing.B, away time.Duration, rate float64) {
	f := fake.Start(b)
	pg := pgtest.StartOwn(b)
	url := pg.NewDatabase(b)
	n := start(b, options{config: configFor(f, ""), env: []string{booksIn(url)}})
	key := n.newKey(b, `"max_budget":1000000`)
	sqlBecomes(b, url, "1", `SELECT count(*) FROM "LiteLLM_VerificationToken"`)

	load := &steady{n: n, key: key, took: map[string][]time.Duration{}}
	stop := load.start(rate)
	load.during("before", 10*time.Second, f)
	pg.Stop()
	load.during("away", away, f)
	pg.Start(b)
	back, backlog := time.Now(), load.answered.Load()
	load.phases("after") // the load goes on
	written := func(enough func(rows int64) bool) func() error {
		return func() error {
			rows, err := pgtest.Ask(url, `SELECT count(*) FROM "LiteLLM_SpendLogs"`)
			if err != nil {
				return err
			}
			count, err := strconv.ParseInt(rows[0][0], 10, 64)
			if err == nil && !enough(count) {
				err = fmt.Errorf("%d rows", count)
			}
			return err
		}
	}
	eventually(b, max(soon, away), "the backlog is written", written(func(rows int64) bool { return rows >= backlog }))
	drained := time.Since(back)
	stop()
	if load.failed.Load() > 0 {
		b.Errorf("%d calls failed", load.failed.Load())
	}
	eventually(b, soon, "every answered call has its row", written(func(rows int64) bool { return rows == load.answered.Load() }))
	booksAgree(b, url, key, n)
	for _, phase := range []string{"before", "away", "after"} {
		t := load.took[phase]
		slices.Sort(t)
		b.ReportMetric(float64(t[len(t)/2].Microseconds())/1000, phase+"-p50-ms")
		b.ReportMetric(float64(t[len(t)*99/100].Microseconds())/1000, phase+"-p99-ms")
	}
	b.ReportMetric(float64(load.answered.Load()), "calls")
	b.ReportMetric(float64(load.failed.Load()), "failed")
	b.ReportMetric(drained.Seconds(), "drained-s")
}

// steady is a load of so many calls a second, whatever they take.
type steady struct {
	n                *node
	key              string
	answered, failed atomic.Int64

	mu    sync.Mutex // guards phase and took
	phase string
	took  map[string][]time.Duration
}

// during names what is measured for a while. The fake is made to forget, or the
// requests of half an hour would fill the memory.
func (s *steady) during(phase string, while time.Duration, f *fake.Server) {
	s.phases(phase)
	end := time.After(while)
	tidy := time.NewTicker(10 * time.Second)
	defer tidy.Stop()
	for {
		select {
		case <-tidy.C:
			f.Forget()
		case <-end:
			return
		}
	}
}

func (s *steady) phases(phase string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase = phase
}

// start sends calls until the function that it returns is called, which waits
// for those in flight.
func (s *steady) start(rate float64) (stop func()) {
	const callers = 64
	due, done := make(chan struct{}, callers), make(chan struct{})
	var crew sync.WaitGroup
	crew.Go(func() {
		defer close(due)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		begin, sent := time.Now(), 0.0
		for {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			for ; sent < rate*time.Since(begin).Seconds(); sent++ {
				due <- struct{}{}
			}
		}
	})
	for range callers {
		crew.Go(func() {
			for range due {
				s.one()
			}
		})
	}
	return func() {
		close(done)
		crew.Wait()
	}
}

func (s *steady) one() {
	sent := time.Now()
	status := send(client, s.n.url, s.key, chatBody("gpt", "hi", `"max_tokens":20`))
	took := time.Since(sent)
	if status != 200 {
		s.failed.Add(1)
		return
	}
	s.answered.Add(1)
	s.mu.Lock()
	s.took[s.phase] = append(s.took[s.phase], took)
	s.mu.Unlock()
}
