package raftlog

import (
	"bytes"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func FuzzDecodeLog(f *testing.F) {
	f.Add(appendLog(nil, &raft.Log{Term: 4, Data: []byte("d"), Extensions: []byte("e"), AppendedAt: time.Unix(1, 2)}))
	f.Add([]byte{1, 1, 0})
	f.Fuzz(func(t *testing.T, src []byte) {
		var l, again raft.Log
		if decodeLog(7, src, &l) != nil {
			return
		}
		if err := decodeLog(7, appendLog(nil, &l), &again); err != nil {
			t.Fatal(err)
		}
		if l.Term != again.Term || l.Type != again.Type || !bytes.Equal(l.Data, again.Data) ||
			!bytes.Equal(l.Extensions, again.Extensions) || !l.AppendedAt.Equal(again.AppendedAt) {
			t.Fatalf("%+v became %+v", l, again)
		}
	})
}
