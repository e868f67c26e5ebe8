package run

import (
	"context"
	"fmt"
	"io/fs"
	"os"

	"errors"

	"tollgate/config/file"
	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/proxy/auth"
	"tollgate/proxy/provider/registry"
)

// proposedFile remembers what this node proposed last, so that an old file or
// variable on one node does not undo a newer config of the cluster.
const proposedFile = "config.proposed"

// proposed is what this node has said so far: the hash of its file and that of
// the master key it was given. "" stands for what it never said.
type proposed struct{ file, master string }

// proposeConfig makes what this node says the cluster's config as far as that
// is news: the file and the master key count when they differ from what this
// node said last, or when the cluster has no config.
func (n *node) proposeConfig(ctx context.Context) error {
	active := n.store.State().ActiveConfig()
	last, err := n.lastProposed()
	if err != nil {
		return err
	}
	given, err := n.givenMaster(active != nil)
	if err != nil {
		return err
	}
	if active == nil {
		c, err := n.ownCandidate(given)
		if err != nil {
			return err
		}
		if err := n.insistOn(ctx, c); err != nil {
			return err
		}
		return n.rememberProposed(proposed{c.hash, given})
	}
	says := proposed{last.file, given}
	if given == "" {
		says.master = last.master
	}
	news := given != "" && given != last.master && !n.place.joined
	master := active.Config.General.MasterKeyHash
	switch {
	case news:
		master = given
	case given != "" && given != master:
		n.log.Warn("LITELLM_MASTER_KEY of this node is not the cluster's: the cluster's counts")
	}
	if n.o.ConfigFile == "" {
		if err := n.changeMaster(ctx, master); err != nil {
			return err
		}
		return n.rememberProposed(says)
	}
	c, err := n.ownCandidate(master)
	if err != nil {
		return err
	}
	says.file = c.hash
	switch {
	case c.hash != last.file && !n.place.joined:
		if err := n.insistOn(ctx, c); err != nil {
			return err
		}
	default: // a file says nothing new; a node that has just joined says nothing yet
		n.warnDrift(active, c)
		if err := n.changeMaster(ctx, master); err != nil {
			return err
		}
	}
	return n.rememberProposed(says)
}

// givenMaster is the hash of the master key that this node was given, or keeps
// because it once made it. Without either it makes one where the cluster has
// none; else it is "": the key came with the config, and only its hash is known.
func (n *node) givenMaster(has bool) (string, error) {
	if n.loaded.MasterKey == "" && has {
		if _, err := os.Stat(n.o.path(masterKeyFile)); errors.Is(err, fs.ErrNotExist) {
			return "", nil
		}
	}
	key, path, err := masterKey(n.o, n.loaded.MasterKey)
	if err != nil {
		return "", err
	}
	n.master = key
	if path != "" {
		n.log.Warn("no master key was given: the node uses its own", "file", path)
	}
	return auth.Hash([]byte(key)), nil
}

// changeMaster replaces the master key and leaves the rest of the config as it is.
func (n *node) changeMaster(ctx context.Context, master string) error {
	return n.insist(ctx, "propose its master key", func() error {
		active := n.store.State().ActiveConfig()
		if master == active.Config.General.MasterKeyHash {
			return nil
		}
		kept := active.Config
		kept.General.MasterKeyHash = master
		_, err := n.submitConfig(ctx, active, active.Hash, &kept, "master key of "+n.o.Name, "node "+n.o.Name)
		return err
	})
}

// insistOn makes the candidate the cluster's config. Another node that starts
// at the same time may be first, most likely with the same.
func (n *node) insistOn(ctx context.Context, c *candidate) error {
	return n.insist(ctx, "propose its config", func() error {
		_, _, err := n.applyConfig(ctx, c, "node "+n.o.Name)
		return err
	})
}

// ownCandidate is the file as it was read at the start.
func (n *node) ownCandidate(masterHash string) (*candidate, error) {
	cfg := n.loaded.Config
	// Keys found only in this node's environment travel with the config, so
	// that other nodes need none of their own.
	state.CarryEnvironment(cfg, registry.Defaults(), n.providerEnv())
	hash, err := file.Hash(cfg)
	if err != nil {
		return nil, err
	}
	cfg.General.MasterKeyHash = masterHash
	return &candidate{cfg: cfg, hash: hash, source: n.o.ConfigFile}, nil
}

// warnDrift tells that the file and the cluster say different things.
func (n *node) warnDrift(active *model.ConfigVersion, c *candidate) {
	if c.hash != active.Hash {
		n.log.Warn("this node's config file is not what the cluster runs: see `tollgate config diff`; `tollgate config apply` makes it so",
			"file", n.o.ConfigFile, "file_hash", short(c.hash), "cluster_hash", short(active.Hash), "cluster_version", active.Number)
	}
}

// submitConfig makes cfg, its secrets sealed, the version after active.
func (n *node) submitConfig(ctx context.Context, active *model.ConfigVersion, hash string, cfg *model.Config, note, by string) (*model.ConfigVersion, error) {
	v := &model.ConfigVersion{Number: 1, Hash: hash, Node: n.identity.NodeID, Note: note, At: n.clock.Now().UTC(), Config: *cfg}
	v.CreatedBy = by
	expect := model.Version(0)
	if active != nil {
		v.Number = active.Number + 1
	}
	res, err := n.cluster.Mutate(ctx, model.Mutation{By: by, Changes: []model.Change{model.Put(model.Configs, v, expect)}})
	if err != nil {
		return nil, fmt.Errorf("propose the config: %w", err)
	}
	if res.Conflict != nil {
		return nil, fmt.Errorf("propose the config: %w", res.Conflict)
	}
	n.log.Info("config applied", "version", v.Number, "hash", v.Hash, "deployments", len(cfg.Deployments))
	return v, nil
}

// warnRouting tells once per start what of the active config cannot be used.
func (n *node) warnRouting() {
	if r := n.store.State().Routing; r != nil {
		for _, w := range r.Warnings {
			n.log.Warn("routing", "problem", w)
		}
	}
	if n.master == sampleMasterKey {
		n.log.Warn("the master key is the one of .env.example: set LITELLM_MASTER_KEY to one of your own before others can reach this node")
	}
	if n.env("UI_PASSWORD") == "admin" && n.env("UI_USERNAME") == "admin" {
		n.log.Warn("UI_USERNAME and UI_PASSWORD are admin/admin: change them before others can reach this node")
	}
}

func (n *node) env(name string) string {
	v, _ := n.o.Env(name)
	return v
}

// short is a hash as people and public pages see it.
func short(hash string) string { return hash[:min(len(hash), 12)] }
