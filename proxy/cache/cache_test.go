package cache_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/proxy/cache"
	"tollgate/proxy/cache/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock stands still until it is moved.
type clock struct {
	mu sync.Mutex // guards at
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	c.at = c.at.Add(d)
	c.mu.Unlock()
}

const soon = 20 * time.Second

// running is a cache that works until the test ends.
func running(t *testing.T, s *model.Cache, clk unit.Clock) *cache.Cache {
	t.Helper()
	c := cache.New(cache.Config{Region: "eu", Clock: clk, Registerer: prometheus.NewRegistry()})
	require.NoError(t, c.Use(s))
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { require.NoError(t, c.Run(ctx)) })
	t.Cleanup(func() { cancel(); done.Wait() })
	return c
}

func put(t *testing.T, c *cache.Cache, key, body string, ttl time.Duration, at time.Time) {
	t.Helper()
	c.Put(key, func() *cache.Value { return &cache.Value{At: at, Kind: "acompletion", Body: []byte(body)} }, ttl)
	require.Eventually(t, func() bool { _, ok := c.Get(t.Context(), key, 0); return ok }, soon, time.Millisecond, "%s is not kept", key)
}

func TestAnAnswerInMemoryLastsItsTime(t *testing.T) {
	clk := &clock{at: time.Unix(1e9, 0)}
	c := running(t, &model.Cache{Type: model.CacheMemory, TTL: 60}, clk)
	put(t, c, "a", `{"a":1}`, 0, clk.Now())
	put(t, c, "b", `{"b":1}`, 10*time.Second, clk.Now())
	clk.move(9 * time.Second)
	_, ok := c.Get(t.Context(), "b", 0)
	require.True(t, ok)
	_, ok = c.Get(t.Context(), "a", 5*time.Second)
	require.False(t, ok, "older than the caller takes")
	_, ok = c.Get(t.Context(), "a", 9*time.Second)
	require.True(t, ok)
	clk.move(time.Second)
	_, ok = c.Get(t.Context(), "b", 0)
	require.False(t, ok, "its time is over")
	clk.move(50 * time.Second)
	_, ok = c.Get(t.Context(), "a", 0)
	require.False(t, ok, "the settings' time is over")
}

func TestMemoryStaysWithinItsBounds(t *testing.T) {
	clk := &clock{at: time.Unix(1e9, 0)}
	reg := prometheus.NewRegistry()
	c := cache.New(cache.Config{Clock: clk, Registerer: reg})
	require.NoError(t, c.Use(&model.Cache{Type: model.CacheMemory, MaxItems: 50, MaxBytes: 1 << 20, MaxItemBytes: 8 << 10}))
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { _ = c.Run(ctx) })
	defer done.Wait()
	defer cancel()
	figure := func(name string) float64 {
		all, err := reg.Gather()
		require.NoError(t, err)
		sum := 0.0
		for _, f := range all {
			for _, m := range f.GetMetric() {
				if f.GetName() == name {
					sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
				}
			}
		}
		return sum
	}
	for i := range 500 {
		body := fmt.Sprintf(`{"n":%d,"pad":%q}`, i, make([]byte, 10))
		if i%50 == 0 {
			body = fmt.Sprintf(`{"pad":"%01000d"}`, i)
		}
		c.Put(strconv.Itoa(i), func() *cache.Value { return &cache.Value{At: clk.Now(), Body: []byte(body)} }, time.Minute)
	}
	c.Put("large", func() *cache.Value { return &cache.Value{At: clk.Now(), Body: make([]byte, 9<<10)} }, time.Minute)
	require.Eventually(t, func() bool { return figure("tollgate_cache_writes_total") == 500 }, soon, time.Millisecond, "too large is not written")
	require.LessOrEqual(t, figure("tollgate_cache_items"), 50.0)
	require.LessOrEqual(t, figure("tollgate_cache_bytes"), float64(1<<20))
	_, ok := c.Get(t.Context(), "large", 0)
	require.False(t, ok)
}

func TestCallersOfSomeRegionsHaveOnlyAStoreOfThem(t *testing.T) {
	c := running(t, &model.Cache{Type: model.CacheMemory}, unit.SystemClock{})
	require.True(t, c.Allows(nil))
	require.True(t, c.Allows([]string{"us", "eu"}))
	require.False(t, c.Allows([]string{"us"}))
	require.NoError(t, c.Use(&model.Cache{Type: model.CacheRedis, Redis: &model.RedisPlace{Host: "127.0.0.1", Port: 1}}))
	require.True(t, c.Allows(nil))
	require.False(t, c.Allows([]string{"eu"}), "nobody has said where this Redis is")
	require.NoError(t, c.Use(&model.Cache{Type: model.CacheRedis, Redis: &model.RedisPlace{Host: "127.0.0.1", Port: 1, Region: "us"}}))
	require.True(t, c.Allows([]string{"us"}))
	require.NoError(t, c.Use(nil))
	require.False(t, c.Allows(nil))
}

func TestOtherSettingsOfCallsLeaveMemoryAsItIs(t *testing.T) {
	c := running(t, &model.Cache{Type: model.CacheMemory}, unit.SystemClock{})
	put(t, c, "a", `{}`, 0, time.Now())
	require.NoError(t, c.Use(&model.Cache{Type: model.CacheMemory, OptIn: true, TTL: 5}))
	_, ok := c.Get(t.Context(), "a", 0)
	require.True(t, ok)
	require.NoError(t, c.Use(&model.Cache{Type: model.CacheMemory, MaxBytes: 1 << 20}))
	_, ok = c.Get(t.Context(), "a", 0)
	require.False(t, ok)
	require.NoError(t, c.Flush(t.Context()))
	require.NoError(t, c.Use(nil))
	require.ErrorIs(t, c.Flush(t.Context()), cache.ErrOff)
}

func place(s *redistest.Server) *model.RedisPlace {
	port, _ := strconv.Atoi(s.Port)
	return &model.RedisPlace{Host: s.Host, Port: port, Timeout: 5}
}

func TestARedisKeepsAnswers(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "secret-word")
	for name, p := range map[string]*model.RedisPlace{
		"by host":  {Host: s.Host, Port: place(s).Port, Password: "secret-word", Timeout: 5},
		"by URL":   {URL: "redis://:secret-word@" + s.Addr + "/2", Timeout: 5},
		"database": {Host: s.Host, Port: place(s).Port, Password: "secret-word", DB: 3, Timeout: 5},
	} {
		t.Run(name, func(t *testing.T) {
			c := running(t, &model.Cache{Type: model.CacheRedis, Redis: p}, unit.SystemClock{})
			_, err := c.Check(t.Context())
			require.NoError(t, err)
			put(t, c, "ns:one", `{"a":1}`, 0, time.Now())
			put(t, c, "two", `{"a":2}`, 0, time.Now())
			v, ok := c.Get(t.Context(), "ns:one", 0)
			require.True(t, ok)
			require.Equal(t, `{"a":1}`, string(v.Body))
			all := c.GetAll(t.Context(), []string{"two", "three", "ns:one"}, 0)
			require.Equal(t, `{"a":2}`, string(all[0].Body))
			require.Nil(t, all[1])
			require.NotNil(t, all[2])
			require.NoError(t, c.Delete(t.Context(), []string{"two"}))
			_, ok = c.Get(t.Context(), "two", 0)
			require.False(t, ok)
			require.NoError(t, c.Flush(t.Context()))
			_, ok = c.Get(t.Context(), "ns:one", 0)
			require.False(t, ok)
			info, err := c.RedisInfo(t.Context())
			require.NoError(t, err)
			require.NotEmpty(t, info["redis_version"])
		})
	}
	c := running(t, &model.Cache{Type: model.CacheRedis, Redis: place(s)}, unit.SystemClock{})
	_, err := c.Check(t.Context())
	require.Error(t, err, "the password is missing")
}

func TestFlushingLeavesWhatOthersKeepInARedis(t *testing.T) {
	s := redistest.Start(t)
	_, err := s.Command("SET", "theirs", "1")
	require.NoError(t, err)
	c := running(t, &model.Cache{Type: model.CacheRedis, Redis: place(s)}, unit.SystemClock{})
	put(t, c, "ours", `{}`, 0, time.Now())
	require.NoError(t, c.Flush(t.Context()))
	n, err := s.Command("DBSIZE")
	require.NoError(t, err)
	require.Equal(t, ":1", n)
}

func TestARedisOfAnotherShapeIsAMiss(t *testing.T) {
	s := redistest.Start(t)
	c := running(t, &model.Cache{Type: model.CacheRedis, Redis: place(s)}, unit.SystemClock{})
	for _, value := range []string{"nonsense", `{"v":2,"timestamp":1,"response":{}}`, `{"timestamp":1,"response":"{}"}`} {
		_, err := s.Command("SET", "tollgate:k", value)
		require.NoError(t, err)
		_, ok := c.Get(t.Context(), "k", 0)
		require.False(t, ok, value)
	}
}

func TestADeadRedisCostsNothingAndIsFoundAgain(t *testing.T) {
	s := redistest.Start(t)
	p := place(s)
	p.Timeout = 1
	c := running(t, &model.Cache{Type: model.CacheRedis, Redis: p}, unit.SystemClock{})
	put(t, c, "a", `{}`, time.Hour, time.Now())
	s.Kill()
	for range 3 {
		_, ok := c.Get(t.Context(), "a", 0)
		require.False(t, ok)
	}
	begun := time.Now()
	for range 1000 {
		_, ok := c.Get(t.Context(), "a", 0)
		require.False(t, ok)
	}
	require.Less(t, time.Since(begun), time.Second, "it is still asked")
	s.Again()
	put2 := func() bool {
		c.Put("b", func() *cache.Value { return &cache.Value{At: time.Now(), Body: []byte(`{}`)} }, time.Hour)
		_, ok := c.Get(t.Context(), "b", 0)
		return ok
	}
	require.Eventually(t, put2, soon, 10*time.Millisecond)
}

func TestARedisThatHangsIsLeftAloneAfterAFewWaits(t *testing.T) {
	s := redistest.Start(t)
	p := place(s)
	p.Timeout = 0.05
	c := running(t, &model.Cache{Type: model.CacheRedis, Redis: p}, unit.SystemClock{})
	_, err := c.Check(t.Context())
	require.NoError(t, err)
	s.Stop()
	begun := time.Now()
	for range 200 {
		_, ok := c.Get(t.Context(), "a", 0)
		require.False(t, ok)
	}
	require.Less(t, time.Since(begun), 5*time.Second, "200 look-ups have waited more than a few times")
	s.Continue()
	require.Eventually(t, func() bool {
		_, err := c.Check(t.Context())
		return err == nil
	}, soon, 10*time.Millisecond)
}

// A cluster of one node speaks like one of many: it wants to be asked for its slots.
func TestAClusterKeepsAnswers(t *testing.T) {
	s := redistest.Start(t, "--cluster-enabled", "yes")
	_, err := s.Command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		reply, err := s.Command("SET", "probe", "1")
		return err == nil && reply == "+OK"
	}, soon, 10*time.Millisecond, "the cluster is not up")
	c := running(t, &model.Cache{Type: model.CacheRedis, Redis: &model.RedisPlace{Nodes: []string{s.Addr}, Timeout: 5}}, unit.SystemClock{})
	put(t, c, "one", `{"a":1}`, 0, time.Now())
	put(t, c, "two", `{"a":2}`, 0, time.Now())
	all := c.GetAll(t.Context(), []string{"one", "two"}, 0)
	require.NotNil(t, all[0])
	require.NotNil(t, all[1])
	require.NoError(t, c.Flush(t.Context()))
	_, ok := c.Get(t.Context(), "one", 0)
	require.False(t, ok)
}

func TestSentinelsNameTheServer(t *testing.T) {
	s := redistest.Start(t)
	conf := writeSentinel(t, s)
	guard := redistest.Start(t, conf...)
	c := running(t, &model.Cache{Type: model.CacheRedis, Redis: &model.RedisPlace{Sentinels: []string{guard.Addr}, Service: "answers", Timeout: 5}}, unit.SystemClock{})
	put(t, c, "one", `{"a":1}`, 0, time.Now())
	reply, err := s.Command("DBSIZE")
	require.NoError(t, err)
	require.Equal(t, ":1", reply)
}

func TestAnAddressThatIsNoneIsRefusedWithoutItsPassword(t *testing.T) {
	c := cache.New(cache.Config{})
	err := c.Use(&model.Cache{Type: model.CacheRedis, Redis: &model.RedisPlace{URL: "http://:secret-word@" + net.JoinHostPort("h", "1")}})
	require.ErrorContains(t, err, "redis://")
	require.NotContains(t, err.Error(), "secret-word")
}
