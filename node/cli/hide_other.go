//go:build !linux

package cli

import (
	"errors"
	"io"
)

// hideInput refuses where it cannot keep a secret off the screen: a file or the
// environment does as well.
func hideInput(io.Reader) (show func(), err error) {
	return nil, errors.New("this system's terminal is not known: use --new-salt-key-file")
}
