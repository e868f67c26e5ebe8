package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"tollgate/node/run"
)

// walk visits every command that a user can call, parents first.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	if cmd.Hidden || cmd.Name() == "help" {
		return
	}
	visit(cmd)
	for _, c := range cmd.Commands() {
		walk(c, visit)
	}
}

// everything is a node whose functions are all there and do nothing.
func everything() nodeFuncs {
	return nodeFuncs{
		serve:    func(context.Context, run.Options) error { return nil },
		restore:  func(context.Context, run.RestoreOptions) error { return nil },
		recovery: func(context.Context, run.RecoverOptions) error { return nil },
	}
}

func TestEveryCommandHasAShortTextAndAnExampleThatCallsIt(t *testing.T) {
	walk(newRoot(io.Discard, io.Discard, everything()), func(cmd *cobra.Command) {
		require.NotEmpty(t, cmd.Short, cmd.CommandPath())
		require.NotNil(t, cmd.Args, "%s takes any arguments in silence", cmd.CommandPath())
		require.NotEmpty(t, cmd.Example, cmd.CommandPath())
		for _, line := range strings.Split(cmd.Example, "\n") {
			require.Contains(t, line, cmd.CommandPath(), "an example of another command")
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			require.NotEmpty(t, f.Usage, "%s --%s", cmd.CommandPath(), f.Name)
		})
	})
}

func TestHelpOfEveryCommandShowsItsExample(t *testing.T) {
	walk(newRoot(io.Discard, io.Discard, everything()), func(cmd *cobra.Command) {
		args := append(strings.Fields(cmd.CommandPath())[1:], "--help")
		out, said, status := commandOf(everything(), args...)
		require.Zero(t, status, said)
		require.Contains(t, out, "Examples:", cmd.CommandPath())
	})
}

// Examples are parsed by the commands they show: a flag that is gone breaks here.
func TestExamplesParse(t *testing.T) {
	walk(newRoot(io.Discard, io.Discard, everything()), func(cmd *cobra.Command) {
		for _, line := range strings.Split(cmd.Example, "\n") {
			_, rest, ok := strings.Cut(strings.TrimSpace(line), "tollgate")
			require.True(t, ok, line)
			root := newRoot(io.Discard, io.Discard, everything())
			found, flags, err := root.Find(strings.Fields(rest))
			require.NoError(t, err, line)
			require.NoError(t, found.ParseFlags(flags), line)
			require.NoError(t, found.ValidateArgs(found.Flags().Args()), line)
		}
	})
}

func TestCommandLineReferenceIsUpToDate(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Command line\n\n" +
		"This page is written by `go test ./node/cli -update` from the commands themselves.\n\n" +
		"Flags without a command mean `serve`, so LiteLLM's way to start works: `tollgate --config config.yaml --port 4000`.\n" +
		"What stands on the command line wins over the environment, and the environment over a `.env` file in the\n" +
		"working folder (unread with `LITELLM_MODE=PRODUCTION`). Every command ends with status 0, or with 1 and one\n" +
		"sentence on standard error; faults of a config file come a line each.\n")
	walk(newRoot(io.Discard, io.Discard, everything()), func(cmd *cobra.Command) {
		fmt.Fprintf(&b, "\n## %s\n\n%s.\n\n```\n%s\n```\n", cmd.CommandPath(), cmd.Short, trimIndent(cmd.Example))
		flagTable(&b, cmd)
	})
	golden(t, filepath.Join(repository(t), "docs/cli.md"), b.String())
}

func trimIndent(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	return strings.Join(lines, "\n")
}

func flagTable(b *strings.Builder, cmd *cobra.Command) {
	head := false
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "help" {
			return
		}
		if !head {
			head = true
			b.WriteString("\n| Flag | Environment | Default | Meaning |\n|---|---|---|---|\n")
		}
		arg, usage := pflag.UnquoteUsage(f)
		name := "`--" + f.Name
		if arg != "" {
			name += " " + strings.ToUpper(arg)
		}
		name += "`"
		if f.Shorthand != "" {
			name += ", `-" + f.Shorthand + "`"
		}
		def := f.DefValue
		switch def {
		case "", "0", "0s", "false":
			def = ""
		default:
			def = "`" + def + "`"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, variables(cmd, f), def, strings.ReplaceAll(usage, "|", "\\|"))
	})
}

// variables are the environment names of a flag. All flags of a node have one;
// of other commands those that say where to work: the fields of objects and the
// choices of one call must not come from the environment of a node.
func variables(cmd *cobra.Command, f *pflag.Flag) string {
	node := cmd.Name() == "serve" || cmd.Name() == "join"
	if !node && !contains([]string{"addr", "output", "config", "effective", "data-dir"}, f.Name) || cmd.CommandPath() == "tollgate snapshot verify" ||
		contains([]string{"tollgate ledger export --output", "tollgate ledger verify --data-dir"}, cmd.CommandPath()+" --"+f.Name) {
		return ""
	}
	names := []string{"`TOLLGATE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_")) + "`"}
	for _, n := range serveAlso[f.Name] {
		names = append(names, "`"+n+"`")
	}
	return strings.Join(names, ", ")
}

// Links of the pages lead to files and headings that are there.
func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	root := repository(t)
	pages, err := filepath.Glob(filepath.Join(root, "docs/*.md"))
	require.NoError(t, err)
	pages = append(pages, filepath.Join(root, "README.md"), filepath.Join(root, "CHANGELOG.md"))
	for _, page := range pages {
		raw, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(string(raw), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			path, anchor, _ := strings.Cut(m[1], "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			_, err := os.Stat(target)
			require.NoError(t, err, "%s links to %s", page, m[1])
			if anchor != "" {
				require.Contains(t, anchors(t, target), anchor, "%s links to %s", page, m[1])
			}
		}
	}
}

// anchors are the names that a page's headings get when it is shown.
func anchors(t *testing.T, page string) []string {
	t.Helper()
	raw, err := os.ReadFile(page)
	require.NoError(t, err)
	var out []string
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(string(raw), -1) {
		kept := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(m[1]), "")
		out = append(out, strings.ReplaceAll(kept, " ", "-"))
	}
	return out
}

// A caller who meets a code of ours must find it on the page of errors.
func TestEveryCodeOfOursStandsOnThePageOfErrors(t *testing.T) {
	root := repository(t)
	page, err := os.ReadFile(filepath.Join(root, "docs/errors.md"))
	require.NoError(t, err)
	calls := regexp.MustCompile(`refusal\.Unavailable\("([a-z_]+)"`)
	found := 0
	for _, room := range []string{"proxy", "node"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(root, room), func(path string, d os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, m := range calls.FindAllStringSubmatch(string(source), -1) {
				found++
				require.True(t, strings.Contains(string(page), "`"+m[1]+"`"), "%s refuses with %s: add it to docs/errors.md", path, m[1])
			}
			return err
		}))
	}
	require.NotZero(t, found)
}
