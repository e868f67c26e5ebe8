//go:build !linux

package server

import (
	"errors"
	"syscall"
)

// refuseNew is a means of Linux alone.
func refuseNew(syscall.RawConn, bool) error { return errors.ErrUnsupported }
