package admin_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/proxy/admin"
)

// A key that somebody else deletes before the answer is written was changed all
// the same: others may have seen it so.
func TestChangeThatWasMadeIsAnsweredSoAlsoWhenTheKeyIsGone(t *testing.T) {
	for route, body := range map[string]string{"/key/update": `{"key":"sk-one","key_alias":"new"}`, "/key/block": `{"key":"sk-one"}`, "/key/unblock": `{"key":"sk-one"}`} {
		t.Run(route, func(t *testing.T) {
			w := newWorld(t, nil)
			_, hash := w.key(`{"key":"sk-one"}`)
			d := w.a.Deps
			d.Mutate = func(ctx context.Context, m model.Mutation) (model.Result, error) {
				r, err := w.mutate(ctx, m)
				if err == nil {
					_, err = w.mutate(ctx, model.Mutation{ID: "deleted by another", Changes: []model.Change{model.Delete(model.Keys, hash, nil)}})
				}
				return r, err
			}
			var err error
			w.a, err = admin.New(d)
			require.NoError(t, err)
			require.Equal(t, hash, w.post(route, body).ok()["token"])
			w.post(route, body).refused(404)
		})
	}
}
