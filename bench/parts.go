package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

// measureCPU runs passes on both targets in shuffled order and prints the
// processor time per request of each, the median of its passes.
func measureCPU(s *stage, o options, what, group, wish string, limit float64) error {
	if o.profile != "" {
		done := make(chan error, 1)
		go func() { done <- s.takeProfile(o) }()
		defer func() {
			if err := <-done; err != nil {
				fmt.Println("profile:", err)
			}
		}()
	}
	forwarder, node := s.targets()
	node.group = group
	micros := map[string][]float64{}
	rate := map[string][]float64{}
	order := []target{}
	for range o.passes {
		order = append(order, forwarder, node)
	}
	rand.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	for _, t := range append([]target{forwarder, node}, order...) { // the first of each warms up
		err := s.alone(t, func() error {
			before := cpu(t.cmd.Process.Pid)
			r, err := s.load(t, o.clients, o.seconds, wish, o.rate)
			if err != nil {
				return err
			}
			used := cpu(t.cmd.Process.Pid) - before
			micros[t.name] = append(micros[t.name], float64(used.Microseconds())/float64(r.Requests))
			rate[t.name] = append(rate[t.name], float64(r.Requests)/r.Elapsed.Seconds())
			return nil
		})
		if err != nil {
			return err
		}
	}
	f, n := median(micros[forwarder.name][1:]), median(micros[node.name][1:])
	fmt.Printf("%-8s forwarder %6.1f µs (%5.0f/s)   tollgate %6.1f µs (%5.0f/s)   ratio %.2f (to reach: ≤ %.1f)   passes %s / %s\n",
		what, f, median(rate[forwarder.name][1:]), n, median(rate[node.name][1:]), n/f, limit, floats(micros[forwarder.name][1:]), floats(micros[node.name][1:]))
	return nil
}

func measureChat(s *stage, o options) error {
	return measureCPU(s, o, "chat", oneDeployment, "", chatLimit(o))
}

// measureSeveral is a chat call to a group of which a deployment has to be chosen.
func measureSeveral(s *stage, o options) error {
	return measureCPU(s, o, "several", severalDeployments, "", chatLimit(o))
}

func chatLimit(o options) float64 {
	if o.sync == "always" {
		return 3.5
	}
	return 2.2
}

func measureStream(s *stage, o options) error {
	return measureCPU(s, o, "stream20", oneDeployment, "20:0", 1.6)
}

// measureLatency sends one request at a time, the targets taking turns in
// random order, and compares each with the upstream itself.
func measureLatency(s *stage, o options) error {
	forwarder, node := s.targets()
	direct := target{name: "direct", url: s.mockURL, key: "sk", group: oneDeployment}
	ts := []target{direct, forwarder, node}
	all := map[string][]time.Duration{}
	for range 8 {
		rand.Shuffle(len(ts), func(i, j int) { ts[i], ts[j] = ts[j], ts[i] })
		for _, t := range ts {
			r, err := s.load(t, 1, o.seconds/5, "", 0)
			if err != nil {
				return err
			}
			all[t.name] = append(all[t.name], r.Latency...)
		}
	}
	at := func(name string, p float64) time.Duration {
		slices.Sort(all[name])
		return all[name][int(float64(len(all[name]))*p)]
	}
	fmt.Printf("latency  added p50: forwarder %v, tollgate %v (to reach: ≤ %s); added p99: forwarder %v, tollgate %v\n",
		at("forwarder", .5)-at("direct", .5), at("tollgate", .5)-at("direct", .5), map[string]string{"process": "250µs", "always": "500µs"}[o.sync],
		at("forwarder", .99)-at("direct", .99), at("tollgate", .99)-at("direct", .99))
	return nil
}

// measureChunks times each chunk of a slow stream from the mock's write to the
// client's read, and counts that none was lost.
func measureChunks(s *stage, o options) error {
	forwarder, node := s.targets()
	for _, t := range []target{forwarder, node} {
		r, err := s.load(t, 1, o.seconds, "64:20", 0)
		if err != nil {
			return err
		}
		want := r.Ended * 64
		fmt.Printf("chunks   %-9s %d of %d chunks, delay p50 %v, p99 %v (to reach: ≤ 1ms, none held)\n", t.name, r.Chunks, want, r.percentile(.5), r.percentile(.99))
	}
	return nil
}

// measureMemory is resident memory at rest and per stream held open.
func measureMemory(s *stage, _ options) error {
	const streams = 1000
	_, node := s.targets()
	pid := node.cmd.Process.Pid
	fmt.Printf("memory   idle %.1f MiB (to reach: ≤ 60)\n", float64(rss(pid))/(1<<20))
	forwarder, _ := s.targets()
	for _, t := range []target{forwarder, node} {
		// One wave first, so that what is kept for reuse is not counted.
		before := rss(t.cmd.Process.Pid)
		cmd, err := s.background(t, streams, "600:100")
		if err != nil {
			return err
		}
		time.Sleep(6 * time.Second)
		open := rss(t.cmd.Process.Pid)
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
		fmt.Printf("memory   %-9s %.1f KiB per open stream, %d open (to reach: ≤ 40)\n", t.name, float64(open-before)/streams/1024, streams)
		time.Sleep(time.Second)
	}
	return nil
}

// takeProfile fetches a CPU profile from the node's pprof listener.
func (s *stage) takeProfile(o options) error {
	args := s.node.Args
	i := slices.Index(args, "--pprof-listen")
	if i < 0 {
		return fmt.Errorf("the node has no pprof listener")
	}
	return fetchProfile(args[i+1], o.profile, time.Duration(2*o.passes)*o.seconds)
}

func fetchProfile(addr, path string, length time.Duration) error {
	res, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", addr, max(1, int(length.Seconds()))))
	if err != nil {
		return err
	}
	defer res.Body.Close()
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(f, res.Body)
	return err
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

func floats(v []float64) string {
	out := make([]string, len(v))
	for i, f := range v {
		out[i] = fmt.Sprintf("%.0f", f)
	}
	return strings.Join(out, ",")
}
