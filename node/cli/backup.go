package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tollgate/cluster/fsm"
)

func newBackup() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "backup [FILE]",
		Short:   "Save the replicated state to a file: keys, budgets, config, members; secrets stay sealed under the salt key",
		Example: "  tollgate backup\n  tollgate backup /backups/tollgate.snapshot --force",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			path := "tollgate-" + time.Now().UTC().Format("20060102-150405") + ".snapshot"
			if len(args) == 1 {
				path = args[0]
			}
			if _, err := os.Lstat(path); err == nil && !force {
				return fmt.Errorf("%s is there already: name another file, or add --force to replace it", path)
			} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("look at the file to write: %w", err)
			}
			c.http.Timeout = 0 // as long as bytes come
			return c.backup(path, newProgress(cmd.ErrOrStderr()))
		},
	}
	addClientFlags(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "replace FILE if it is there")
	return cmd
}

// backup writes a snapshot under a name of its own, checks it and only then
// gives it the name it was asked for: a file of that name is whole.
func (c *client) backup(path string, p *progress) (err error) {
	res, err := c.open(http.MethodGet, "/cluster/backup", nil, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".part-") // 0600
	if err != nil {
		return mend(fmt.Errorf("write the backup: %w", err))
	}
	defer func() {
		p.clear()
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(f.Name()))
		}
	}()
	size, err := io.Copy(f, &watched{Reader: res.Body, p: p})
	if err != nil {
		return fmt.Errorf("the backup broke off after %s (%w): nothing was kept; try again", sizeText(size), err)
	}
	if err := f.Sync(); err != nil {
		return mend(fmt.Errorf("write the backup: %w", err))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("read the backup again: %w", err)
	}
	head, count, err := fsm.Verify(f)
	if err != nil {
		return fmt.Errorf("what came is no whole backup (%w): nothing was kept; try again", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return mend(fmt.Errorf("name the backup: %w", err))
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("close the backup: %w", err)
	}
	if c.output == "json" {
		return c.show(snapshotFacts(path, size, head, count), nil)
	}
	return c.say("%s: %s, %d records, the state of cluster %s at index %d; checked", path, sizeText(size), count, head.ClusterID, head.Index)
}

// watched tells how much has been read.
type watched struct {
	io.Reader
	p    *progress
	size int64
	told time.Time
}

// Read passes on; a person sees the size move, a log does not fill with it.
func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	w.size += int64(n)
	if now := time.Now(); w.p.terminal && now.Sub(w.told) > 200*time.Millisecond {
		w.told = now
		w.p.show(sizeText(w.size))
	}
	return n, err
}

func sizeText(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%d bytes", n)
}

func snapshotFacts(path string, size int64, head fsm.Header, count uint64) map[string]any {
	return map[string]any{"file": path, "bytes": size, "records": count, "cluster_id": head.ClusterID, "index": head.Index,
		"at": head.Now.UTC().Format(time.RFC3339), "format": head.Format, "feature": head.Feature}
}
