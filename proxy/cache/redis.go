package cache

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"tollgate/config/model"
)

// What is taken where the settings say nothing. The wait is LiteLLM's: an answer
// that takes longer to find than that had better be asked for anew.
const (
	defaultRedisPort    = 6379
	defaultRedisTTL     = 60 * time.Second
	defaultRedisTimeout = 100 * time.Millisecond
	defaultConnections  = 64
)

// prefix begins every key of ours, so that a Redis may hold other things too and
// flushing takes away none of them.
const prefix = "tollgate:"

// remote keeps values in a Redis: one server, a cluster, or what sentinels name.
type remote struct {
	client redis.UniversalClient
}

var _ Store = (*remote)(nil)

// timeoutOf is how long one question to a Redis may take.
func timeoutOf(p *model.RedisPlace) time.Duration {
	if p.Timeout > 0 {
		return time.Duration(p.Timeout * float64(time.Second))
	}
	return defaultRedisTimeout
}

// silence keeps the library from writing to standard error: what goes wrong is
// told once, by the breaker.
var silence sync.Once

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

// newRemote makes the client. It connects when it is first asked.
func newRemote(p *model.RedisPlace) (*remote, error) {
	silence.Do(func() { redis.SetLogger(silent{}) })
	patience := timeoutOf(p)
	o := &redis.UniversalOptions{
		Username: p.Username, Password: p.Password, DB: p.DB, SentinelPassword: p.SentinelPassword,
		Protocol:   2,                    // what every Redis and its like speak
		MaxRetries: -1, DialerRetries: 1, // a miss is cheaper than waiting
		DialTimeout: patience, ReadTimeout: patience, WriteTimeout: patience, PoolTimeout: patience, ContextTimeoutEnabled: true,
		PoolSize: cmp.Or(p.Connections, defaultConnections), MaxActiveConns: p.Connections, ConnMaxIdleTime: 5 * time.Minute,
		DisableIdentity: true, MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	switch {
	case len(p.Sentinels) > 0:
		o.Addrs, o.MasterName = p.Sentinels, p.Service
	case len(p.Nodes) > 0:
		o.Addrs, o.IsClusterMode = p.Nodes, true
	case p.URL != "":
		one, err := redis.ParseURL(p.URL)
		if err != nil {
			return nil, errors.New("the address of the Redis is not of the form redis://USER:PASSWORD@HOST:PORT/DB") // the cause repeats the password
		}
		o.Addrs, o.TLSConfig = []string{one.Addr}, one.TLSConfig
		o.Username, o.Password, o.DB = cmp.Or(one.Username, p.Username), cmp.Or(one.Password, p.Password), cmp.Or(one.DB, p.DB)
	default:
		o.Addrs = []string{net.JoinHostPort(cmp.Or(p.Host, "localhost"), strconv.Itoa(cmp.Or(p.Port, defaultRedisPort)))}
	}
	if p.TLS && o.TLSConfig == nil {
		host, _, err := net.SplitHostPort(o.Addrs[0])
		if err != nil {
			return nil, fmt.Errorf("address of the Redis: %w", err)
		}
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
		if len(o.Addrs) == 1 {
			o.TLSConfig.ServerName = host
		}
	}
	return &remote{client: redis.NewUniversalClient(o)}, nil
}

func (r *remote) Get(ctx context.Context, key string) ([]byte, error) {
	b, err := r.client.Get(ctx, prefix+key).Bytes()
	if errors.Is(err, redis.Nil) {
		return nil, ErrMiss
	}
	if err != nil {
		return nil, fmt.Errorf("read from Redis: %w", err)
	}
	return b, nil
}

// GetAll asks for each key by itself in one round: the keys of one command must
// lie on one node of a cluster, and these need not.
func (r *remote) GetAll(ctx context.Context, keys []string) ([][]byte, error) {
	asked := make([]*redis.StringCmd, len(keys))
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, k := range keys {
			asked[i] = p.Get(ctx, prefix+k)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("read from Redis: %w", err)
	}
	out := make([][]byte, len(keys))
	for i, a := range asked {
		if b, err := a.Bytes(); err == nil {
			out[i] = b
		}
	}
	return out, nil
}

func (r *remote) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if err := r.client.Set(ctx, prefix+key, value, max(ttl, time.Millisecond)).Err(); err != nil {
		return fmt.Errorf("write to Redis: %w", err)
	}
	return nil
}

func (r *remote) Delete(ctx context.Context, keys []string) error {
	_, err := r.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, k := range keys {
			p.Unlink(ctx, prefix+k)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("delete in Redis: %w", err)
	}
	return nil
}

// scanned is how many keys a Redis looks at in one go while others wait.
const scanned = 1000

func (r *remote) Flush(ctx context.Context) error {
	flush := func(ctx context.Context, one redis.Cmdable) error {
		for cursor := uint64(0); ; {
			keys, next, err := one.Scan(ctx, cursor, prefix+"*", scanned).Result()
			if err != nil {
				return err
			}
			if len(keys) > 0 {
				_, err := one.Pipelined(ctx, func(p redis.Pipeliner) error {
					for _, k := range keys {
						p.Unlink(ctx, k)
					}
					return nil
				})
				if err != nil {
					return err
				}
			}
			if cursor = next; cursor == 0 {
				return nil
			}
		}
	}
	var err error
	if c, ok := r.client.(*redis.ClusterClient); ok {
		err = c.ForEachMaster(ctx, func(ctx context.Context, one *redis.Client) error { return flush(ctx, one) })
	} else {
		err = flush(ctx, r.client)
	}
	if err != nil {
		return fmt.Errorf("flush Redis: %w", err)
	}
	return nil
}

func (r *remote) Ping(ctx context.Context) error {
	if err := r.client.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("ping Redis: %w", err)
	}
	return nil
}

func (r *remote) Close() error {
	if err := r.client.Close(); err != nil {
		return fmt.Errorf("close Redis: %w", err)
	}
	return nil
}

// info is what the server says of itself, by name.
func (r *remote) info(ctx context.Context) (map[string]string, error) {
	text, err := r.client.Info(ctx).Result()
	if err != nil {
		return nil, fmt.Errorf("ask Redis about itself: %w", err)
	}
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(name, "#") {
			out[name] = value
		}
	}
	return out, nil
}
