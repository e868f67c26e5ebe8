package members_test

import (
	"testing"

	"tollgate/cluster/members"
)

func FuzzApplyNeverPanicsAndSnapshotsRestore(f *testing.F) {
	c := admit("b", "t")
	f.Add(c.Encode())
	c = token("t", 1, noon)
	f.Add(c.Encode())
	f.Add([]byte(`{"op":"found","node":{"id":"x"},"ca":{},"key":{}}`))
	f.Add([]byte(`{"op":"start"}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		l := founded(t)
		l.Apply(9, noon, members.Version, payload)
		l.Publish()
		data := snapshot(l.Applier)
		again := members.NewApplier()
		swap, err := again.Restore(records(data))
		if err != nil {
			t.Fatalf("restore: %v", err)
		}
		swap()
		if string(snapshot(again)) != string(data) {
			t.Fatalf("snapshot differs:\n%s\n%s", data, snapshot(again))
		}
	})
}

func FuzzRestoreNeverPanics(f *testing.F) {
	f.Add([]byte(`1 {"generation":1}` + "\n" + `2 {"id":"a"}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		a := members.NewApplier()
		swap, err := a.Restore(func(yield func(byte, []byte) bool) { yield(data[0]-'0', data[2:]) })
		if err == nil {
			swap()
			a.Publish()
			a.State().Nodes()
		}
	})
}
