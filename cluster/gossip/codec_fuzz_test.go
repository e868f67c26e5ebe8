package gossip

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzMeta(f *testing.F) {
	m := someMeta()
	b, _ := m.encode()
	f.Add(b)
	f.Add(make([]byte, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMeta(b)
		if err != nil {
			return
		}
		if again, err := m.encode(); err == nil {
			back, err := decodeMeta(again)
			require.NoError(t, err)
			require.Equal(t, m.NodeID, back.NodeID)
			require.Equal(t, m.Region, back.Region)
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add(frame{kind: KindStatus, short: 1, inc: 2, seq: 3, body: []byte("b")}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if fr, err := decodeFrame(b); err == nil {
			require.Equal(t, b, fr.encode())
		}
	})
}

func FuzzStatus(f *testing.F) {
	s := someStatus()
	f.Add(s.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decodeStatus(b); err == nil && len(s.ConfigHash) <= 64 {
			back, err := decodeStatus(s.encode())
			require.NoError(t, err)
			require.Equal(t, s, back)
		}
	})
}

func FuzzExchange(f *testing.F) {
	b, _ := encodeExchange(someNode, []section{{KindStatus, encodeStatuses([]knownStatus{{someNode, 1, 2, 3, someStatus()}})}, {KindCooldown, nil}})
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, sections, err := decodeExchange(b)
		if err != nil {
			return
		}
		for _, s := range sections {
			_, _ = decodeStatuses(s.body)
		}
	})
}
