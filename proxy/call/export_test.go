package call

import (
	"time"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/ledger/store"
	"tollgate/proxy/upstream"
)

// BoundSeries sets how many series keys have before they are counted together.
func (m *Metrics) BoundSeries(most int) { m.table.most = most }

// Count counts one answered call of a key.
func (m *Metrics) Count(k *model.Key, requested string, d *state.Deployment) {
	c := call{}
	c.principal.Key, c.req.model, c.served.Deployment = k, requested, d
	c.start = time.Unix(0, 0)
	c.endAt, c.cost.Priced = c.start.Add(time.Second), true
	c.exchange, c.sentAt, c.firstAt = &upstream.Exchange{}, c.start, c.endAt
	m.observe(&c, &outcome{status: store.Success})
}
