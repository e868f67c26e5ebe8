package run

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

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
	cfg := n.loaded.Config
	// Keys found only in this node's environment travel with the config, so
	// that other nodes need none of their own.
	state.CarryEnvironment(cfg, registry.Defaults(), n.providerEnv())
	hash, err := file.Hash(cfg)
	if err != nil {
		return err
	}
	cfg.General.MasterKeyHash = auth.Hash([]byte(key))
	last, err := os.ReadFile(n.o.path(proposedFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the hash of the last proposed config: %w", err)
	}
	mark := hash + " " + cfg.General.MasterKeyHash
	if active != nil && strings.TrimSpace(string(last)) == mark {
		return nil
	}
	if err := n.box.SealConfig(cfg, file.IsSecretParam); err != nil {
		return fmt.Errorf("seal the config's secrets: %w", err)
	}
	if err := n.submitConfig(ctx, active, hash, cfg); err != nil {
		return err
	}
	if err := os.WriteFile(n.o.path(proposedFile), []byte(mark+"\n"), 0o600); err != nil {
		return fmt.Errorf("remember the proposed config: %w", err)
	}
	return nil
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
	if hash == active.Config.General.MasterKeyHash {
		return nil
	}
	kept := active.Config
	kept.General.MasterKeyHash = hash
	return n.submitConfig(ctx, active, active.Hash, &kept)
}

// submitConfig makes cfg, its secrets sealed, the version after active.
func (n *node) submitConfig(ctx context.Context, active *model.ConfigVersion, hash string, cfg *model.Config) error {
	v := &model.ConfigVersion{Number: 1, Hash: hash, Node: n.identity.NodeID, Note: n.o.ConfigFile, At: n.clock.Now().UTC(), Config: *cfg}
	expect := model.Version(0)
	if active != nil {
		v.Number = active.Number + 1
	}
	res, err := n.cluster.Mutate(ctx, model.Mutation{By: "node " + n.o.Name, Changes: []model.Change{model.Put(model.Configs, v, expect)}})
	if err != nil {
		return fmt.Errorf("propose the config: %w", err)
	}
	if res.Conflict != nil {
		return fmt.Errorf("propose the config: %w", res.Conflict)
	}
	n.log.Info("config applied", "version", v.Number, "hash", v.Hash, "deployments", len(cfg.Deployments))
	return nil
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
