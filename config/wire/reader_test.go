package wire_test

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/wire"
)

func TestWhatWasWrittenIsReadAndNothingAfterAFault(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, i := rapid.Uint64().Draw(t, "n"), rapid.Int64().Draw(t, "i")
		text, flag := rapid.String().Draw(t, "text"), rapid.Bool().Draw(t, "flag")
		p := binary.AppendVarint(binary.AppendUvarint(nil, n), i)
		p = append(binary.AppendUvarint(p, uint64(len(text))), text...)
		b := byte(0)
		if flag {
			b = 1
		}
		p = append(p, b)
		r := wire.NewReader(p)
		require.Equal(t, []any{n, i, text, flag}, []any{r.Uint(), r.Int(), r.Text(), r.Flag()})
		require.NoError(t, r.End())

		cut := wire.NewReader(p[:rapid.IntRange(0, len(p)-1).Draw(t, "cut")])
		cut.Uint()
		cut.Int()
		cut.Bytes()
		require.False(t, cut.Flag())
		require.ErrorIs(t, cut.End(), wire.ErrShort)
	})
}

func TestFaultsAreTold(t *testing.T) {
	mine := errors.New("mine")
	for name, tc := range map[string]struct {
		payload []byte
		read    func(r *wire.Reader)
		want    string
	}{
		"a flag of two":         {[]byte{2}, func(r *wire.Reader) { r.Flag() }, "flag 2"},
		"an unknown flag":       {[]byte{8}, func(r *wire.Reader) { r.Flags(3) }, "unknown flags 0x8"},
		"a count that lies":     {[]byte{200, 1, 0, 0}, func(r *wire.Reader) { r.Count(1) }, "ends early"},
		"a text that is cut":    {[]byte{3, 'a', 'b'}, func(r *wire.Reader) { r.Text() }, "ends early"},
		"bytes that are left":   {[]byte{1, 2, 3}, func(r *wire.Reader) { r.Byte() }, "2 bytes too many"},
		"the first fault stays": {[]byte{2}, func(r *wire.Reader) { r.Flag(); r.Fail(mine) }, "flag 2"},
		"the reader's own":      {[]byte{0}, func(r *wire.Reader) { r.Fail(mine); r.Uint() }, "mine"},
	} {
		t.Run(name, func(t *testing.T) {
			r := wire.NewReader(tc.payload)
			tc.read(&r)
			require.ErrorContains(t, r.End(), tc.want)
		})
	}
}
