package call

import (
	"bytes"

	"tollgate/proxy/provider"
)

// imageTokens bounds what one inline image or file counts as; its base64 text
// is no prompt text.
const imageTokens = 3000

// measure counts the bytes of prompt text, leaving out inline base64 data. A
// token is at least one byte, so the count bounds the input tokens.
func (c *call) measure(raw []byte) {
	n := int64(len(raw))
	rest := raw
	for {
		i := bytes.Index(rest, []byte(";base64,"))
		if i < 0 {
			break
		}
		rest = rest[i+len(";base64,"):]
		end := bytes.IndexByte(rest, '"')
		if end < 0 {
			break
		}
		n -= int64(end)
		c.req.images++
		rest = rest[end:]
	}
	if c.op == provider.OpMessages {
		n -= c.inlineData(raw)
	}
	c.req.inputBytes += n
}

// inlineData finds Anthropic's base64 sources: a "data" field beside a media type.
func (c *call) inlineData(raw []byte) (bytesOut int64) {
	rest := raw
	for {
		i := bytes.Index(rest, []byte(`"data":`))
		if i < 0 {
			return bytesOut
		}
		rest = bytes.TrimLeft(rest[i+len(`"data":`):], " ")
		if len(rest) == 0 || rest[0] != '"' {
			continue
		}
		end := bytes.IndexByte(rest[1:], '"')
		if end < 0 {
			return bytesOut
		}
		if end > 1024 {
			bytesOut += int64(end)
			c.req.images++
		}
		rest = rest[1+end:]
	}
}

// inputBound is the most input tokens the call can be billed for.
func (r *request) inputBound() int64 { return r.inputBytes + r.overwritten + r.images*imageTokens + 16 }

// inputEstimate is the likely number of input tokens, for token limits.
func (r *request) inputEstimate() int64 { return r.inputBytes/4 + r.images*1000 + 1 }
