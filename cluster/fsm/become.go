package fsm

import (
	"time"

	"tollgate/cluster/command"
)

// Now is the state's own clock: the time of the last command, never going back.
// It is for whoever works on a state machine that no raft drives.
func (f *FSM) Now() time.Time { return f.now }

// Become makes the state that of another cluster, with some parts replaced, so
// that a backup can start a cluster of its own. It is for a state machine that
// no raft drives.
func (f *FSM) Become(cluster string, replace map[command.Type]Applier) {
	f.cluster = cluster
	for t, a := range replace {
		f.appliers[t] = a
	}
}
