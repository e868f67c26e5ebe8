package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// spreadClients is how many calls may be under way at once: far more than are,
// unless a target falls behind its rate.
const spreadClients = 128

// runSpreadChild sends calls at a steady rate, each with the next key to a random
// one of the targets. Time is counted from when a call was due: a target that
// falls behind cannot hide it.
func runSpreadChild(args []string) {
	f := flag.NewFlagSet("spread", flag.ExitOnError)
	urls := f.String("urls", "", "")
	file := f.String("keys", "", "")
	rate := f.Float64("rate", 100, "")
	length := f.Duration("time", time.Second, "")
	_ = f.Parse(args)
	keys := []string{"sk-upstream"}
	if *file != "" {
		raw, err := os.ReadFile(*file)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		keys = strings.Split(string(raw), "\n")
	}
	s := spreader{addrs: strings.Split(strings.ReplaceAll(*urls, "http://", ""), ","), keys: keys, body: fmt.Sprintf(prompt, oneDeployment, "bench", ""),
		every: time.Duration(float64(time.Second) / *rate), begin: time.Now().Add(100 * time.Millisecond), length: *length}
	var mu sync.Mutex
	var total result
	var crew sync.WaitGroup
	for range spreadClients {
		crew.Go(func() {
			r := s.client()
			mu.Lock()
			defer mu.Unlock()
			total.Requests += r.Requests
			total.Failures += r.Failures
			total.Latency = append(total.Latency, r.Latency...)
			if total.First == "" {
				total.First = r.First
			}
		})
	}
	crew.Wait()
	total.Elapsed = time.Since(s.begin)
	slices.Sort(total.Latency)
	_ = json.NewEncoder(os.Stdout).Encode(total)
}

type spreader struct {
	addrs  []string
	keys   []string
	body   string
	every  time.Duration
	begin  time.Time
	length time.Duration
	next   atomic.Int64
}

func (s *spreader) client() (r result) {
	conns := make([]net.Conn, len(s.addrs))
	readers := make([]*bufio.Reader, len(s.addrs))
	var req []byte
	for {
		i := s.next.Add(1) - 1
		due := s.begin.Add(time.Duration(i) * s.every)
		if due.Sub(s.begin) >= s.length {
			break
		}
		time.Sleep(time.Until(due))
		r.Requests++
		n := rand.IntN(len(s.addrs))
		if conns[n] == nil {
			c, err := net.Dial("tcp", s.addrs[n])
			if err != nil {
				r.fail(err)
				continue
			}
			conns[n], readers[n] = c, bufio.NewReaderSize(c, 8<<10)
		}
		req = fmt.Appendf(req[:0], "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			s.addrs[n], s.keys[int(i)%len(s.keys)], len(s.body), s.body)
		_, err := conns[n].Write(req)
		if err == nil {
			err = readAnswer(readers[n], false, &r)
		}
		if err != nil {
			r.fail(err)
			_ = conns[n].Close()
			conns[n] = nil
			continue
		}
		r.Latency = append(r.Latency, time.Since(due))
	}
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
	return r
}

func (r *result) fail(err error) {
	r.Failures++
	if r.First == "" {
		r.First = err.Error()
	}
}
