// Command bench measures a node against a bare fasthttp forwarder in one run:
// processor time per request and per stream, added latency, first-chunk delay
// and memory, all on loopback, and prints the ratios with the figures to reach.
//
//	go run ./bench                  everything, about two minutes
//	go run ./bench -only chat       one part: chat, several, stream, latency, chunks, memory, keys
//	go run ./bench -only chat -profile cpu.out   with a CPU profile of the node
//	go run ./bench -only region -keys 100000     three nodes, 100,000 keys used once a minute, beside nginx
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

type options struct {
	seconds  time.Duration
	passes   int
	clients  int
	rate     float64
	keys     int
	minutes  int
	minute   time.Duration
	only     string
	profile  string
	sync     string
	binary   string
	strategy string
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] { // the children
		case "mock":
			serveMock(os.Args[2])
			return
		case "forward":
			serveForwarder(os.Args[2], os.Args[3])
			return
		case "spread":
			runSpreadChild(os.Args[2:])
			return
		case "load":
			runLoadChild(os.Args[2:])
			return
		}
	}
	var o options
	flag.DurationVar(&o.seconds, "time", 5*time.Second, "length of one pass")
	flag.IntVar(&o.passes, "passes", 3, "passes per target, in shuffled order")
	flag.IntVar(&o.clients, "clients", 16, "connections at once")
	flag.Float64Var(&o.rate, "rate", 0, "calls a second in chat and stream; 0: as many as are answered")
	flag.IntVar(&o.keys, "keys", 0, "region: how many keys are used once a minute each; 0 leaves it out")
	flag.IntVar(&o.minutes, "minutes", 2, "region: how many minutes")
	flag.DurationVar(&o.minute, "minute", time.Minute, "region: how long a minute is, for trials")
	flag.StringVar(&o.only, "only", "", "one part: chat, several, stream, latency, chunks, memory, keys, region")
	flag.StringVar(&o.profile, "profile", "", "write a CPU profile of the node under the part's load to this file")
	flag.StringVar(&o.sync, "sync", "process", "ledger.sync of the node: process or always")
	flag.StringVar(&o.strategy, "strategy", "simple-shuffle", "routing_strategy of the node, for the part several")
	flag.StringVar(&o.binary, "binary", "bin/tollgate", "the node's program")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	if _, err := os.Stat(o.binary); err != nil {
		return fmt.Errorf("%s is not built: run make build", o.binary)
	}
	fmt.Printf("%s, %d cores, %s, ledger.sync: %s, load average %s\n", runtime.Version(), runtime.NumCPU(), runtime.GOARCH, o.sync, loadAverage())
	s, err := start(o)
	if err != nil {
		return err
	}
	defer s.stop()
	parts := []struct {
		name string
		run  func(*stage, options) error
	}{
		{"memory", measureMemory}, {"chat", measureChat}, {"several", measureSeveral}, {"stream", measureStream},
		{"latency", measureLatency}, {"chunks", measureChunks}, {"keys", measureKeys}, {"region", measureRegion},
	}
	for _, p := range parts {
		if o.only != "" && o.only != p.name {
			continue
		}
		if err := p.run(s, o); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func loadAverage() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(b))[:3], " ")
}

// pinned prefixes a command so that it runs on one core, where taskset exists.
func pinned(core int, name string, args ...string) *exec.Cmd {
	if path, err := exec.LookPath("taskset"); err == nil && runtime.NumCPU() > 1 {
		return exec.Command(path, append([]string{"-c", fmt.Sprint(core), name}, args...)...)
	}
	return exec.Command(name, args...)
}
