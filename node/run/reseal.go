package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"tollgate/cluster/members"
	"tollgate/config/file"
	"tollgate/config/model"
)

// reseal seals every secret of the state anew that is not under the newest data
// key yet, and tells how many objects that were. It may be repeated; what others
// change meanwhile is left to the next time.
func (n *node) reseal(ctx context.Context) (count int, err error) {
	s := n.store.State()
	var changes []model.Change
	for _, v := range s.ConfigHistory() {
		next, err := n.resealed(v)
		if err != nil {
			return count, err
		}
		if next != nil {
			changes = append(changes, model.Put(model.Configs, next, model.Version(v.EntityVersion())))
		}
	}
	for _, m := range s.Models.Sorted() {
		if newest(n, m) {
			continue
		}
		open, err := n.box.OpenDeployment(&m.Deployment)
		if err != nil {
			return count, err
		}
		next := *m
		next.Deployment = *open
		if err := n.box.SealDeployment(&next.Deployment, file.IsSecretParam); err != nil {
			return count, err
		}
		changes = append(changes, model.Put(model.Models, &next, model.Version(m.EntityVersion())))
	}
	for _, c := range changes { // one by one: a config may be large
		res, err := n.cluster.Mutate(ctx, model.Mutation{By: "node " + n.o.Name, Changes: []model.Change{c}})
		if err != nil {
			return count, fmt.Errorf("seal %s anew: %w", c.Table, err)
		}
		if res.Conflict == nil {
			count++
		}
	}
	more, err := n.resealMembers(ctx)
	return count + more, err
}

// resealed is a config version with its secrets sealed anew, nil when they are.
func (n *node) resealed(v *model.ConfigVersion) (*model.ConfigVersion, error) {
	if newest(n, v) {
		return nil, nil
	}
	open, faults := n.box.OpenConfig(&v.Config)
	if len(faults) > 0 {
		return nil, fmt.Errorf("seal config version %d anew: %w", v.Number, errors.Join(faults...))
	}
	// Sealing is in place, and what was opened shares what was not sealed.
	text, err := json.Marshal(open)
	if err != nil {
		return nil, err
	}
	next := *v
	next.Config = model.Config{}
	if err := json.Unmarshal(text, &next.Config); err != nil {
		return nil, err
	}
	return &next, n.box.SealConfig(&next.Config, file.IsSecretParam)
}

// newest reports whether nothing in an entity is sealed under an older key.
func newest(n *node, e any) bool {
	text, err := json.Marshal(e)
	return err == nil && n.box.NewestIn(text)
}

func (n *node) resealMembers(ctx context.Context) (int, error) {
	field, values := n.cluster.Membership().SealedValues()
	var todo []members.Sealed
	for _, v := range values {
		if n.box.Newest(v.Old) {
			continue
		}
		var err error
		if v.New, err = n.box.Reseal(v.Entity, field, v.Old); err != nil {
			return 0, err
		}
		todo = append(todo, v)
	}
	if len(todo) == 0 {
		return 0, nil
	}
	r, err := n.cluster.SubmitMembership(ctx, &members.Command{Op: members.OpReseal, Sealed: todo})
	if err == nil {
		err = r.Err()
	}
	if err != nil {
		return 0, fmt.Errorf("seal the membership anew: %w", err)
	}
	return len(todo), nil
}
