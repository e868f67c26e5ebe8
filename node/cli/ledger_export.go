package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// exportOptions choose what is exported and where to.
type exportOptions struct {
	since, until, format, output      string
	key, user, team, model, tag, stat string
	bodies, force                     bool
}

func newLedgerExport() *cobra.Command {
	var o exportOptions
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write calls to a file or to standard output, a line each, newest first",
		Example: "  tollgate ledger export --since 2026-05-01 --until 2026-05-31 --format csv --output may.csv\n" +
			"  tollgate ledger export --since 24h --key sk-... --output day.jsonl",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			env, err := environment()
			if err != nil {
				return err
			}
			if _, err := fromEnv(cmd, env, nil, "addr"); err != nil {
				return err
			}
			addr, _ := cmd.Flags().GetString("addr")
			c, err := connect(env, addr)
			if err != nil {
				return err
			}
			c.out = cmd.OutOrStdout()
			c.http.Timeout = 0 // as long as rows come
			query, err := o.query(time.Now())
			if err != nil {
				return err
			}
			return c.export(query, &o, newProgress(cmd.ErrOrStderr()))
		},
	}
	f := cmd.Flags()
	f.String("addr", "http://127.0.0.1:4000", "`URL` of a node")
	f.StringVar(&o.since, "since", "", "first `TIME`: a date, a time, or how long ago, such as 7d (default: from the beginning)")
	f.StringVar(&o.until, "until", "", "last `TIME`; a date includes its day (default: now)")
	f.StringVar(&o.format, "format", "jsonl", "csv or jsonl")
	f.StringVar(&o.output, "output", "", "`FILE` to write (default: standard output)")
	f.StringVar(&o.key, "key", "", "only calls of one `KEY` (or its hash)")
	f.StringVar(&o.user, "user", "", "only calls of one `USER`")
	f.StringVar(&o.team, "team", "", "only calls of one `TEAM`")
	f.StringVar(&o.model, "model", "", "only calls of one `MODEL` or model group")
	f.StringVar(&o.tag, "tag", "", "only calls with this `TAG`")
	f.StringVar(&o.stat, "status", "", "only calls with this `STATUS`: success, failure, client_closed or interrupted")
	f.BoolVar(&o.bodies, "bodies", false, "with messages and responses, where they are kept")
	f.BoolVar(&o.force, "force", false, "replace FILE if it is there")
	return cmd
}

// query is what the node is asked.
func (o *exportOptions) query(now time.Time) (url.Values, error) {
	if o.format != "csv" && o.format != "jsonl" {
		return nil, fmt.Errorf("--format %q: want csv or jsonl", o.format)
	}
	since, err := moment("since", o.since, now)
	if err != nil {
		return nil, err
	}
	until, err := moment("until", o.until, now)
	if err != nil {
		return nil, err
	}
	q := url.Values{"format": {o.format}}
	// The API wants both ends or none.
	if o.since != "" || o.until != "" {
		if o.since == "" {
			since = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		}
		if o.until == "" {
			until = now.UTC()
		}
		if until.Before(since) {
			return nil, fmt.Errorf("--until %s is before --since %s", o.until, o.since)
		}
		q.Set("start_date", since.Format(time.RFC3339))
		if _, err := time.Parse(time.DateOnly, o.until); err == nil {
			q.Set("end_date", o.until)
		} else {
			q.Set("end_date", until.Format(time.RFC3339))
		}
	}
	for name, v := range map[string]string{"api_key": o.key, "user_id": o.user, "team_id": o.team, "model": o.model, "tag": o.tag, "status": o.stat} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if o.bodies {
		q.Set("bodies", "true")
	}
	return q, nil
}

// export writes the file under a name of its own and gives it the one that was
// asked for when it is whole.
func (c *client) export(query url.Values, o *exportOptions, p *progress) (err error) {
	if o.output != "" && !o.force {
		if _, err := os.Lstat(o.output); err == nil {
			return fmt.Errorf("%s is there already: name another file, or add --force to replace it", o.output)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("look at the file to write: %w", err)
		}
	}
	res, err := c.open(http.MethodGet, "/spend/logs/export", query, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	for _, w := range warnings(res.Header) {
		fmt.Fprintln(p.out, "warning:", w)
	}
	to, done := c.out, func() error { return nil }
	if o.output != "" {
		f, failed := os.CreateTemp(filepath.Dir(o.output), "."+filepath.Base(o.output)+".part-")
		if failed != nil {
			return mend(fmt.Errorf("write the export: %w", failed))
		}
		defer func() {
			if err != nil { // what has no name of its own is no export
				err = errors.Join(err, os.Remove(f.Name()))
			}
			_ = f.Close() // closed already when all went well
		}()
		to, done = f, func() error {
			if err := errors.Join(f.Sync(), f.Close()); err != nil {
				return mend(fmt.Errorf("write the export: %w", err))
			}
			return os.Rename(f.Name(), o.output)
		}
	}
	w := &rowCounter{to: bufio.NewWriterSize(to, 1<<16), p: p, quoted: o.format == "csv", total: res.Header.Get("X-Total-Rows")}
	_, err = io.Copy(w, res.Body)
	err = errors.Join(err, w.to.Flush())
	p.clear()
	rows := w.lines
	if o.format == "csv" && rows > 0 {
		rows-- // the heads
	}
	if err != nil {
		if o.output == "" {
			return fmt.Errorf("the export broke off after %d calls (%w): what was written is not whole", rows, err)
		}
		return fmt.Errorf("the export broke off after %d calls (%w): nothing was kept; try again", rows, err)
	}
	if err = done(); err != nil {
		return err
	}
	p.end(fmt.Sprintf("%d calls exported", rows))
	return nil
}

// rowCounter passes bytes on and counts the lines, which in CSV may hold line
// ends between quotes.
type rowCounter struct {
	to     *bufio.Writer
	p      *progress
	quoted bool // quotes matter
	inside bool
	lines  int
	total  string
	shown  time.Time
}

func (w *rowCounter) Write(b []byte) (int, error) {
	if w.quoted {
		for _, c := range b {
			switch {
			case c == '"':
				w.inside = !w.inside
			case c == '\n' && !w.inside:
				w.lines++
			}
		}
	} else {
		w.lines += bytes.Count(b, []byte{'\n'})
	}
	if now := time.Now(); now.Sub(w.shown) >= time.Second {
		w.shown = now
		text := strconv.Itoa(w.lines)
		if w.total != "" {
			text += " of " + w.total
		}
		w.p.show(text + " calls")
	}
	return w.to.Write(b)
}
