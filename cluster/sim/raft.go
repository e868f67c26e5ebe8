package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/hashicorp/raft"
)

// raftTransport carries raft's calls. It offers no pipeline: raft then sends one
// entry message after the other, which is what the delays are meant for.
type raftTransport struct {
	life  *Life
	inbox chan raft.RPC
}

var _ Transport = (*raftTransport)(nil)

// errSilent is what a call into a cut ends with.
var errSilent = errors.New("i/o timeout")

// Consumer is where calls of others arrive.
func (t *raftTransport) Consumer() <-chan raft.RPC { return t.inbox }

// LocalAddr is the host's id.
func (t *raftTransport) LocalAddr() raft.ServerAddress { return raft.ServerAddress(t.life.host.ID) }

// AppendEntriesPipeline is not offered.
func (t *raftTransport) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

// AppendEntries carries entries and heartbeats.
func (t *raftTransport) AppendEntries(_ raft.ServerID, to raft.ServerAddress, args *raft.AppendEntriesRequest, resp *raft.AppendEntriesResponse) error {
	return carry(t, to, args, nil, resp)
}

// RequestVote asks for a vote.
func (t *raftTransport) RequestVote(_ raft.ServerID, to raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	return carry(t, to, args, nil, resp)
}

// RequestPreVote asks whether a vote would be given.
func (t *raftTransport) RequestPreVote(_ raft.ServerID, to raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	return carry(t, to, args, nil, resp)
}

// InstallSnapshot carries a snapshot as a whole.
func (t *raftTransport) InstallSnapshot(_ raft.ServerID, to raft.ServerAddress, args *raft.InstallSnapshotRequest, resp *raft.InstallSnapshotResponse, data io.Reader) error {
	whole, err := io.ReadAll(io.LimitReader(data, args.Size))
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	return carry(t, to, args, bytes.NewReader(whole), resp)
}

// TimeoutNow asks to begin an election.
func (t *raftTransport) TimeoutNow(_ raft.ServerID, to raft.ServerAddress, args *raft.TimeoutNowRequest, resp *raft.TimeoutNowResponse) error {
	return carry(t, to, args, nil, resp)
}

// carry brings a call there and its answer back.
func carry[R any](t *raftTransport, to raft.ServerAddress, args any, data io.Reader, resp *R) error {
	ctx, cancel := context.WithTimeout(t.life.ctx, raftTransportTimeout(args))
	defer cancel()
	self, net := t.life.host.ID, t.life.host.net
	if !t.travel(ctx, self, string(to)) {
		return errSilent
	}
	there := net.running(string(to))
	if there == nil {
		return fmt.Errorf("dial %s: connection refused", to)
	}
	answer := make(chan raft.RPCResponse, 1)
	rpc := raft.RPC{Command: args, RespChan: answer}
	if data != nil {
		rpc.Reader = data
	}
	select {
	case there.raft.inbox <- rpc:
	case <-there.ctx.Done():
		return io.ErrUnexpectedEOF
	case <-ctx.Done():
		return errSilent
	}
	var got raft.RPCResponse
	select {
	case got = <-answer:
	case <-there.ctx.Done():
		return io.ErrUnexpectedEOF
	case <-ctx.Done():
		return errSilent
	}
	if !t.travel(ctx, string(to), self) {
		return errSilent
	}
	if got.Error != nil {
		return got.Error
	}
	r, ok := got.Response.(*R)
	if !ok {
		return fmt.Errorf("answer of %s is a %T", to, got.Response)
	}
	*resp = *r
	return nil
}

// travel waits for one way; it is false when nothing arrives, after as long as
// it takes to notice.
func (t *raftTransport) travel(ctx context.Context, from, to string) bool {
	d, arrives := t.life.host.net.hop(Raft, from, to)
	if !arrives {
		<-ctx.Done()
		return false
	}
	return pause(ctx, d)
}

// pause waits; it is false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// raftTransportTimeout is longer for snapshots, as it is for real ones.
func raftTransportTimeout(args any) time.Duration {
	if _, ok := args.(*raft.InstallSnapshotRequest); ok {
		return 10 * raftTimeout
	}
	return raftTimeout
}

// EncodePeer is the address.
func (t *raftTransport) EncodePeer(_ raft.ServerID, addr raft.ServerAddress) []byte {
	return []byte(addr)
}

// DecodePeer is the address.
func (t *raftTransport) DecodePeer(data []byte) raft.ServerAddress { return raft.ServerAddress(data) }

// SetHeartbeatHandler takes the fast path for heartbeats: it is not offered.
func (t *raftTransport) SetHeartbeatHandler(func(raft.RPC)) {}

// Close ends nothing: the run's end does.
func (t *raftTransport) Close() error { return nil }
