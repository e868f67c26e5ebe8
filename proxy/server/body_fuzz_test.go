package server_test

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/valyala/fasthttp"

	"tollgate/proxy/server"
)

func packed(coding, text string) []byte {
	var b bytes.Buffer
	if coding == "gzip" {
		w := gzip.NewWriter(&b)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
		return b.Bytes()
	}
	w, _ := zstd.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return b.Bytes()
}

func FuzzDecodeBody(f *testing.F) {
	const limit = 1 << 16
	for _, coding := range []string{"gzip", "zstd"} {
		f.Add(coding, packed(coding, `{"model":"m"}`))
		f.Add(coding, packed(coding, string(make([]byte, limit+1))))
		f.Add(coding, []byte("neither"))
	}
	f.Add("", []byte("{}"))
	f.Add("br", []byte("{}"))
	f.Fuzz(func(t *testing.T, coding string, data []byte) {
		var ctx fasthttp.RequestCtx
		ctx.Request.Header.SetContentEncoding(coding)
		ctx.Request.SetBody(data)
		got, ref := server.DecodeBody(&ctx, limit)
		if ref != nil {
			if ref.Status != 400 && ref.Status != 413 && ref.Status != 415 {
				t.Fatalf("refused with %d", ref.Status)
			}
			return
		}
		if len(got) > limit && len(data) <= limit {
			t.Fatalf("%d bytes unfolded from %d", len(got), len(data))
		}
	})
}
