package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

func newJoin(serve serveFunc) *cobra.Command {
	var n nodeFlags
	var file string
	cmd := &cobra.Command{
		Use:   "join HOST:PORT[,…]",
		Short: "Add this machine to a cluster and serve; on a directory that has a node it restarts that node",
		Example: "  tollgate join 10.0.0.1:7946 --token TOKEN\n" +
			"  tollgate join node-1:7946,node-2:7946 --token-file token --region eu-west --config config.yaml",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			filled, err := n.read(cmd)
			if err != nil {
				return err
			}
			typed := cmd.Flags().Changed("token") && !filled["token"]
			switch {
			case file != "" && typed && !filled["token-file"]:
				return errors.New("--token and --token-file: give one of them")
			case file != "" && !typed:
				if n.o.Token, err = secretFile("--token-file", file); err != nil {
					return err
				}
			}
			n.o.Join = addresses(args...)
			if len(n.o.Join) == 0 {
				return errors.New("no node to join: name the HOST:PORT of a cluster port, such as 10.0.0.1:7946")
			}
			return runNode(serve, n.o)
		},
	}
	n.add(cmd)
	cmd.Flags().StringVar(&n.o.Token, "token", "", "join `TOKEN`, as token create prints it; better in the environment or in a file")
	cmd.Flags().StringVar(&file, "token-file", "", "`FILE` that holds the join token")
	return cmd
}

// secretFile reads a secret from a file, without the line's end that editors add.
func secretFile(flag, path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s: %w", flag, err)
	}
	text := strings.TrimSpace(string(raw))
	if text == "" {
		return "", fmt.Errorf("%s %s: the file is empty", flag, path)
	}
	return text, nil
}
