package replica

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"tollgate/ledger/query"
	"tollgate/ledger/reader"
	"tollgate/ledger/store"
)

// Run looks after the copies until ctx ends: their upkeep, and the ledgers of
// nodes that were taken out of the cluster. What fails is tried again.
func (k *Keeper) Run(ctx context.Context) error {
	t := time.NewTicker(k.cfg.Every)
	defer t.Stop()
	said := map[string]string{}
	for {
		for _, c := range k.all() {
			err := k.look(ctx, c)
			switch {
			case err == nil || ctx.Err() != nil:
				delete(said, c.book)
			case said[c.book] != err.Error():
				said[c.book] = err.Error()
				k.log.Error("a copy is not looked after, it is tried again", "book", c.book, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
	}
}

func (k *Keeper) look(ctx context.Context, c *kept) error {
	var s store.CopyState
	err := c.use(func(cp *store.Copy) error {
		s = cp.State()
		return cp.Upkeep(k.cfg.Clock.Now())
	})
	if errors.Is(err, ErrNotKept) {
		return nil
	}
	if err == nil && s.Holder != "" && k.cfg.Lost(s.Holder) && (!s.Taken || k.cfg.Books != nil) {
		err = k.TakeOver(ctx, c.book)
	}
	return err
}

// takeOverWithin bounds one attempt to bring a copy to the database.
const takeOverWithin = 10 * time.Minute

// TakeOver does what is left to do for the ledger of a lost node. With a
// database the entries it lacks are brought there, then the calls that were in
// flight at their maximum, and the copy is dropped. Without one the copy is
// closed, and answers questions from then on. It may be repeated, and be done by
// several nodes: the database's cursor of the ledger takes each entry once.
func (k *Keeper) TakeOver(ctx context.Context, book string) error {
	c, err := k.get(book, false)
	if err != nil {
		return err
	}
	if k.cfg.Claim != nil {
		verdict, err := k.cfg.Claim(ctx, book)
		if err != nil {
			return fmt.Errorf("take over %s: %w", book, err)
		}
		switch verdict {
		case Theirs:
			return nil
		case Useless:
			return k.drop(c)
		}
	}
	ctx, end := context.WithTimeout(ctx, takeOverWithin)
	defer end()
	over := false
	err = c.use(func(cp *store.Copy) (err error) {
		if k.cfg.Books == nil {
			return k.close(book, cp)
		}
		over, err = k.bring(ctx, book, cp)
		return err
	})
	if err == nil && over {
		err = k.drop(c)
	}
	if err != nil {
		return fmt.Errorf("take over %s: %w", book, err)
	}
	return nil
}

func (k *Keeper) close(book string, cp *store.Copy) error {
	if cp.State().Taken {
		return nil
	}
	if err := cp.Take(); err != nil {
		return err
	}
	left, err := cp.Left()
	if err == nil {
		k.log.Info("the ledger of a lost node is taken over", "book", book, "up_to", cp.State().Position, "charged_at_maximum", len(left))
	}
	return err
}

// bring takes the copy to the database. over says that nothing is left in it.
func (k *Keeper) bring(ctx context.Context, book string, cp *store.Copy) (over bool, err error) {
	books, at := k.cfg.Books(book), cp.State().Position
	// The entries first: only they tell how far the database has to be.
	if err := k.deliver(ctx, cp.Ledger(), books, at); err != nil {
		return false, err
	}
	if err := k.close(book, cp); err != nil {
		return false, err
	}
	left, err := cp.Left()
	if err != nil {
		return false, err
	}
	done, err := books.TakeOver(ctx, at, left)
	if err != nil {
		return false, err
	}
	if !done {
		k.log.Warn("the database has more of a lost node's ledger than its copy: calls that were in flight are not booked", "book", book, "calls", len(left))
	}
	dead, err := cp.Ledger().CountDead(cursorBooks)
	if err != nil {
		return false, err
	}
	k.log.Info("the ledger of a lost node stands in the database", "book", book, "up_to", at, "charged_at_maximum", len(left), "refused", dead)
	return true, nil
}

// cursorBooks is the reader that takes a copy to the database.
const cursorBooks = "takeover"

// deliver brings the entries up to at that the database lacks.
func (k *Keeper) deliver(ctx context.Context, l *store.Ledger, books Books, at uint64) error {
	r := reader.New(l, cursorBooks, books, reader.Config{
		MaxEntries: 5000, MaxBytes: 8 << 20, Bodies: reader.RowBodies, Whole: k.cfg.Whole, Clock: k.cfg.Clock, Logger: k.log,
		// What lies behind was booked here, not by the node.
		Want: func(e *store.Entry) bool { return e.Seq <= at },
	})
	ctx, end := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx) }) // it ends with ctx only, and without an error
	err := r.Flush(ctx)
	end()
	wg.Wait()
	return err
}

// answer answers a node's question about spend from a copy; "" is this node.
func (k *Keeper) answer(ctx context.Context, from, book string, question []byte) (out []byte, err error) {
	c, err := k.get(book, false)
	if err != nil {
		return nil, err
	}
	err = c.use(func(cp *store.Copy) error {
		var q query.Query = query.NewEmbedded(cp.Ledger(), k.cfg.Users)
		if from != "" && k.cfg.Shown != nil {
			q = query.Within(q, func(r *query.Row) bool { return k.cfg.Shown(from, r) })
		}
		out, err = query.Serve(ctx, q, question)
		return err
	})
	return out, err
}

// Book answers questions about spend from a copy that is here.
func (k *Keeper) Book(book string) query.Query {
	return query.NewRemote(func(ctx context.Context, question []byte) ([]byte, error) { return k.answer(ctx, "", book, question) })
}

// Find gives a call's entry with its bodies from the copies that are here, nil
// when none has it.
func (k *Keeper) Find(call store.CallID) (found *store.Entry, err error) {
	for _, c := range k.all() {
		err := c.use(func(cp *store.Copy) error {
			l := cp.Ledger()
			if err := l.CatchUp(); err != nil {
				return err
			}
			e, err := l.ByCall(call)
			if err != nil || e == nil {
				return err
			}
			found = e
			return l.LoadCallbackBodies(e)
		})
		if err != nil && !errors.Is(err, ErrNotKept) {
			return nil, fmt.Errorf("look for a call in the copy of %s: %w", c.book, err)
		}
		if found != nil {
			return found, nil
		}
	}
	return nil, nil
}
