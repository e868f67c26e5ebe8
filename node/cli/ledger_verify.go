package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"tollgate/ledger/store"
	"tollgate/ledger/verify"
)

func newLedgerVerify() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Recount the books of a node, or of a stopped one's directory; status 1 when something differs",
		Example: "  tollgate ledger verify\n" +
			"  tollgate ledger verify --data-dir /var/lib/tollgate",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p := newProgress(cmd.ErrOrStderr())
			if dir != "" { // not from the environment: a node's own would turn every question into this one
				output, _ := cmd.Flags().GetString("output")
				if output != "table" && output != "json" {
					return fmt.Errorf("--output %q: want table or json", output)
				}
				ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
				defer stop()
				r, err := verifyDir(ctx, dir, p)
				p.clear()
				if err != nil {
					return err
				}
				return showReport(cmd.OutOrStdout(), r, output)
			}
			c, err := newClient(cmd)
			if err != nil {
				return err
			}
			c.http.Timeout = 0 // as long as it counts
			p.show("counting")
			raw, err := c.fetch(http.MethodGet, "/spend/verify", nil, nil)
			p.clear()
			if err != nil {
				return err
			}
			var r verify.Report
			if err := json.Unmarshal(raw, &r); err != nil {
				return fmt.Errorf("read the answer of %s: %w", c.addr, err)
			}
			return showReport(c.out, &r, c.output)
		},
	}
	addClientFlags(cmd)
	cmd.Flags().StringVar(&dir, "data-dir", "", "`DIR` of a node that is stopped; without it a running node is asked")
	return cmd
}

// verifyDir recounts the ledger in a directory that no node uses. It works on a
// copy: opening a ledger books what was left open, which is the node's to do.
func verifyDir(ctx context.Context, dir string, p *progress) (r *verify.Report, err error) {
	ledger := filepath.Join(dir, "ledger")
	if _, err := os.Stat(ledger); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s has no ledger: name the data directory of a node", dir)
		}
		return nil, mend(fmt.Errorf("look for the ledger: %w", err))
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, mend(fmt.Errorf("open data directory: %w", err))
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("%s is in use: without --data-dir the node that runs there is asked", dir)
	}
	copied, err := os.MkdirTemp(dir, "ledger-verify-")
	if err != nil {
		return nil, mend(fmt.Errorf("make room for a copy: %w", err))
	}
	defer func() { err = errors.Join(err, os.RemoveAll(copied)) }()
	p.show("copying")
	if err := verify.Copy(ledger, copied); err != nil {
		return nil, mend(err)
	}
	l, err := store.Open(store.Config{Dir: copied, Ballast: -1, Sync: store.SyncNone, Fatal: func(error) {}})
	if err != nil {
		return nil, fmt.Errorf("open the copy: %w", err)
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	r, err = verify.Ledger(ctx, l, func(what string, n int64) { p.show(fmt.Sprintf("%d %s", n, what)) })
	if err == nil {
		if n := len(l.Interrupted()); n > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("%d calls were running when the node died: its next start books them at the most they may have cost", n))
		}
	}
	return r, err
}

// showReport prints what was found. A difference is an error without words: the
// table has said it.
func showReport(out io.Writer, r *verify.Report, output string) error {
	if output == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(r); err != nil {
			return err
		}
	} else if err := reportTable(out, r); err != nil {
		return err
	}
	if !r.OK() {
		return &silent{errors.New("the books differ")}
	}
	return nil
}

func reportTable(out io.Writer, r *verify.Report) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "CHECK\tLOOKED AT\tDIFFERENT\tRESULT")
	for _, c := range r.Checks {
		result := "ok"
		switch {
		case c.Differences > 0:
			result = "DIFFERS"
		case c.Skipped != "":
			result = "not checked: " + c.Skipped
		}
		fmt.Fprintf(w, "%s\t%d\t%d\t%s\n", c.Name, c.Looked, c.Differences, result)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, c := range r.Checks {
		for _, e := range c.Examples {
			fmt.Fprintf(out, "  %s\n", e)
		}
	}
	for _, n := range r.Notes {
		fmt.Fprintf(out, "Note: %s.\n", n)
	}
	return nil
}
