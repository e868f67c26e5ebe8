// Package dialect writes errors the way a caller's own SDK reads them: OpenAI's
// envelope or Anthropic's, whole or inside a stream.
package dialect

import (
	"strings"

	"tollgate/proxy/anthropic"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/openai"
	"tollgate/proxy/refusal"
)

// Dialect is a family of client SDKs.
type Dialect uint8

// The dialects.
const (
	OpenAI Dialect = iota
	Anthropic
)

// OfPath is the dialect that the callers of a route speak.
func OfPath(path string) Dialect {
	if path == "/v1/messages" || path == "/messages" || strings.HasPrefix(path, "/v1/messages/") || strings.HasPrefix(path, "/messages/") {
		return Anthropic
	}
	return OpenAI
}

// AppendError appends the error body. compatOld gives LiteLLM's older forms,
// with the text "None" where nothing is known.
func (d Dialect) AppendError(dst []byte, r *refusal.Refusal, requestID string, compatOld bool) []byte {
	switch {
	case r.Detail:
		dst = append(dst, `{"detail":`...)
		dst = jsonscan.AppendQuoted(dst, r.Message)
		return append(dst, '}')
	case d == Anthropic:
		return anthropic.AppendError(dst, r.Status, r.Message, requestID)
	}
	return openai.FromRefusal(r).Append(dst, compatOld)
}

// AppendStreamError appends the frame that ends a stream whose status has been
// sent already.
func (d Dialect) AppendStreamError(dst []byte, r *refusal.Refusal, requestID string) []byte {
	if d == Anthropic {
		return anthropic.AppendErrorEvent(dst, r.Status, r.Message, requestID)
	}
	return openai.FromRefusal(r).AppendFrame(dst, false)
}
