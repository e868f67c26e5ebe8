package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"tollgate/config/file"
	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/auth"
	"tollgate/proxy/clusterapi"
	"tollgate/proxy/provider/registry"
)

// candidate is a config that may become the cluster's: resolved, its secrets
// still open, with what tells it from others.
type candidate struct {
	cfg    *model.Config
	hash   string
	source string // for people: the file's name
	master string // hash of the master key that came with it, "" when none did
}

// ownFile is the path of this node's config, or a fault that says there is none.
func (n *node) ownFile() (string, error) {
	if n.o.ConfigFile == "" {
		return "", &clusterapi.Fault{Status: 400, Code: "no_file", Message: "This node was started without --config: send a file, or name one with --config and restart."}
	}
	return n.o.ConfigFile, nil
}

// candidate reads a config: text, or this node's own file when text is nil.
// References are resolved by the sender's variables first, then by this node's.
func (n *node) candidate(text []byte, vars map[string]string) (*candidate, error) {
	env := func(name string) (string, bool) {
		if v, ok := vars[name]; ok {
			return v, true
		}
		return n.o.Env(name)
	}
	var loaded *file.Loaded
	var err error
	source := "(sent)"
	if text == nil {
		if source, err = n.ownFile(); err != nil {
			return nil, err
		}
		loaded, err = file.Load(source, env)
	} else {
		loaded, err = file.Parse(source, text, env, nil)
	}
	if err != nil {
		return nil, &clusterapi.Fault{Status: 400, Code: "config_invalid", Message: err.Error()}
	}
	cfg := loaded.Config
	state.CarryEnvironment(cfg, registry.Defaults(), func(name string) (string, bool) {
		if v, ok := loaded.Exports[name]; ok {
			return v, true
		}
		return env(name)
	})
	hash, err := file.Hash(cfg)
	if err != nil {
		return nil, err
	}
	if active := n.store.State().ActiveConfig(); active != nil {
		cfg.General.MasterKeyHash = active.Config.General.MasterKeyHash
	}
	c := &candidate{cfg: cfg, hash: hash, source: source}
	if loaded.MasterKey == "" {
		return c, nil
	}
	c.master = auth.Hash([]byte(loaded.MasterKey))
	last, err := n.lastProposed()
	if err != nil {
		return nil, err
	}
	if c.master != last.master { // else it says what it said before
		cfg.General.MasterKeyHash = c.master
	}
	return c, nil
}

// same reports whether the cluster runs just this.
func (c *candidate) same(active *model.ConfigVersion) bool {
	return active != nil && active.Hash == c.hash && active.Config.General.MasterKeyHash == c.cfg.General.MasterKeyHash
}

// lastProposed is what this node said last.
func (n *node) lastProposed() (proposed, error) {
	text, err := os.ReadFile(n.o.path(proposedFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return proposed{}, fmt.Errorf("read the hash of the last proposed config: %w", err)
	}
	fileHash, master, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	return proposed{strings.TrimPrefix(fileHash, "-"), strings.TrimPrefix(master, "-")}, nil
}

func (n *node) rememberProposed(p proposed) error {
	or := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	if err := os.WriteFile(n.o.path(proposedFile), []byte(or(p.file)+" "+or(p.master)+"\n"), 0o600); err != nil {
		return fmt.Errorf("remember the proposed config: %w", err)
	}
	return nil
}

// rememberFile remembers that this node's file has been proposed, and the
// master key where the file or the environment gives one.
func (n *node) rememberFile(c *candidate) error {
	p, err := n.lastProposed()
	if err != nil {
		return err
	}
	if p.file = c.hash; c.master != "" {
		p.master = c.master
	}
	return n.rememberProposed(p)
}

// Config is the active version, secrets masked.
func (op *operations) Config(context.Context) (*model.ConfigVersion, error) {
	v := op.n.store.State().ActiveConfig()
	if v == nil {
		return nil, &clusterapi.Fault{Status: 404, Code: "no_config", Message: "The cluster has no config yet."}
	}
	return v, nil
}

// ConfigVersion is one version of the history.
func (op *operations) ConfigVersion(_ context.Context, number uint64) (*model.ConfigVersion, error) {
	v, ok := op.n.store.State().Configs.Get(model.ConfigID(number))
	if !ok {
		return nil, unknownVersion(number)
	}
	return v, nil
}

func unknownVersion(number uint64) error {
	return &clusterapi.Fault{Status: 404, Code: "unknown_version", Message: fmt.Sprintf("There is no config version %d: the history lists those that are kept, the last 50.", number)}
}

// ConfigHistory lists the kept versions, newest first.
func (op *operations) ConfigHistory(context.Context) ([]clusterapi.ConfigInfo, error) {
	s := op.n.store.State()
	active := s.ActiveConfig()
	var out []clusterapi.ConfigInfo
	for _, v := range s.ConfigHistory() {
		out = append(out, op.info(v, active != nil && v.Number == active.Number))
	}
	return out, nil
}

func (op *operations) info(v *model.ConfigVersion, active bool) clusterapi.ConfigInfo {
	return clusterapi.ConfigInfo{Number: v.Number, Hash: v.Hash, Node: op.nameOf(v.Node), By: v.CreatedBy, Note: v.Note, At: v.At, Active: active}
}

// ConfigRollback makes an old version the newest. The master key stays as it is:
// whoever rolls a config back must not be locked out by it.
func (op *operations) ConfigRollback(ctx context.Context, number uint64, by string) (clusterapi.ConfigInfo, error) {
	s := op.n.store.State()
	old, ok := s.Configs.Get(model.ConfigID(number))
	active := s.ActiveConfig()
	switch {
	case !ok:
		return clusterapi.ConfigInfo{}, unknownVersion(number)
	case old.Number == active.Number:
		return op.info(active, true), nil
	}
	cfg := old.Config
	cfg.General.MasterKeyHash = active.Config.General.MasterKeyHash
	v, err := op.n.submitConfig(ctx, active, old.Hash, &cfg, fmt.Sprintf("rollback to version %d", number), by)
	if err != nil {
		return clusterapi.ConfigInfo{}, err
	}
	return op.info(v, true), nil
}

// ConfigDiff holds a config against the active one.
func (op *operations) ConfigDiff(_ context.Context, text []byte, env map[string]string) (clusterapi.ConfigDiff, error) {
	c, err := op.n.candidate(text, env)
	if err != nil {
		return clusterapi.ConfigDiff{}, err
	}
	active := op.n.store.State().ActiveConfig()
	out := clusterapi.ConfigDiff{File: c.source, FileHash: c.hash, Same: c.same(active)}
	current := &model.Config{}
	if active != nil {
		out.ClusterHash, out.Version = active.Hash, active.Number
		var faults []error
		if current, faults = op.n.box.OpenConfig(&active.Config); len(faults) > 0 {
			return out, errors.Join(faults...)
		}
	}
	lines, err := file.Diff(current, c.cfg)
	if err != nil {
		return out, err
	}
	for _, d := range lines {
		kind := "changed"
		switch {
		case d.Old == "":
			kind = "added"
		case d.New == "":
			kind = "removed"
		}
		out.Changes = append(out.Changes, clusterapi.ConfigLine{Path: d.Path, Kind: kind, Cluster: d.Old, File: d.New})
	}
	if active != nil && c.cfg.General.MasterKeyHash != active.Config.General.MasterKeyHash {
		out.Changes = append(out.Changes, clusterapi.ConfigLine{Path: "general_settings.master_key", Kind: "changed", Cluster: "****", File: "****"})
	}
	return out, nil
}

// ConfigApply proposes a config; one that the cluster has already is left alone.
func (op *operations) ConfigApply(ctx context.Context, text []byte, env map[string]string, by string) (clusterapi.ConfigInfo, bool, error) {
	c, err := op.n.candidate(text, env)
	if err != nil {
		return clusterapi.ConfigInfo{}, false, err
	}
	v, changed, err := op.n.applyConfig(ctx, c, by)
	if err != nil {
		return clusterapi.ConfigInfo{}, false, err
	}
	if text == nil {
		if err := op.n.rememberFile(c); err != nil {
			return clusterapi.ConfigInfo{}, changed, err
		}
	}
	return op.info(v, true), changed, nil
}

// applyConfig makes a candidate the active version unless it is.
func (n *node) applyConfig(ctx context.Context, c *candidate, by string) (v *model.ConfigVersion, changed bool, err error) {
	active := n.store.State().ActiveConfig()
	if c.same(active) {
		return active, false, nil
	}
	if err := n.box.SealConfig(c.cfg, file.IsSecretParam); err != nil {
		return nil, false, fmt.Errorf("seal the config's secrets: %w", err)
	}
	v, err = n.submitConfig(ctx, active, c.hash, c.cfg, c.source, by)
	return v, err == nil, err
}

// reloads reads the file again whenever it is asked to, until ctx ends.
func (n *node) reloads(ctx context.Context) error {
	for {
		select {
		case <-n.o.Reload: // nil: nobody asks
			n.reload(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// reload proposes this node's own file again when its content has changed, as a
// start would: on SIGHUP.
func (n *node) reload(ctx context.Context) {
	if n.o.ConfigFile == "" {
		n.log.Warn("nothing to reload: the node was started without --config")
		return
	}
	c, err := n.candidate(nil, nil)
	if err != nil {
		n.log.Error("config not reloaded, the running one stays", "problem", err.Error())
		return
	}
	last, err := n.lastProposed()
	if err == nil && last.file == c.hash && (c.master == "" || c.master == last.master) {
		n.log.Info("config not reloaded: the file says what it said before", "file", n.o.ConfigFile)
		return
	}
	if err == nil {
		_, _, err = n.applyConfig(ctx, c, "node "+n.o.Name)
	}
	if err == nil {
		err = n.rememberFile(c)
	}
	if err != nil {
		n.log.Error("config not reloaded, the running one stays", "problem", err.Error())
	}
}
