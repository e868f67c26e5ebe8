package run

import (
	"io"

	"tollgate/config/file"
)

// RestoreOptions say which snapshot becomes the state of a new cluster, and
// where. No node runs meanwhile.
type RestoreOptions struct {
	File    string // the snapshot
	DataDir string // of the node that is to start with it
	Env     file.Env
	Out     io.Writer // what the operator reads: one line a fact
}

// RecoverOptions say which data directory gets a cluster of its own again after
// a majority of the voters is lost for good. No node runs meanwhile.
type RecoverOptions struct {
	DataDir   string
	PeersFile string // who belongs to it; "" is this node alone
	Env       file.Env
	Out       io.Writer // what the operator reads: one line a fact
}
