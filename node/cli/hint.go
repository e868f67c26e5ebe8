package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"tollgate/cluster"
)

// mend adds to a failed start what the operator can do about it. The rooms say
// what went wrong; only the command line knows the flag that mends it.
func mend(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, cluster.ErrInUse):
		return fmt.Errorf("%w: stop that process or choose another directory with --data-dir", err)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: stop what listens there or choose another address", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("%w: this machine does not have that address", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: give this user the right, or choose another place", err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: make room, or choose another disk with --data-dir", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: choose a writable directory with --data-dir", err)
	}
	return err
}
