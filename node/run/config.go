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

// proposedFile remembers the hash of the file that this node proposed last, so
// that an old file on one node does not undo a newer config of the cluster.
const proposedFile = "config.proposed"

// proposeConfig makes the file the cluster's config when its content differs
// from what this node proposed last, or when the cluster has none.
func (n *node) proposeConfig(ctx context.Context) error {
	active := n.store.State().ActiveConfig()
	if n.place.joined && active != nil {
		return n.noteConfig(active)
	}
	if n.o.ConfigFile == "" && active != nil {
		return n.keepConfig(ctx, active)
	}
	key, path, err := masterKey(n.o, n.loaded.MasterKey)
	if err != nil {
		return err
	}
	n.master = key
	if path != "" {
		n.log.Warn("no master key was given: the node uses its own", "file", path)
	}
	c, err := n.ownCandidate(auth.Hash([]byte(key)))
	if err != nil {
		return err
	}
	last, err := n.lastProposed()
	if err != nil {
		return err
	}
	m := mark(c.hash, c.cfg.General.MasterKeyHash)
	if active != nil && last == m {
		n.warnDrift(active, c)
		return nil
	}
	err = n.insist(ctx, "propose its config", func() error {
		_, _, err := n.applyConfig(ctx, c, "node "+n.o.Name)
		return err
	})
	if err != nil {
		return err
	}
	return n.rememberProposed(m)
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

// noteConfig is the first start of a node that has joined: the cluster's config
// counts, and its own file only from the next time that it is changed.
func (n *node) noteConfig(active *model.ConfigVersion) error {
	hash := active.Config.General.MasterKeyHash
	if given := n.loaded.MasterKey; given != "" {
		n.master = given
		if hash = auth.Hash([]byte(given)); hash != active.Config.General.MasterKeyHash {
			n.log.Warn("LITELLM_MASTER_KEY of this node is not the cluster's: the cluster's counts")
		}
	}
	if n.o.ConfigFile == "" {
		return nil
	}
	c, err := n.ownCandidate(hash)
	if err != nil {
		return err
	}
	n.warnDrift(active, c)
	return n.rememberProposed(mark(c.hash, hash))
}

// warnDrift tells that the file and the cluster say different things.
func (n *node) warnDrift(active *model.ConfigVersion, c *candidate) {
	if c.hash != active.Hash {
		n.log.Warn("this node's config file is not what the cluster runs: see `tollgate config diff`; `tollgate config apply` makes it so",
			"file", n.o.ConfigFile, "file_hash", short(c.hash), "cluster_hash", short(active.Hash), "cluster_version", active.Number)
	}
}

// keepConfig starts without a file on a directory that has a config: no file
// says nothing about it, so what was applied stays. Only a master key that has
// changed in the environment is proposed.
func (n *node) keepConfig(ctx context.Context, active *model.ConfigVersion) error {
	given := n.loaded.MasterKey
	if given == "" {
		if _, err := os.Stat(n.o.path(masterKeyFile)); errors.Is(err, fs.ErrNotExist) {
			return nil // it came with the config, and only its hash is known
		}
	}
	key, _, err := masterKey(n.o, given)
	if err != nil {
		return err
	}
	n.master = key
	hash := auth.Hash([]byte(key))
	last, err := n.lastProposed()
	if err != nil {
		return err
	}
	m := mark("-", hash)
	if hash == active.Config.General.MasterKeyHash || last == m {
		return nil // the cluster's, or a former one that was replaced elsewhere since
	}
	kept := active.Config
	kept.General.MasterKeyHash = hash
	err = n.insist(ctx, "propose its master key", func() error {
		_, err := n.submitConfig(ctx, active, active.Hash, &kept, "master key of "+n.o.Name, "node "+n.o.Name)
		return err
	})
	if err != nil {
		return err
	}
	return n.rememberProposed(m)
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
