package gossip

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Whatever order messages come in and however often: none is taken twice, none
// of an earlier start after one of a later, and all that are less than a window
// late are taken.
func TestWindowTakesEachMessageOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type message struct {
			inc uint32
			seq uint64
		}
		base := rapid.SampledFrom([]uint32{0, 1, 1<<32 - 2}).Draw(t, "base") // incarnations wrap
		var w window
		taken := make(map[message]bool)
		var newest uint32
		var top uint64
		started := false
		for range rapid.IntRange(1, 400).Draw(t, "messages") {
			m := message{base + rapid.Uint32Range(0, 3).Draw(t, "inc"), rapid.OneOf(rapid.Uint64Range(0, 40), rapid.Uint64Range(0, 5000)).Draw(t, "seq")}
			got := w.accept(m.inc, m.seq)
			var want bool
			switch {
			case !started || int32(m.inc-newest) > 0:
				want, started, newest, top = true, true, m.inc, m.seq
			case m.inc != newest:
			case m.seq > top:
				want, top = true, m.seq
			default:
				want = top-m.seq < windowBits && !taken[m]
			}
			require.Equal(t, want, got, "%v", m)
			require.False(t, got && taken[m])
			if got {
				taken[m] = true
			}
		}
	})
}
