package run

import (
	"context"

	"tollgate/cluster/peer"
	"tollgate/ledger/query"
	"tollgate/ledger/verify"
)

// methodQuery asks a node what stands in its own ledger.
const methodQuery = "ledger.query"

// openQuery makes what answers questions about spend: this node's ledger and
// those of the others as if they were one.
func (n *node) openQuery() query.Query {
	own := query.NewEmbedded(n.ledger, n.userColumn)
	n.port.Handle(methodQuery, func(ctx context.Context, from string, payload []byte) ([]byte, error) {
		shown := query.Within(own, func(r *query.Row) bool { return n.shownTo(from, r) })
		answer, err := query.Serve(ctx, shown, payload)
		if err != nil {
			return nil, &peer.Error{Code: "bad_request", Message: err.Error()}
		}
		return answer, nil
	})
	ledgers := query.NewJoined(func() []query.Book {
		books := []query.Book{{Name: n.o.Name, Query: own}}
		heard := map[string]bool{n.identity.NodeID: true}
		for _, m := range n.otherLedgers() {
			if n.place.alive(m.ID) {
				books = append(books, query.Book{Name: m.Name, Query: n.remoteBook(m.ID)})
				heard[m.ID] = true
			}
		}
		books = append(books, n.lostBooks(heard)...)
		for _, m := range n.otherLedgers() {
			if !heard[m.ID] {
				books = append(books, query.Book{Name: m.Name})
			}
		}
		return books
	})
	n.verify = verify.Books{Ledger: n.ledger, Ledgers: ledgers}
	if n.db == nil {
		return n.shownHere(ledgers)
	}
	n.port.Handle(methodSettle, func(ctx context.Context, _ string, _ []byte) ([]byte, error) { return nil, n.settleOwn(ctx) })
	db := query.NewPostgres(query.PostgresConfig{Pool: n.db.Queries(), Settle: query.SettleAll(n.tails)})
	n.verify.Database = db
	return n.shownHere(query.NewFallback(db, ledgers, n.clock, n.log))
}

func (n *node) remoteBook(id string) query.Query {
	return query.NewRemote(func(ctx context.Context, payload []byte) ([]byte, error) {
		return n.port.Call(ctx, id, methodQuery, payload)
	})
}

func (n *node) userColumn() query.UserColumn {
	return query.UserColumn(n.store.State().Routing.Config.Tollgate.UserColumn)
}
