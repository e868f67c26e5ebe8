package run

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"tollgate/cluster"
	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/cluster/members"
	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/secret"
	"tollgate/config/state"
	"tollgate/ledger/once"
	"tollgate/limiter/budget"
	"tollgate/proxy/provider/registry"
)

// openState opens secrets, state machines and raft. Requests read what they
// publish; nothing else depends on their order.
func (n *node) openState() error {
	kek, err := loadKEK(n.o.Env, n.o.DataDir)
	if err != nil {
		return err
	}
	n.box = secret.NewBox(kek)
	n.store = state.NewStore(state.Compiler(state.CompileDeps{
		Book: price.Default(), Providers: registry.Defaults(), Env: n.providerEnv(),
		OpenConfig: n.box.OpenConfig, OpenDeployment: n.box.OpenDeployment,
	}))
	applier := state.NewApplier(n.store)
	n.applied = &applied{store: n.store}
	n.bank = newBank(n.applied, applier)
	n.claims = once.NewClaims()
	n.audits = &auditTrail{log: n.log}
	applier.OnChange(n.audits.heard)
	profile := cluster.Profile(n.loaded.Config.Tollgate.RaftProfile)
	n.cluster, err = cluster.Open(cluster.Config{
		Dir: n.o.DataDir, Identity: n.identity, Name: n.o.Name, Region: n.o.Region, Zone: n.o.Zone,
		Role: n.place.role, Bootstrap: n.place.founder,
		Appliers: map[command.Type]fsm.Applier{command.Mutation: audited{applier, n.audits}, command.BudgetBatch: bankApplier{n.bank}, command.Claims: n.claims},
		Answers:  map[command.Type]cluster.AnswerCodec{command.BudgetBatch: bankAnswers, command.Claims: claimAnswers},
		Box:      n.box, KeysChanged: n.store.Recompile,
		Transport: cluster.NewTransport(n.identity.NodeID, n.port.Raft(), profile, n.log), Profile: profile,
		Calls: n.port, Registrar: n.port, Gossip: n.place.members,
		Settings: n.raftSettings, ConcernIndex: func(hash string) uint64 { return concernIndex(n.store.State(), hash) },
		Found: n.place.found, Logger: n.log, Clock: n.clock, Registerer: n.metrics,
	})
	if err != nil {
		return err
	}
	n.audits.begun()
	n.cluster.OnMembership(func(_, _ *members.State) { n.place.nudge() })
	n.place.opened.Store(&opened{n.cluster, n.box})
	if err := n.place.rise(n.cluster.Membership()); err != nil {
		return err
	}
	n.port.Recheck() // who came before there was a state to go by
	n.place.serveJoins(n.box)
	return n.openHealth()
}

// raftSettings are the operators' wishes, from the replicated config.
func (n *node) raftSettings() cluster.Settings {
	v := n.store.State().ActiveConfig()
	if v == nil {
		return cluster.Settings{}
	}
	t := &v.Config.Tollgate
	voters, _ := strconv.Atoi(t.Voters) // "" and "auto" are 0
	return cluster.Settings{Voters: voters, PreferRegion: t.PreferRegion, FeatureAfter: time.Duration(t.AutoUpgradeAfter * float64(time.Second))}
}

// bankAnswers carry the bank's answers from the leader. Its commands are
// cumulative, so one that is applied twice does what one does; and the account
// needs the answer, not this node's own bank.
var bankAnswers = cluster.AnswerCodec{
	Encode: func(answer any) ([]byte, error) {
		a, ok := answer.(*budget.Answer)
		if !ok {
			return nil, fmt.Errorf("%w, but %T", errNoAnswer, answer)
		}
		return budget.AppendAnswer(nil, a), nil
	},
	Decode: func(data []byte) (any, error) { return budget.DecodeAnswer(data) },
	// A node speaks for itself alone: an account of another's name would move
	// another's money.
	Check: func(from string, _ byte, payload []byte) error {
		c, err := budget.DecodeCommand(payload)
		switch {
		case err != nil:
			return err
		case c.Op == budget.OpForget:
			return nil // the operator's command, through any node
		case string(c.Node) != from:
			return errors.New("a node may report only its own budgets")
		}
		return nil
	},
	Repeatable: true,
	Ahead:      true,
}

// concernIndex is the index of the newest change that concerns a key: itself,
// its owners and budgets, and the config and models that say what it may call.
func concernIndex(s *state.Snapshot, hash string) uint64 {
	index := uint64(0)
	see := func(e model.Entity, ok bool) {
		if ok {
			index = max(index, e.EntityVersion())
		}
	}
	k, ok := s.KeyFor(hash, s.Now)
	active := s.ActiveConfig()
	switch {
	case ok:
		see(k, true)
		seeOwners(s, k, see)
	case active != nil && active.Config.General.MasterKeyHash == hash:
	default:
		return 0
	}
	if active != nil {
		see(active, true)
	}
	for _, m := range s.Models.All() {
		see(m, true)
	}
	return index
}

func seeOwners(s *state.Snapshot, k *model.Key, see func(model.Entity, bool)) {
	if b, ok := s.Budgets.Get(k.BudgetID); ok {
		see(b, true)
	}
	if u, ok := s.Users.Get(k.UserID); ok {
		see(u, true)
	}
	t, ok := s.Teams.Get(k.TeamID)
	if !ok {
		return
	}
	see(t, true)
	budgetID := t.MemberBudgetID
	if m, ok := s.Member(k.TeamID, k.UserID); ok {
		see(m, true)
		budgetID = m.BudgetID
	}
	if b, ok := s.Budgets.Get(budgetID); ok {
		see(b, true)
	}
}
