package cache

import (
	"bytes"
	"strconv"
	"time"

	"tollgate/proxy/jsonscan"
)

// Controls are what a call says about its own caching.
type Controls struct {
	Read, Write bool
	TTL         time.Duration // how long to keep the answer; 0: as the settings say
	MaxAge      time.Duration // how old an answer may be; 0: any age
	Namespace   string
}

// maxNamespace bounds the name that a call may put before its key.
const maxNamespace = 256

// ControlsOf reads the `cache` objects of a key's metadata and of the request,
// of which the request's counts where both say something, and `caching`. Fields
// of a wrong type say nothing: a cache is no reason to refuse a call.
func ControlsOf(optIn bool, ofKey, ofCall, caching []byte) Controls {
	c := Controls{Read: true, Write: true}
	use, noRead, noWrite := !optIn, false, false
	for _, raw := range [][]byte{ofKey, ofCall} {
		for it := jsonscan.Walk(bytes.TrimSpace(raw)); ; {
			k, v, ok := it.Member()
			if !ok {
				break
			}
			switch string(jsonscan.Name(k)) {
			case "no-cache":
				setBool(&noRead, v)
			case "no-store":
				setBool(&noWrite, v)
			case "use-cache":
				setBool(&use, v)
			case "ttl":
				setSeconds(&c.TTL, v)
			case "s-maxage", "s-max-age":
				setSeconds(&c.MaxAge, v)
			case "namespace":
				c.Namespace = Namespace(v)
			}
		}
	}
	if on, ok := jsonscan.Bool(caching); ok {
		use = on
	}
	c.Read, c.Write = use && !noRead, use && !noWrite
	return c
}

// Namespace is a raw string that may stand before a key, "" for any other: a key
// is shown in a header.
func Namespace(raw []byte) string {
	s, ok := jsonscan.String(raw)
	if !ok || len(s) > maxNamespace {
		return ""
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c > '~' {
			return ""
		}
	}
	return s
}

func setBool(to *bool, raw []byte) {
	if v, ok := jsonscan.Bool(raw); ok {
		*to = v
	}
}

func setSeconds(to *time.Duration, raw []byte) {
	if d, ok := seconds(string(bytes.Trim(raw, `"`))); ok {
		*to = d
	}
}

// maxSeconds is about thirty years: more would not be a duration.
const maxSeconds = 1e9

func seconds(s string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f > 0 && f <= maxSeconds) {
		return 0, false
	}
	return max(time.Duration(f*float64(time.Second)), time.Nanosecond), true
}

// HeaderTTL is the s-maxage of a Cache-Control header, 0 when it has none.
func HeaderTTL(header []byte) time.Duration {
	for part := range bytes.SplitSeq(header, []byte{','}) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(part), []byte{'='})
		if bytes.EqualFold(name, []byte("s-maxage")) {
			d, _ := seconds(string(bytes.Trim(value, `"`)))
			return d
		}
	}
	return 0
}
