package store_test

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/google/go-cmp/cmp"

	"tollgate/ledger/store"
)

func FuzzDecodeEntry(f *testing.F) {
	f.Add(store.AppendEntry(nil, fullEntry()))
	f.Add(store.AppendEntry(nil, sampleEntry(1)))
	retried := sampleEntry(2)
	retried.Tried = triedTwice()
	f.Add(store.AppendEntry(nil, retried))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := store.DecodeEntry(1, data)
		if err != nil {
			return
		}
		again, err := store.DecodeEntry(1, store.AppendEntry(nil, e))
		if err != nil {
			t.Fatalf("what was read cannot be written and read: %v", err)
		}
		if d := cmp.Diff(e, again, exported); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzDecodeIntent(f *testing.F) {
	f.Add(store.AppendIntent(nil, sampleIntent(1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		in, err := store.DecodeIntent(data)
		if err != nil || len(data) > 4096 {
			return
		}
		again, err := store.DecodeIntent(store.AppendIntent(nil, in))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(in, again); d != "" {
			t.Fatal(d)
		}
	})
}

func FuzzDecodeSlot(f *testing.F) {
	payload := store.AppendIntent(nil, sampleIntent(1))
	slot := make([]byte, 512)
	binary.LittleEndian.PutUint32(slot, 0x31544e49)
	binary.LittleEndian.PutUint32(slot[4:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(slot[8:], crc32.Checksum(payload, crc32.MakeTable(crc32.Castagnoli)))
	copy(slot[12:], payload)
	if store.DecodeSlot(slot) == nil {
		f.Fatal("a good slot is refused")
	}
	f.Add(slot)
	f.Fuzz(func(_ *testing.T, data []byte) { store.DecodeSlot(data) })
}

func FuzzReadSums(f *testing.F) {
	f.Add(store.AppendSums(nil, &store.Sums{Requests: 1, Spend: 5}))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := store.ReadSums(data)
		if err != nil {
			return
		}
		again, err := store.ReadSums(store.AppendSums(nil, &s))
		if err != nil || again != s {
			t.Fatalf("%+v became %+v: %v", s, again, err)
		}
	})
}

func FuzzReadRollupKey(f *testing.F) {
	f.Add(store.RollupKeyBytes(store.RollupKey{Day: 20000, Dim: store.ByTag, Entity: "x", Model: "m"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := store.ReadRollupKey(data)
		if err != nil || len(data) > 1000 {
			return
		}
		again, err := store.ReadRollupKey(store.RollupKeyBytes(k))
		if err != nil || again != k {
			t.Fatalf("%+v became %+v: %v", k, again, err)
		}
	})
}

func FuzzDecodeBodies(f *testing.F) {
	f.Add([]byte("(\xb5/\xfd\x04\x00"))
	z, err := store.NewCoders()
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(_ *testing.T, data []byte) { _ = store.DecodeBodies(z, &store.Entry{}, data) })
}
