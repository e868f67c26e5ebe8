package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"tollgate/cluster"
	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/cluster/join"
	"tollgate/cluster/members"
	"tollgate/config/file"
	"tollgate/config/secret"
	"tollgate/config/state"
	"tollgate/ledger/once"
	"tollgate/limiter/budget"
)

// RestoreOptions say which snapshot becomes the state of a new cluster, and
// where. No node runs meanwhile.
type RestoreOptions struct {
	File    string // the snapshot
	DataDir string // of the node that is to start with it
	Env     file.Env
	Out     io.Writer // what the operator reads: one line a fact
}

// RecoverOptions say which data directory gets a cluster of its own again after
// a majority of the voters is lost for good. No node runs meanwhile.
type RecoverOptions struct {
	DataDir   string
	PeersFile string // who belongs to it; "" is this node alone
	Env       file.Env
	Out       io.Writer // what the operator reads: one line a fact
}

// offlineState opens the state machines of a node that does not run.
func offlineState(dir string, env file.Env) (*cluster.Offline, error) {
	identity, err := cluster.LoadIdentity(dir)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", dir, err)
	}
	kek, err := loadKEK(env, dir)
	if err != nil {
		return nil, errors.Join(err, identity.Close())
	}
	store := state.NewStore(nil)
	applier := state.NewApplier(store)
	bank := newBank(&applied{store: store}, applier)
	return &cluster.Offline{
		Identity: identity, Dir: dir, Box: secret.NewBox(kek),
		Appliers: map[command.Type]fsm.Applier{command.Mutation: applier, command.BudgetBatch: bankApplier{bank}, command.Claims: once.NewClaims()},
		// Nobody can tell any more what the nodes had spent of their grants: all of
		// it counts as spent, so that no budget is passed.
		Adjust: func(now time.Time, nodes []members.Node) error {
			for _, n := range nodes {
				if a := bank.Do(now, &budget.Command{Op: budget.OpForget, Node: budget.NodeID(n.ID)}); a != nil && a.Err != nil {
					return fmt.Errorf("write off the credit of %s: %w", n.Name, a.Err)
				}
			}
			return nil
		},
	}, nil
}

// Restore starts a cluster of its own from a backup, in an empty data directory.
func Restore(_ context.Context, o RestoreOptions) error {
	backup, err := os.Open(o.File)
	if err != nil {
		return fmt.Errorf("open the backup: %w", err)
	}
	defer backup.Close()
	head, records, err := fsm.Verify(backup)
	if err != nil {
		return fmt.Errorf("%s: %w", o.File, err)
	}
	if has, err := cluster.HasState(o.DataDir); err != nil {
		return fmt.Errorf("data directory %s: %w", o.DataDir, err)
	} else if has {
		return fmt.Errorf("%s: %w", o.DataDir, cluster.ErrNotEmpty)
	}
	if _, err := backup.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the backup: %w", err)
	}
	fmt.Fprintf(o.Out, "%s is whole: %d records, state of %s\n", o.File, records, head.Now.Format(time.RFC3339))
	off, err := offlineState(o.DataDir, o.Env)
	if err != nil {
		return err
	}
	report, err := off.Restore(backup)
	if err == nil {
		fmt.Fprintf(o.Out, "Restored into %s as the new cluster %s\n", o.DataDir, report.ClusterID)
		fmt.Fprintf(o.Out, "Keys, budgets, config and secrets are the backup's; what its %d nodes held of budgets counts as spent.\n", len(report.Lost))
		fmt.Fprintf(o.Out, "Start it:\n  tollgate serve --data-dir %s\n", o.DataDir)
	}
	return errors.Join(err, off.Identity.CleanShutdown())
}

// Recover rebuilds a cluster that has lost its majority for good from one
// surviving node's state.
func Recover(_ context.Context, o RecoverOptions) error {
	if has, err := cluster.HasState(o.DataDir); err != nil || !has {
		return errors.Join(err, fmt.Errorf("%s holds no cluster's state: name the data directory of a node that was a member, with --data-dir", o.DataDir))
	}
	off, err := offlineState(o.DataDir, o.Env)
	if err != nil {
		return err
	}
	return errors.Join(recoverState(off, o), off.Identity.CleanShutdown())
}

func recoverState(off *cluster.Offline, o RecoverOptions) error {
	keep := []string{off.Identity.NodeID}
	if o.PeersFile != "" {
		var err error
		if keep, err = readPeers(o.PeersFile); err != nil {
			return err
		}
	}
	report, err := off.Recover(keep)
	if err != nil {
		return err
	}
	if err := showRecovery(o.DataDir, report); err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "Recovered generation %d of cluster %s, state of %s\n", report.Generation, report.ClusterID, report.StateTime.Format(time.RFC3339))
	for _, n := range report.Lost {
		fmt.Fprintf(o.Out, "  taken out: %s (%s, %s); what it held of budgets counts as spent\n", n.Name, n.Region, n.ID)
	}
	fmt.Fprintf(o.Out, "Start it:\n  tollgate serve --data-dir %s\n", o.DataDir)
	if len(report.Lost) > 0 {
		fmt.Fprintf(o.Out, "A node that was taken out and still has its disk DIR joins again so; its ledger is kept:\n"+
			"  rm -r DIR/raft DIR/%s\n  tollgate join HOST:PORT --token TOKEN --data-dir DIR\n", join.Dir)
	}
	return nil
}

// showRecovery has the next start show the new generation from its first word.
// With the old one, nodes that were left behind would be let speak until the
// state is open, and one that leads them could overwrite what was recovered.
func showRecovery(dir string, report cluster.Report) error {
	files, err := join.OpenStore(dir)
	if err != nil {
		return err
	}
	peers := join.PeersOf(report.ClusterID, report.Generation, report.Kept)
	peers.Lived = true
	if err := files.SavePeers(peers); err != nil {
		return fmt.Errorf("the cluster is recovered, but the node would start as before: mend this and recover again: %w", err)
	}
	return nil
}

// readPeers reads a JSON list of node ids, or of raft's own form with an id each.
func readPeers(path string) ([]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the peers file: %w", err)
	}
	var ids []string
	if json.Unmarshal(text, &ids) != nil {
		var rows []struct {
			ID string `json:"id"`
		}
		if err := json.Unmarshal(text, &rows); err != nil {
			return nil, fmt.Errorf("read the peers file %s: want a JSON list of node ids, such as [\"01J…\"]: %w", path, err)
		}
		for _, r := range rows {
			ids = append(ids, r.ID)
		}
	}
	for i, id := range ids {
		if ids[i] = strings.TrimSpace(id); ids[i] == "" {
			return nil, fmt.Errorf("read the peers file %s: entry %d has no id", path, i+1)
		}
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("read the peers file %s: it names no node", path)
	}
	return ids, nil
}

// loadKEK is the operator's key-encryption key, or the one in the data directory.
func loadKEK(env file.Env, dir string) (*secret.KEK, error) {
	text, _ := env("TOLLGATE_KEK")
	if text == "" {
		text, _ = env("LITELLM_SALT_KEY")
	}
	return secret.LoadKEK(text, dir)
}
