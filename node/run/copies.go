package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"tollgate/cluster/members"
	"tollgate/cluster/peer"
	"tollgate/ledger/query"
	"tollgate/ledger/replica"
)

// copies are this node's ledger on another node, and other nodes' ledgers here.
type copies struct {
	book      string // the name of this node's ledger
	sender    *replica.Sender
	keeper    *replica.Keeper
	directory *replica.Directory
}

// openCopies comes after the database: what stands there needs no copy.
func (n *node) openCopies(background context.Context, group *errgroup.Group) error {
	book, err := n.ledger.BookID(n.identity.NodeID)
	if err != nil {
		return err
	}
	c := &copies{book: book}
	call := func(ctx context.Context, to string, payload []byte) ([]byte, error) {
		return n.port.Call(ctx, to, replica.Method, payload)
	}
	keeping := replica.KeeperConfig{
		Dir: n.o.path("copies"), MaxBytes: n.o.LedgerMax, KeepFor: n.keepEntries(), Users: n.userColumn, Shown: n.shownTo, Answers: n.toldTo, Whole: n.wholeInDatabase, Clock: n.clock, Logger: n.log,
		Lost: func(id string) bool {
			_, _, gone := n.cluster.Membership().Removed(id)
			return gone
		},
		Claim: func(ctx context.Context, book string) (replica.Verdict, error) { return c.directory.Claim(ctx, book) },
		Fatal: func(err error) {
			n.log.Error("a copy of another node's ledger cannot go on", "error", err)
			os.Exit(3) // the next start opens it anew
		},
	}
	if n.db != nil {
		keeping.Books = func(book string) replica.Books { return n.db.Sink(book) }
	}
	if c.keeper, err = replica.NewKeeper(keeping); err != nil {
		return fmt.Errorf("open the copies of other nodes' ledgers: %w", err)
	}
	c.directory = replica.NewDirectory(replica.DirectoryConfig{
		Self: n.identity.NodeID, Keeper: c.keeper, Others: n.othersAlive, Call: call, Clock: n.clock,
	})
	sending := replica.SenderConfig{
		Ledger: n.ledger, Book: book, View: n.copyView, Call: call, Mode: n.copyMode, Allow: n.permit, Clock: n.clock, Logger: n.log,
	}
	if n.db != nil {
		sending.Flushed = n.flushedUpTo
	}
	c.sender = replica.NewSender(sending)
	n.copies = c
	n.port.Handle(replica.Method, func(ctx context.Context, from string, payload []byte) ([]byte, error) {
		answer, err := c.keeper.Serve(ctx, from, payload)
		if err != nil {
			return nil, &peer.Error{Code: "copy_refused", Message: err.Error()}
		}
		return answer, nil
	})
	n.metrics.MustRegister(replica.Collector(c.sender, c.keeper))
	group.Go(func() error { return c.sender.Run(background) })
	group.Go(func() error { return c.keeper.Run(background) })
	return nil
}

func (n *node) copyMode() replica.Mode {
	if v := n.store.State().ActiveConfig(); v != nil && v.Config.Tollgate.LedgerReplicate != "" {
		return replica.Mode(v.Config.Tollgate.LedgerReplicate)
	}
	return replica.Async
}

// copyView is who there is to keep this node's copy.
func (n *node) copyView() replica.View {
	v := replica.View{Self: n.identity.NodeID}
	s := n.store.State()
	for _, m := range n.cluster.Membership().Nodes() {
		if m.Role != members.RoleWitness {
			v.Members = append(v.Members, replica.Member{
				ID: m.ID, Region: m.Region, Zone: m.Zone, Alive: m.ID == v.Self || n.place.alive(m.ID), Outside: leaves(s, n.o.Region, m.Region),
			})
		}
	}
	return v
}

func (n *node) othersAlive() []string {
	var ids []string
	for _, m := range n.otherLedgers() {
		if n.place.alive(m.ID) {
			ids = append(ids, m.ID)
		}
	}
	return ids
}

// flushedUpTo is the last entry of this node that stands in PostgreSQL.
func (n *node) flushedUpTo() uint64 {
	at := max(n.db.Stats().Positions[n.copies.book], n.flushedAtStart)
	// The database does not get the answers that are kept for repeated keys.
	if first, err := n.ledger.FirstAnswer(); err != nil {
		n.log.Warn("kept answers not looked for; copies may lack them", "error", err)
	} else if first > 0 {
		at = min(at, first-1)
	}
	return at
}

// handOverWithin is how long a node that leaves for good goes on looking for
// somebody to take its books.
const handOverWithin = 30 * time.Second

// handOver sees to it that nothing of the books is only here when the node
// leaves for good.
func (n *node) handOver() {
	ctx, cancel := context.WithTimeout(context.Background(), handOverWithin)
	defer cancel()
	if err := n.copies.sender.HandOver(ctx); err != nil && !errors.Is(err, replica.ErrNoPeer) {
		n.log.Error("the node leaves with rows of calls that nobody else has; they stay in its data directory", "error", err)
	}
}

// lostBooks are the ledgers of nodes that do not answer, from their copies.
func (n *node) lostBooks(heard map[string]bool) []query.Book {
	ctx, cancel := context.WithTimeout(context.Background(), lookForCopies)
	defer cancel()
	var books []query.Book
	for _, l := range n.copies.directory.Copies(ctx) {
		if heard[l.Holder] || l.Book == n.copies.book {
			continue
		}
		name := l.Holder
		if m, ok := n.cluster.Membership().Node(l.Holder); ok {
			name = m.Name
		}
		books = append(books, query.Book{Name: name, Query: n.copies.directory.Query(l), Copy: true})
		heard[l.Holder] = true
	}
	return books
}

// lookForCopies bounds the search for the copies of a node that is away.
const lookForCopies = 3 * time.Second
