package openai

import (
	"strconv"
	"strings"

	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/refusal"
)

// Error is one error as the client sees it.
type Error struct {
	Status   int
	Message  string
	Type     string // "": derived from the status, "None" in the old form
	Param    string // "": JSON null, "None" in the old form
	Code     string // "": the status as text; the code is always a string
	NullType bool   // the type is JSON null, in the new form
}

// FromRefusal is the error that a refusal of ours becomes.
func FromRefusal(r *refusal.Refusal) Error {
	return Error{Status: r.Status, Message: r.Message, Type: r.Type, Param: r.Param, Code: r.CodeText()}
}

// FromUpstream is the error that a provider's failure becomes: LiteLLM's
// message form, the provider's own type where it gave one.
func FromUpstream(providerName string, e *provider.Error) Error {
	out := Error{Status: e.Status, Message: UpstreamMessage(providerName, e), Type: e.Type, Param: e.Param}
	if e.Class == provider.RateLimit && !e.Permanent {
		out.Type = "throttling_error"
	}
	return out
}

// UpstreamMessage is LiteLLM's sentence for a provider's failure.
func UpstreamMessage(providerName string, e *provider.Error) string {
	return "litellm." + string(e.Class) + ": " + exceptionName(providerName) + " - " + e.Message
}

func exceptionName(providerName string) string {
	switch providerName {
	case "":
		return "Exception"
	case "openai", "custom_openai", "openai_like":
		return "OpenAIException"
	}
	return strings.ToUpper(providerName[:1]) + providerName[1:] + "Exception"
}

// Append appends the error envelope. old is the form of LiteLLM before 1.84,
// which wrote the text "None" for what it did not know.
func (e Error) Append(dst []byte, old bool) []byte {
	dst = append(dst, `{"error":{"message":`...)
	dst = jsonscan.AppendQuoted(dst, e.Message)
	dst = append(dst, `,"type":`...)
	switch {
	case e.Type != "":
		dst = jsonscan.AppendQuoted(dst, e.Type)
	case old:
		dst = append(dst, `"None"`...)
	case e.NullType:
		dst = append(dst, "null"...)
	default:
		dst = jsonscan.AppendQuoted(dst, refusal.TypeByStatus(e.Status))
	}
	dst = append(dst, `,"param":`...)
	switch {
	case e.Param != "":
		dst = jsonscan.AppendQuoted(dst, e.Param)
	case old:
		dst = append(dst, `"None"`...)
	default:
		dst = append(dst, "null"...)
	}
	dst = append(dst, `,"code":`...)
	code := e.Code
	if code == "" {
		code = strconv.Itoa(e.Status)
	}
	return append(jsonscan.AppendQuoted(dst, code), "}}"...)
}

// AppendFrame appends the error as a frame inside a running stream.
func (e Error) AppendFrame(dst []byte, old bool) []byte {
	dst = append(dst, "data: "...)
	return append(e.Append(dst, old), "\n\n"...)
}
