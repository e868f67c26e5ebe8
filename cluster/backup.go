package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

// Backup writes a snapshot of the replicated state: all that is applied here,
// secrets sealed, in the form that Restore and fsm.Verify read.
func (n *Node) Backup(ctx context.Context, w io.Writer) error {
	r, err := n.openSnapshot(ctx)
	if err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	_, err = io.Copy(w, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("back up: %w", err)
	}
	return nil
}

// openSnapshot takes a snapshot, or finds that the last one has everything.
func (n *Node) openSnapshot(ctx context.Context) (io.ReadCloser, error) {
	f := n.raft.Snapshot()
	err := wait(ctx, f)
	if err == nil {
		_, r, err := f.Open()
		return r, err
	}
	if !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return nil, err
	}
	list, err := n.snaps.List()
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, errors.New("there is nothing to back up yet")
	}
	_, r, err := n.snaps.Open(list[0].ID)
	return r, err
}
