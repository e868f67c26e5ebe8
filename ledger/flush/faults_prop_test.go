package flush_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/ledger/flush"
	"tollgate/ledger/flush/pgtest"
	"tollgate/ledger/store"
)

// deliver brings entries to a sink as a reader does: from where the sink says
// it is, until all are there.
func deliver(ctx context.Context, s *flush.Sink, all []*store.Entry, r *rand.Rand) error {
	for ctx.Err() == nil {
		at, err := s.Position(ctx)
		if err != nil {
			pause(ctx)
			continue
		}
		if at == all[len(all)-1].Seq {
			return nil
		}
		from := 0
		for all[from].Seq <= at {
			from++
		}
		// Cuts differ, and some of what is there comes again.
		from -= r.IntN(min(from, 5) + 1)
		if s.Deliver(ctx, all[from:min(len(all), from+1+r.IntN(120))]) != nil {
			pause(ctx)
		}
	}
	return ctx.Err()
}

// pause keeps a sink that is refused from spinning.
func pause(ctx context.Context) {
	select {
	case <-time.After(5 * time.Millisecond):
	case <-ctx.Done():
	}
}

func TestBooksAreExactThroughFaultsOfTheServer(t *testing.T) {
	s := pgtest.StartOwn(t)
	runs := 4
	if testing.Short() {
		runs = 1
	}
	for range runs {
		seed := rand.Uint64()
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { throughFaults(t, s, seed) })
	}
}

// throughFaults lets three nodes flush while the server is killed, stopped and
// paused, and their sessions are cut off, in the middle of batches.
func throughFaults(t *testing.T, s *pgtest.Server, seed uint64) {
	faults := rand.New(rand.NewPCG(seed, 99))
	each := 100 + faults.IntN(300)
	url := s.NewDatabase(t)
	ctx, end := context.WithTimeout(t.Context(), 2*time.Minute)
	defer end()
	var all []*store.Entry
	var wg sync.WaitGroup
	outcome := make([]error, 3)
	for node := range uint64(3) {
		r := rand.New(rand.NewPCG(seed, node))
		var mine []*store.Entry
		for n := range uint64(each) {
			mine = append(mine, random(r, node, n+1))
		}
		all = append(all, mine...)
		d := open(t, url, func(c *flush.Config) {
			c.Rows, c.Batch, c.Statement, c.Lock = 40, 400*time.Millisecond, 300*time.Millisecond, 200*time.Millisecond
		})
		wg.Go(func() { outcome[node] = deliver(ctx, d.Sink(fmt.Sprint("n", node)), mine, r) })
	}
	for range 1 + faults.IntN(4) {
		select { // somewhere in the middle of a batch
		case <-time.After(time.Duration(faults.IntN(150)) * time.Millisecond):
		case <-ctx.Done():
		}
		switch faults.IntN(4) {
		case 0:
			s.Kill()
		case 1:
			s.Stop()
		case 2:
			s.Pause()
			pause(ctx)
			s.Resume()
		case 3: // the sessions alone
			s.Exec(t, s.URL("postgres"), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tollgate'")
		}
		s.Start(t)
	}
	wg.Wait()
	for _, err := range outcome {
		require.NoError(t, err)
	}
	recount(t, connect(t, url), all)
}

func TestServerThatHangsIsLeftAfterTheBatchsTime(t *testing.T) {
	s := pgtest.StartOwn(t)
	url := s.NewDatabase(t)
	d := open(t, url, func(c *flush.Config) { c.Batch, c.Lock = 300*time.Millisecond, 200*time.Millisecond })
	sink := d.Sink("n1")
	require.NoError(t, sink.Deliver(t.Context(), []*store.Entry{entry(1, 1)}))
	s.Pause()
	start := time.Now()
	require.Error(t, sink.Deliver(t.Context(), []*store.Entry{entry(1, 2)}))
	require.Less(t, time.Since(start), 10*time.Second)
	require.Equal(t, flush.Slow, d.Health().Class)
	s.Resume()
	require.Eventually(t, func() bool { return sink.Deliver(t.Context(), []*store.Entry{entry(1, 2)}) == nil }, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, int64(2), one[int64](t, connect(t, url), `SELECT count(*) FROM "LiteLLM_SpendLogs"`))
	require.True(t, d.Health().Healthy)
}

func TestServerThatHangsHoldsUpNoStop(t *testing.T) {
	s := pgtest.StartOwn(t)
	d := open(t, s.NewDatabase(t))
	sink := d.Sink("n1")
	require.NoError(t, sink.Deliver(t.Context(), []*store.Entry{entry(1, 1)}))
	s.Pause()
	defer s.Resume()
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	start := time.Now()
	require.Error(t, sink.Deliver(ctx, []*store.Entry{entry(1, 2)}))
	d.Close()
	require.Less(t, time.Since(start), 8*time.Second)
}

func TestFaultsAreToldApart(t *testing.T) {
	s := pgtest.Start(t)
	for name, tc := range map[string]struct {
		before string
		class  flush.Class
		after  string
	}{
		"read only": {`ALTER DATABASE %s SET default_transaction_read_only TO on`, flush.ReadOnly, `ALTER DATABASE %s RESET default_transaction_read_only`},
		"no room":   {`ALTER DATABASE %s CONNECTION LIMIT 0; CREATE ROLE %[1]s_poor LOGIN SUPERUSER; ALTER ROLE %[1]s_poor NOSUPERUSER; GRANT ALL ON DATABASE %[1]s TO %[1]s_poor`, flush.Connections, `ALTER DATABASE %s CONNECTION LIMIT 50; ALTER ROLE %[1]s_poor SUPERUSER`},
		"rights":    {`CREATE ROLE %[1]s_poor LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC`, flush.Rights, `ALTER ROLE %[1]s_poor SUPERUSER`},
	} {
		t.Run(name, func(t *testing.T) {
			url := s.NewDatabase(t)
			c := connect(t, url)
			db := c.Config().Database
			require.NoError(t, c.Close(t.Context()))
			s.Exec(t, url, fmt.Sprintf(tc.before, db))
			user := "postgres"
			if tc.class != flush.ReadOnly {
				user = db + "_poor"
			}
			d := open(t, fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", user, s.Addr(), db))
			err := d.Sink("n1").Deliver(t.Context(), []*store.Entry{entry(1, 1)})
			require.Error(t, err)
			require.Equal(t, tc.class, d.Health().Class, "%v", err)
			s.Exec(t, s.URL("postgres"), fmt.Sprintf(tc.after, db))
			require.NoError(t, d.Sink("n1").Deliver(t.Context(), []*store.Entry{entry(1, 1)}))
			d.Close()
		})
	}
}

func TestADatabaseThatComesBackIsNoticedWithinThreeSeconds(t *testing.T) {
	s := pgtest.StartOwn(t)
	d := open(t, s.NewDatabase(t))
	sink := d.Sink("n1")
	require.NoError(t, sink.Deliver(t.Context(), []*store.Entry{entry(1, 1)}))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = d.Run(ctx) }()
	defer func() { stop(); <-ended }()
	for name, fault := range map[string][2]func(){
		"stopped": {s.Stop, func() { s.Start(t) }},
		"hanging": {s.Pause, s.Resume},
	} {
		fault[0]()
		back := sink.Back()
		within, end := context.WithTimeout(t.Context(), time.Second)
		require.Error(t, sink.Deliver(within, []*store.Entry{entry(1, 2)}), name)
		end()
		require.False(t, d.Health().Healthy, name)
		select {
		case <-back:
			t.Fatalf("%s: it is said to be back", name)
		case <-time.After(5 * time.Second): // in which it is found to be away
		}
		fault[1]()
		select {
		case <-back:
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: nobody has noticed that it is back", name)
		}
		require.True(t, d.Health().Healthy, name)
	}
}

func TestAServerThatHangsHoldsUpNeitherAMigrationNorTheProjectionForEver(t *testing.T) {
	s := pgtest.StartOwn(t)
	url := s.NewDatabase(t)
	bounds := func(c *flush.Config) { c.Project, c.Migrate = 300*time.Millisecond, 300*time.Millisecond }
	for name, use := range map[string]func(*flush.Database) error{
		"migration": func(d *flush.Database) error { return d.Ready(t.Context()) },
		"statement of the projection": func(d *flush.Database) error {
			_, err := d.Projection().Exec(t.Context(), "SELECT 1")
			return err
		},
		"rows of the projection": func(d *flush.Database) error {
			rows, err := d.Projection().Query(t.Context(), "SELECT pg_sleep(i * 0.02) FROM generate_series(1, 1000) i")
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
			}
			return rows.Err()
		},
	} {
		d := open(t, url, bounds)
		if name != "rows of the projection" { // whose server is only slow
			_ = d.Projection().Ping(t.Context()) // a connection that is there
			s.Pause()
		}
		start := time.Now()
		require.Error(t, use(d), name)
		require.Less(t, time.Since(start), 20*time.Second, name)
		s.Resume()
	}
}
