package join

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// Ballot is what a machine has promised while a cluster is formed. It is
// durable before anybody hears of it: a machine that restarts keeps its word.
type Ballot struct {
	Form   int    `json:"form"`
	NodeID string `json:"node_id"`

	// Epoch grows with every claim of this node to found the cluster and with
	// every claim it gives up. Founded is for good.
	Epoch    uint64 `json:"epoch,omitempty"`
	Claiming bool   `json:"claiming,omitempty"`
	Founded  bool   `json:"founded,omitempty"`

	// To is the one node that may found as far as this one is concerned, by its
	// claim of the epoch. Only that node can free this one of the promise: it may
	// have founded already and be silent.
	To      string `json:"to,omitempty"`
	ToEpoch uint64 `json:"to_epoch,omitempty"`
}

// Memo keeps the ballot. Save returns when it is durable.
type Memo interface {
	Ballot() (Ballot, error)
	SaveBallot(b Ballot) error
}

// Ballot is the one last kept, an empty one if there is none.
func (s *Store) Ballot() (Ballot, error) {
	var b Ballot
	text, err := os.ReadFile(s.path(ballotFile))
	if errors.Is(err, fs.ErrNotExist) {
		return b, nil
	}
	if err != nil {
		return b, fmt.Errorf("read what was promised while forming: %w", err)
	}
	return b, s.parse(ballotFile, text, &b, &b.Form)
}

// SaveBallot keeps the ballot.
func (s *Store) SaveBallot(b Ballot) error {
	b.Form = storeForm
	return s.writeJSON(ballotFile, b, 0o644)
}

// ballotBox is the ballot in use. A claim, a promise and the end of forming
// exclude each other.
type ballotBox struct {
	memo Memo

	// mu guards the ballot, also over its way to the disk: what is in it must be
	// durable before anything is decided by it.
	mu     sync.Mutex
	ballot Ballot
	closed bool // no more promises: this node has its cluster
}

func openBallotBox(memo Memo, node string) (*ballotBox, error) {
	b, err := memo.Ballot()
	if err != nil {
		return nil, err
	}
	if b.NodeID != node {
		b = Ballot{NodeID: node} // of another identity, whose promises died with it
	}
	return &ballotBox{memo: memo, ballot: b}, nil
}

func (x *ballotBox) read() Ballot {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.ballot
}

func (x *ballotBox) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
}

// change writes what edit makes of the ballot, if it says so. The answer is
// false, and nothing has changed, when it does not or the disk refuses.
func (x *ballotBox) change(edit func(b *Ballot) bool) (bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	next := x.ballot
	if x.closed || !edit(&next) {
		return false, nil
	}
	if next != x.ballot {
		if err := x.memo.SaveBallot(next); err != nil {
			return false, err
		}
		x.ballot = next
	}
	return true, nil
}

// claim takes this node's own promise for a claim, or goes on with the present
// one. It fails while the promise is another's.
func (x *ballotBox) claim(self string) (epoch uint64, ok bool, err error) {
	ok, err = x.change(func(b *Ballot) bool {
		if b.To == self && b.Claiming {
			return true
		}
		if b.To != "" {
			return false
		}
		b.Epoch++
		b.Claiming, b.To, b.ToEpoch = true, self, b.Epoch
		return true
	})
	return x.read().Epoch, ok, err
}

// release gives a claim up. The later epoch tells those who promised.
func (x *ballotBox) release() error {
	_, err := x.change(func(b *Ballot) bool {
		if !b.Claiming || b.Founded {
			return false
		}
		b.Epoch++
		b.Claiming, b.To, b.ToEpoch = false, "", 0
		return true
	})
	return err
}

// promise is the answer to another's claim. welcome tells whether this node
// knows no better candidate; a promise that is given is kept regardless.
func (x *ballotBox) promise(to string, epoch uint64, welcome bool) (bool, error) {
	return x.change(func(b *Ballot) bool {
		switch {
		case b.Founded, b.To == "" && !welcome, b.To != "" && b.To != to, b.To == to && epoch < b.ToEpoch:
			return false
		}
		b.To, b.ToEpoch = to, epoch
		return true
	})
}

// free lets go of a promise whose holder has moved on to a later epoch. Hearing
// of an earlier or the same one proves nothing: it may have been on its way
// since before the promise.
func (x *ballotBox) free(holder string, epoch uint64) error {
	_, err := x.change(func(b *Ballot) bool {
		if b.To != holder || b.Claiming || epoch <= b.ToEpoch {
			return false
		}
		b.To, b.ToEpoch = "", 0
		return true
	})
	return err
}

// found makes the claim of the epoch final.
func (x *ballotBox) found(epoch uint64) (bool, error) {
	return x.change(func(b *Ballot) bool {
		if !b.Claiming || b.Epoch != epoch {
			return false
		}
		b.Founded = true
		return true
	})
}
