package cli

import (
	"fmt"
	"os"
	"regexp"

	"github.com/spf13/cobra"

	"tollgate/config/file"
)

// references are the environment variables that a config names. The name ends
// where the file format ends it, so a reference inside quotes is found as well.
var references = regexp.MustCompile(`os\.environ/[ \t]*([^\s"'=,\]}#]+)`)

// brought is the body of a request that brings a config: its text and the
// environment that the text refers to, no variable more. Without a file the
// body is nil: the node takes its own. The file is read here first, so that
// every fault is told with its line and nothing is sent.
func brought(cmd *cobra.Command, args []string) (body map[string]any, err error) {
	path, _ := cmd.Flags().GetString("config")
	if len(args) == 1 {
		path = args[0]
	}
	if path == "" {
		return nil, nil
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	asked := map[string]string{}
	recorded := func(name string) (string, bool) {
		v, ok := env(name)
		if ok && v != "" {
			asked[name] = v
		}
		return v, ok
	}
	loaded, err := file.Load(path, recorded)
	if err != nil {
		return nil, err
	}
	if _, err := file.Parse(path, text, env, nil); err != nil {
		// Good as a file, but not alone: it names others, which do not travel.
		return nil, fmt.Errorf("%s needs other files, and only its own text is sent: make it the --config of a node and let that node apply it, with `%s` and no file (%w)",
			path, cmd.CommandPath(), err)
	}
	warn(cmd, loaded)
	values := map[string]string{}
	for _, m := range references.FindAllSubmatch(text, -1) {
		name := string(m[1])
		if v, ok := asked[name]; ok {
			values[name] = v
		}
	}
	return map[string]any{"text": string(text), "env": values}, nil
}
