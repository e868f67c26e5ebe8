package cli

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"tollgate/proxy/clusterapi"
)

func newSecrets() *cobra.Command {
	cmd := &cobra.Command{Use: "secrets", Short: "Change the salt key (KEK) that protects the secrets of the cluster", Example: "  tollgate secrets status", Args: cobra.NoArgs, RunE: helpOnly}
	addClientFlags(cmd)
	cmd.AddCommand(newSecretsRotate(), newSecretsStep("status", http.MethodGet, "/cluster/secrets/rotate", "Show how far a change has come"),
		newSecretsStep("finish", http.MethodPost, "/cluster/secrets/finish", "Let go of the former key, once every node starts with the new one"))
	return cmd
}

// newSaltKey is the variable that holds the new key; there is no flag, because
// what stands on a command line is seen by every process of the machine.
const newSaltKey = "TOLLGATE_NEW_SALT_KEY"

func newSecretsRotate() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Seal all secrets under a new salt key: from " + newSaltKey + ", a file, or asked for",
		Example: "  tollgate secrets rotate --new-salt-key-file new.key\n" +
			"  TOLLGATE_NEW_SALT_KEY=$(cat new.key) tollgate secrets rotate",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			key, err := readNewSaltKey(cmd, path)
			if err != nil {
				return err
			}
			var rot clusterapi.Rotation
			if shown, err := c.ask(http.MethodPost, "/cluster/secrets/rotate", nil, map[string]any{"new_kek": key}, &rot); err != nil || shown {
				return err
			}
			return c.sayRotation(&rot)
		},
	}
	cmd.Flags().StringVar(&path, "new-salt-key-file", "", "`FILE` that holds the new key")
	return cmd
}

func readNewSaltKey(cmd *cobra.Command, path string) (string, error) {
	env, err := environment()
	if err != nil {
		return "", err
	}
	key, _ := env(newSaltKey)
	switch {
	case path != "":
		return secretFile("--new-salt-key-file", path)
	case strings.TrimSpace(key) != "":
		return strings.TrimSpace(key), nil
	case !isTerminal(cmd.InOrStdin()):
		return "", errors.New("no new salt key: set " + newSaltKey + " or give --new-salt-key-file; `openssl rand -base64 32` makes a good one")
	}
	first, err := askSecret(cmd, "New salt key: ")
	if err != nil {
		return "", err
	}
	again, err := askSecret(cmd, "Once more: ")
	switch {
	case err != nil:
		return "", err
	case first == "":
		return "", errors.New("the new salt key is empty: nothing was changed")
	case first != again:
		return "", errors.New("the two differ: nothing was changed")
	}
	return first, nil
}

// askSecret reads a line that the terminal does not show.
func askSecret(cmd *cobra.Command, prompt string) (string, error) {
	in, out := cmd.InOrStdin(), cmd.ErrOrStderr()
	fmt.Fprint(out, prompt)
	show, err := hideInput(in)
	if err != nil {
		return "", fmt.Errorf("hide what is typed: %w", err)
	}
	// Ctrl-C must not leave a terminal that shows nothing.
	stopped := make(chan os.Signal, 1)
	signal.Notify(stopped, os.Interrupt, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		select {
		case <-stopped:
			show()
			fmt.Fprintln(out)
			os.Exit(1)
		case <-done:
		}
	}()
	line, err := readLine(in)
	close(done)
	signal.Stop(stopped)
	show()
	fmt.Fprintln(out)
	if err != nil {
		return "", fmt.Errorf("read the new salt key: %w", err)
	}
	return strings.TrimSpace(line), nil
}

func newSecretsStep(verb, method, path, short string) *cobra.Command {
	return &cobra.Command{Use: verb, Short: short, Example: "  tollgate secrets " + verb, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := newClusterClient(cmd)
			if err != nil {
				return err
			}
			var rot clusterapi.Rotation
			if shown, err := c.ask(method, path, nil, nil, &rot); err != nil || shown {
				return err
			}
			return c.sayRotation(&rot)
		}}
}

// sayRotation tells how a rotation stands and what the operator does next.
func (c *client) sayRotation(rot *clusterapi.Rotation) error {
	if err := c.say("current key   %s", rot.Current); err != nil || len(rot.Former) == 0 {
		return err
	}
	if err := c.say("still open    %s\nsealed anew   %d values", strings.Join(rot.Former, ", "), rot.Resealed); err != nil {
		return err
	}
	if len(rot.Pending) > 0 {
		return c.say("not yet on    %s\nNext: give those nodes the new LITELLM_SALT_KEY (or TOLLGATE_KEK) and start them again, then `tollgate secrets finish`.", strings.Join(rot.Pending, ", "))
	}
	return c.say("Next: put the new key into the LITELLM_SALT_KEY (or TOLLGATE_KEK) of every node, then `tollgate secrets finish`.")
}
