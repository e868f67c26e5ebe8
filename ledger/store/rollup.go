package store

import (
	"encoding/binary"
	"fmt"
	"time"

	"tollgate/config/price"
	"tollgate/config/unit"
)

// RollupDim is a family of daily sums.
type RollupDim byte

// The families. Calls are summed once by everything that has few values, and
// again by end user and by tag, which may have many.
const (
	ByCaller  RollupDim = 1
	ByEndUser RollupDim = 2
	ByTag     RollupDim = 3
)

// RollupKey is what one daily sum is of. Entity is the end user or the tag;
// User, Team and Organization are filled in ByCaller only.
type RollupKey struct {
	Day      int32 // days since 1970, UTC, of the call's start
	Dim      RollupDim
	Entity   string
	User     string
	Team     string
	Org      string
	Key      string
	Model    string
	Group    string
	Provider string
	CallType string
}

// Date is the day in ISO form.
func (k *RollupKey) Date() string {
	return time.Unix(int64(k.Day)*86400, 0).UTC().Format(time.DateOnly)
}

// DayOf is the UTC day of a time, as in rollups.
func DayOf(t time.Time) int32 {
	s := t.Unix()
	d := s / 86400
	if s%86400 < 0 {
		d--
	}
	return int32(d)
}

// Sums is what a rollup adds up.
type Sums struct {
	Requests, Successful, Failed int64
	Prompt, Completion           int64
	CacheRead, CacheWrite        int64
	Spend                        unit.Money
	DurationMs                   int64
	CacheHits                    int64
}

// Add adds o.
func (s *Sums) Add(o Sums) {
	s.Requests += o.Requests
	s.Successful += o.Successful
	s.Failed += o.Failed
	s.Prompt += o.Prompt
	s.Completion += o.Completion
	s.CacheRead += o.CacheRead
	s.CacheWrite += o.CacheWrite
	s.Spend = s.Spend.Add(o.Spend)
	s.DurationMs += o.DurationMs
	s.CacheHits += o.CacheHits
}

// SumsOf is what one entry adds.
func SumsOf(e *Entry) Sums {
	s := Sums{
		Requests: 1, Prompt: e.Usage.Prompt(), Completion: e.Usage.OutTotal,
		CacheRead: e.Usage.CacheRead, CacheWrite: cacheWrite(&e.Usage), Spend: e.Cost.Total,
	}
	if e.Status == Failure {
		s.Failed = 1
	} else {
		s.Successful = 1
	}
	if !e.Start.IsZero() && e.End.After(e.Start) {
		s.DurationMs = e.End.Sub(e.Start).Milliseconds()
	}
	if e.CacheHit == "True" {
		s.CacheHits = 1
	}
	return s
}

func cacheWrite(u *price.Usage) int64 { return u.CacheWrite5m + u.CacheWrite1h }

// rollupsOf names the daily sums that an entry belongs to.
func rollupsOf(e *Entry, fn func(RollupKey)) {
	k := RollupKey{Day: DayOf(e.Start), Dim: ByCaller, User: e.User, Team: e.Team, Org: e.Organization,
		Key: e.Key, Model: e.Model, Group: e.Group, Provider: e.Provider, CallType: e.CallType}
	fn(k)
	k.User, k.Team, k.Org = "", "", ""
	if e.EndUser != "" {
		k.Dim, k.Entity = ByEndUser, e.EndUser
		fn(k)
	}
	for i, t := range e.Tags {
		if t == "" || containsText(e.Tags[:i], t) {
			continue
		}
		k.Dim, k.Entity = ByTag, t
		fn(k)
	}
}

func containsText(list []string, s string) bool {
	for _, t := range list {
		if t == s {
			return true
		}
	}
	return false
}

func rollupPrefix(dim RollupDim, day int32) []byte {
	// The sign bit is turned so that days before 1970, which a wrong clock can
	// make, sort before the others.
	return binary.BigEndian.AppendUint32([]byte{kRollup, byte(dim)}, uint32(day)^1<<31)
}

func rollupKey(k *RollupKey) []byte {
	b := rollupPrefix(k.Dim, k.Day)
	for _, s := range [...]string{k.Entity, k.User, k.Team, k.Org, k.Key, k.Model, k.Group, k.Provider, k.CallType} {
		b = appendText(b, s)
	}
	return b
}

func readRollupKey(b []byte) (RollupKey, error) {
	if len(b) < 6 || b[0] != kRollup {
		return RollupKey{}, fmt.Errorf("%w: rollup key of %d bytes", ErrCorrupt, len(b))
	}
	k := RollupKey{Dim: RollupDim(b[1]), Day: int32(binary.BigEndian.Uint32(b[2:]) ^ 1<<31)}
	b = b[6:]
	for _, s := range [...]*string{&k.Entity, &k.User, &k.Team, &k.Org, &k.Key, &k.Model, &k.Group, &k.Provider, &k.CallType} {
		var ok bool
		if *s, b, ok = cutText(b); !ok {
			return RollupKey{}, fmt.Errorf("%w: rollup key", ErrCorrupt)
		}
	}
	return k, nil
}

func appendSums(b []byte, s *Sums) []byte {
	b = append(b, wireVersion)
	for i, v := range [...]int64{s.Requests, s.Successful, s.Failed, s.Prompt, s.Completion, s.CacheRead,
		s.CacheWrite, int64(s.Spend), s.DurationMs, s.CacheHits} {
		b = putInt(b, 1+i, v)
	}
	return b
}

func readSums(data []byte) (Sums, error) {
	if len(data) == 0 || data[0] != wireVersion {
		return Sums{}, fmt.Errorf("%w: rollup value", ErrCorrupt)
	}
	var s Sums
	fields := [...]*int64{&s.Requests, &s.Successful, &s.Failed, &s.Prompt, &s.Completion, &s.CacheRead,
		&s.CacheWrite, (*int64)(&s.Spend), &s.DurationMs, &s.CacheHits}
	r := reader{b: string(data[1:])}
	for {
		n, v, _ := r.next()
		if n == 0 {
			return s, r.err
		}
		if n <= len(fields) {
			*fields[n-1] = unzig(v)
		}
	}
}
