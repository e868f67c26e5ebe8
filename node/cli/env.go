package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tollgate/config/file"
)

// environment is the process's, with a .env file of the working folder under
// it unless LITELLM_MODE is PRODUCTION.
func environment() (file.Env, error) {
	return file.WithDotEnv(".env", os.LookupEnv)
}

// fromEnv fills the named flags, or all when none is named, from
// TOLLGATE_<FLAG>, or from one of the other names that LiteLLM users have set.
// What stands on the command line wins. It returns the flags that it filled.
func fromEnv(cmd *cobra.Command, env file.Env, other map[string][]string, only ...string) (map[string]bool, error) {
	filled := map[string]bool{}
	var err error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Changed || err != nil || f.Name == "help" || len(only) > 0 && !contains(only, f.Name) {
			return
		}
		names := append([]string{"TOLLGATE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))}, other[f.Name]...)
		for _, name := range names {
			v, ok := env(name)
			if !ok || v == "" {
				continue
			}
			if e := cmd.Flags().Set(f.Name, v); e != nil {
				err = fmt.Errorf("%s=%q: want %s", name, v, wanted(f))
			}
			filled[f.Name] = true
			return
		}
	})
	return filled, err
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

// wanted says in words what a flag takes.
func wanted(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "int":
		return "a whole number"
	case "bool":
		return "true or false"
	case "duration":
		return "a duration such as 90s or 2m"
	}
	return "text"
}

// flagError puts a slip in a flag into one sentence that says how to mend it;
// the parser's own speaks of its insides.
func flagError(cmd *cobra.Command, err error) error {
	text := err.Error()
	if rest, ok := strings.CutPrefix(text, "invalid argument "); ok {
		value, rest, _ := strings.Cut(rest, " for ")
		var found *pflag.Flag
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if strings.Contains(rest, "--"+f.Name+"\" flag") {
				found = f
			}
		})
		if found != nil {
			return fmt.Errorf("--%s %s: want %s", found.Name, value, wanted(found))
		}
	}
	if name, ok := strings.CutPrefix(text, "unknown flag: --"); ok {
		if near := nearFlag(cmd, name); near != "" {
			text += ": did you mean --" + near + "?"
		}
	}
	return fmt.Errorf("%s (see `%s --help`)", text, cmd.CommandPath())
}

// nearFlag is the flag that a mistyped name most likely means, or "".
func nearFlag(cmd *cobra.Command, name string) string {
	best, distance := "", 3
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if d := editDistance(name, f.Name); d < distance {
			best, distance = f.Name, d
		}
	})
	return best
}

// editDistance counts the letters to change, add or leave out between two names.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
