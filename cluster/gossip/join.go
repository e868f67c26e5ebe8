package gossip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

const (
	// rejoinEvery is how often members that do not seem alive are tried.
	rejoinEvery = 10 * time.Second
	// rejoinAtOnce is how many of them, each time.
	rejoinAtOnce = 3
	// silence is how long a member that counts as alive may say nothing before it
	// is greeted anew: it may have missed that this node exists.
	silence = 10 * time.Second
)

// Join exchanges states with the peers ("id/host:port") and gives the number it
// reached; an error means none. It waits for Run to have begun.
func (p *Pool) Join(ctx context.Context, peers []string) (int, error) {
	select {
	case <-p.started:
	case <-ctx.Done():
		return 0, fmt.Errorf("join gossip: %w", ctx.Err())
	case <-p.closing:
		return 0, ErrClosed
	}
	ml := p.list.Load()
	if ml == nil {
		return 0, ErrClosed
	}
	var targets []string
	var errs []error
	for _, peer := range peers {
		found, err := resolve(ctx, peer)
		if err != nil {
			errs = append(errs, err)
		}
		targets = append(targets, found...)
	}
	if len(targets) == 0 {
		return 0, errors.Join(errs...)
	}
	type outcome struct {
		n   int
		err error
	}
	done := make(chan outcome, 1)
	go func() { // ends with memberlist's own timeout when the context is shorter
		n, err := ml.Join(targets)
		done <- outcome{n, err}
	}()
	select {
	case o := <-done:
		if o.n > 0 {
			return o.n, nil
		}
		return 0, errors.Join(append(errs, o.err)...)
	case <-ctx.Done():
		return 0, fmt.Errorf("join gossip by %s: %w", strings.Join(peers, ", "), ctx.Err())
	}
}

// resolve turns "id/host:port" into "id/ip:port", one for each address of the
// host. memberlist would first ask a name server over TCP for everything.
func resolve(ctx context.Context, peer string) ([]string, error) {
	id, addr, ok := strings.Cut(peer, "/")
	if !ok || id == "" {
		return nil, fmt.Errorf("gossip peer %q is not of the form id/host:port", peer)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("gossip peer %q: %w", peer, err)
	}
	if ip := net.ParseIP(host); ip != nil {
		return []string{peer}, nil
	}
	ips, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("gossip peer %q: %w", peer, err)
	}
	var out []string
	for _, ip := range ips {
		out = append(out, id+"/"+net.JoinHostPort(ip, port))
	}
	return out, nil
}

// rejoin looks for members that do not seem alive, and greets those that seem
// alive and say nothing.
func (p *Pool) rejoin(ctx context.Context) {
	if p.cfg.Peers == nil {
		return
	}
	for {
		if !p.leaving.Load() {
			p.rejoinOnce(ctx)
		}
		pause := time.NewTimer(rejoinEvery - time.Duration(rand.Int64N(int64(rejoinEvery/4))))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
		}
	}
}

func (p *Pool) rejoinOnce(ctx context.Context) {
	var missing []string
	for _, peer := range p.cfg.Peers() {
		id, _, _ := strings.Cut(peer, "/")
		if id != p.self && p.missed(id) {
			missing = append(missing, peer)
		}
	}
	rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
	for _, peer := range missing[:min(len(missing), rejoinAtOnce)] {
		id, _, _ := strings.Cut(peer, "/")
		if !p.missed(id) {
			continue // the last one brought it along
		}
		// Two nodes that gave each other up learn of it by the first exchange, and
		// their answers to that need a second one to be heard.
		for range 2 {
			if _, err := p.Join(ctx, []string{peer}); err != nil {
				if ctx.Err() == nil {
					p.log.Debug("member not reached", "peer", peer, "error", err)
				}
				break
			}
			if !p.missed(id) {
				p.log.Debug("member found again", "peer", peer)
				break
			}
		}
	}
}

func (p *Pool) missed(id string) bool {
	return p.table.current.Load().nodes[id] == nil || p.table.silent(id, silence)
}

// Leave tells the others that this node goes in order, so that they do not take
// it for dead. Afterwards it says no more; Close follows.
func (p *Pool) Leave(timeout time.Duration) error {
	ml := p.list.Load()
	select {
	case <-p.ended:
		return ErrClosed
	case <-p.closing:
		return ErrClosed
	default:
	}
	if ml == nil {
		return ErrClosed
	}
	if p.leaving.Swap(true) {
		return nil
	}
	if err := p.Relay(KindLeaving, nil); err != nil {
		p.log.Debug("leaving not told to all", "error", err)
	}
	if err := ml.Leave(timeout); err != nil {
		return fmt.Errorf("leave gossip: %w", err)
	}
	return nil
}
