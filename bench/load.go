package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

func indexOf(b []byte, s string) int { return bytes.Index(b, []byte(s)) }

// result is what one run of the load child found.
type result struct {
	Requests int
	Failures int
	Elapsed  time.Duration
	Latency  []time.Duration // sorted; of whole answers, or of single chunks
	Chunks   int
	Ended    int    // streams that came to their [DONE]
	First    string // what the first failure was
}

func (r *result) percentile(p float64) time.Duration {
	if len(r.Latency) == 0 {
		return 0
	}
	return r.Latency[min(int(float64(len(r.Latency))*p), len(r.Latency)-1)]
}

// load runs the load child on core 1 and reads its result.
func (s *stage) load(t target, clients int, length time.Duration, wish string, rate float64) (*result, error) {
	cmd := pinned(1, s.self, "load", "-url", t.url, "-key", t.key, "-group", t.group, "-clients", strconv.Itoa(clients),
		"-time", length.String(), "-wish", wish, "-rate", strconv.FormatFloat(rate, 'f', -1, 64))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("load on %s: %w", t.name, err)
	}
	var r result
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, fmt.Errorf("load on %s: %w", t.name, err)
	}
	if r.Failures > 0 {
		return nil, fmt.Errorf("load on %s: %d of %d calls failed", t.name, r.Failures, r.Requests)
	}
	return &r, nil
}

// background starts a load that holds its streams open until killed.
func (s *stage) background(t target, clients int, wish string) (*exec.Cmd, error) {
	cmd := pinned(1, s.self, "load", "-url", t.url, "-key", t.key, "-group", t.group, "-clients", strconv.Itoa(clients), "-time", "60s", "-wish", wish)
	return cmd, cmd.Start()
}

const prompt = `{"model":"%s","messages":[{"role":"system","content":"You are a terse assistant that answers in one sentence and never explains itself. Stay on the subject, use plain words, and do not repeat the question. If you do not know, say so. Prefer figures to adjectives."},{"role":"user","content":"What does the fox do to the dog, and does the dog mind? Answer for the four seasons of the year, shortly, in the order winter, spring, summer, autumn, and say whether any of it depends on the weather, the breed of the dog or the time of day."}],"temperature":0.7,"max_tokens":64,"user":"%s"%s}`

func runLoadChild(args []string) {
	f := flag.NewFlagSet("load", flag.ExitOnError)
	url := f.String("url", "", "")
	key := f.String("key", "", "")
	group := f.String("group", oneDeployment, "")
	clients := f.Int("clients", 1, "")
	length := f.Duration("time", time.Second, "")
	wish := f.String("wish", "", "")
	rate := f.Float64("rate", 0, "calls a second of all clients; 0: as fast as they can")
	_ = f.Parse(args)
	stream := ""
	user := "bench"
	if *wish != "" {
		stream, user = `,"stream":true`, "stream:"+*wish
	}
	body := fmt.Sprintf(prompt, *group, user, stream)
	addr := strings.TrimPrefix(*url, "http://")
	req := fmt.Appendf(nil, "POST /v1/chat/completions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", addr, *key, len(body), body)
	var mu sync.Mutex
	var total result
	var wg sync.WaitGroup
	begin := time.Now()
	for i := range *clients {
		wg.Go(func() {
			var p pace
			if *rate > 0 {
				every := time.Duration(float64(*clients) / *rate * float64(time.Second))
				p = pace{every: every, next: begin.Add(every * time.Duration(i) / time.Duration(*clients))}
			}
			r := oneClient(addr, req, begin.Add(*length), *wish != "", p)
			mu.Lock()
			defer mu.Unlock()
			total.Requests += r.Requests
			total.Failures += r.Failures
			total.Chunks += r.Chunks
			total.Ended += r.Ended
			total.Latency = append(total.Latency, r.Latency...)
		})
	}
	wg.Wait()
	total.Elapsed = time.Since(begin)
	slices.Sort(total.Latency)
	if len(total.Latency) > 20000 { // keep the shape, not every sample
		kept := make([]time.Duration, 0, 20000)
		for i := range 20000 {
			kept = append(kept, total.Latency[i*len(total.Latency)/20000])
		}
		total.Latency = kept
	}
	_ = json.NewEncoder(os.Stdout).Encode(total)
}

// pace spaces one client's calls; the zero pace is none.
type pace struct {
	every time.Duration
	next  time.Time
}

// wait returns when the next call is due, at once when it is overdue.
func (p *pace) wait() {
	if p.every == 0 {
		return
	}
	time.Sleep(time.Until(p.next))
	p.next = p.next.Add(p.every)
}

// oneClient sends the same request over one connection until the time is up.
func oneClient(addr string, req []byte, until time.Time, streaming bool, p pace) (r result) {
	var conn net.Conn
	var br *bufio.Reader
	for time.Now().Before(until) {
		if conn == nil {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				r.Requests++
				r.Failures++
				return r
			}
			conn, br = c, bufio.NewReaderSize(c, 32<<10)
		}
		p.wait()
		r.Requests++
		at := time.Now()
		if _, err := conn.Write(req); err != nil {
			r.Failures++
			conn.Close()
			conn = nil
			continue
		}
		if err := readAnswer(br, streaming, &r); err != nil {
			r.Failures++
			conn.Close()
			conn = nil
			continue
		}
		if !streaming {
			r.Latency = append(r.Latency, time.Since(at))
		}
	}
	if conn != nil {
		conn.Close()
	}
	return r
}

func readAnswer(br *bufio.Reader, streaming bool, r *result) error {
	length, chunked := 0, false
	for first := true; ; first = false {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first && !bytes.Contains(line, []byte(" 200")) {
			return fmt.Errorf("status %s", line)
		}
		if len(line) == 0 {
			break
		}
		if v, ok := bytes.CutPrefix(bytes.ToLower(line), []byte("content-length:")); ok {
			length, _ = strconv.Atoi(string(bytes.TrimSpace(v)))
		}
		chunked = chunked || bytes.EqualFold(line, []byte("transfer-encoding: chunked"))
	}
	if !chunked {
		_, err := br.Discard(length)
		return err
	}
	var tail []byte
	for {
		line, err := br.ReadSlice('\n')
		if err != nil {
			return err
		}
		n, err := strconv.ParseInt(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return err
		}
		if n == 0 {
			if _, err := br.Discard(2); err != nil {
				return err
			}
			if streaming && !bytes.HasSuffix(tail, []byte("data: [DONE]\n\n")) {
				return fmt.Errorf("stream without its end")
			}
			r.Ended++
			return nil
		}
		data := make([]byte, n+2)
		if _, err := readFull(br, data); err != nil {
			return err
		}
		r.stamp(data)
		tail = data[:n]
	}
}

func readFull(br *bufio.Reader, p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := br.Read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// stamp takes the sending times out of the chunks that have arrived.
func (r *result) stamp(data []byte) {
	now := time.Now().UnixNano()
	for {
		i := bytes.Index(data, []byte(`"content":"1`))
		if i < 0 {
			return
		}
		data = data[i+len(`"content":"`):]
		if j := bytes.IndexByte(data, '"'); j > 0 {
			if at, err := strconv.ParseInt(string(data[:j]), 10, 64); err == nil {
				r.Chunks++
				r.Latency = append(r.Latency, time.Duration(now-at))
			}
		}
	}
}
