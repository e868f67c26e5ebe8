package server

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/valyala/fasthttp"

	"tollgate/proxy/refusal"
)

// zstdWindow is the window that every zstd sender may use, however small its
// body and our limit are: RFC 8878 asks decoders for at least 8 MiB.
const zstdWindow = 8 << 20

// decodeBody undoes the content coding of a request body. Agents send theirs
// compressed; the limit counts decoded bytes, so that a bomb does not unfold.
func decodeBody(ctx *fasthttp.RequestCtx, limit int) ([]byte, *refusal.Refusal) {
	raw := ctx.PostBody()
	coding := ctx.Request.Header.ContentEncoding()
	switch string(bytes.ToLower(coding)) {
	case "", "identity":
		return raw, nil
	case "gzip":
		zr, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return nil, badCoding("gzip", err)
		}
		return inflate("gzip", zr, limit)
	case "zstd":
		zr, err := zstd.NewReader(bytes.NewReader(raw), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(max(limit, zstdWindow))))
		if err != nil {
			return nil, badCoding("zstd", err)
		}
		defer zr.Close()
		return inflate("zstd", zr, limit)
	}
	return nil, refusal.New(415, "invalid_request_error", "content-encoding",
		"Unsupported content-encoding. Send gzip, zstd or an uncompressed body.")
}

func inflate(coding string, r io.Reader, limit int) ([]byte, *refusal.Refusal) {
	body, err := io.ReadAll(io.LimitReader(r, int64(limit)+1))
	switch {
	case len(body) > limit, errors.Is(err, zstd.ErrDecoderSizeExceeded), errors.Is(err, zstd.ErrWindowSizeExceeded):
		return nil, tooLarge(limit)
	case err != nil:
		return nil, badCoding(coding, err)
	}
	return body, nil
}

func badCoding(coding string, err error) *refusal.Refusal {
	return refusal.New(400, "invalid_request_error", "request_body", "The request body is not valid "+coding+": "+err.Error()+".")
}
