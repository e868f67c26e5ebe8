//go:build !linux

package server

import (
	"errors"
	"syscall"
)

// ignoreNew is a means of Linux alone.
func ignoreNew(syscall.RawConn) error { return errors.ErrUnsupported }
