package rate

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPropSharesAndGrantsStayWithinTheLimitWhileMembersComeAndGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.Int64Range(0, 10_000).Draw(t, "limit")
		nodes := rapid.IntRange(1, 40).Draw(t, "nodes")
		var earlier []headcount
		now := 10 * time.Minute
		for range rapid.IntRange(0, 6).Draw(t, "changes") {
			next := rapid.IntRange(1, 40).Draw(t, "then")
			if next != nodes {
				earlier = append(earlier, headcount{nodes, now})
			}
			nodes = next
			now += time.Duration(rapid.IntRange(0, 90).Draw(t, "s")) * time.Second
		}
		s, until := sharesAt(now, nodes, earlier, 0)
		if until <= now {
			t.Fatalf("holds until %v at %v", until, now)
		}
		kept := s.kept(limit)
		if kept > limit {
			t.Fatalf("keeps %d of %d back", kept, limit)
		}
		for _, n := range s.counts {
			if int64(n)*shareOf(limit, n) > kept {
				t.Fatalf("%d nodes with %d each, %d kept", n, shareOf(limit, n), kept)
			}
			if s.mine(limit) > shareOf(limit, n) {
				t.Fatalf("a share of %d where %d nodes have %d", s.mine(limit), n, shareOf(limit, n))
			}
		}
	})
}

func TestPropAShareNeverGrowsWithTheNodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit, n := rapid.Int64Range(0, 1<<50).Draw(t, "limit"), rapid.IntRange(2, 200).Draw(t, "n")
		if shareOf(limit, n+1) > shareOf(limit, n) {
			t.Fatalf("%d nodes: %d, one more: %d", n, shareOf(limit, n), shareOf(limit, n+1))
		}
		if limit >= 20*int64(n) && shareOf(limit, n) < 1 {
			t.Fatal("no unit for each")
		}
	})
}

func TestPropOwnUseCountsForAtLeastAMinute(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var u uses
		type one struct {
			at    time.Duration
			units int64
		}
		var all []one
		now := time.Duration(0)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += time.Duration(rapid.IntRange(0, 20_000).Draw(t, "ms")) * time.Millisecond
			n := rapid.Int64Range(0, 9).Draw(t, "units")
			u.add(uint32(now/useTime), n)
			all = append(all, one{now, n})
			least, most := int64(0), int64(0)
			for _, x := range all {
				if now-x.at < time.Minute {
					least += x.units
				}
				if now-x.at < time.Minute+useTime {
					most += x.units
				}
			}
			if got := u.sum(uint32(now / useTime)); got < least || got > most {
				t.Fatalf("%d, used %d to %d", got, least, most)
			}
		}
	})
}
