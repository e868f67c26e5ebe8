package openai

import (
	"strconv"

	"tollgate/config/price"
	"tollgate/proxy/jsonscan"
)

// Object names of answers and chunks. Text completions use one for both.
const (
	ObjectChat  = "chat.completion"
	ObjectChunk = "chat.completion.chunk"
	ObjectText  = "text_completion"
)

// Head is what every chunk of one stream, or a whole answer, begins with.
type Head struct {
	ID      string
	Object  string
	Created int64
	Model   string
}

// AppendHead opens the object and leaves it open.
func (h *Head) AppendHead(dst []byte) []byte {
	dst = append(dst, `{"id":`...)
	dst = jsonscan.AppendQuoted(dst, h.ID)
	dst = append(dst, `,"object":`...)
	dst = jsonscan.AppendQuoted(dst, h.Object)
	dst = append(dst, `,"created":`...)
	dst = strconv.AppendInt(dst, h.Created, 10)
	dst = append(dst, `,"model":`...)
	return jsonscan.AppendQuoted(dst, h.Model)
}

// AppendDelta appends a frame with one choice. delta is a raw object, for text
// completions the raw text; finish "" is null.
func (h *Head) AppendDelta(dst []byte, index int, delta []byte, finish string) []byte {
	dst = append(dst, "data: "...)
	dst = h.AppendHead(dst)
	dst = append(dst, `,"choices":[{"index":`...)
	dst = strconv.AppendInt(dst, int64(index), 10)
	if h.Object == ObjectText {
		dst = append(dst, `,"text":`...)
		dst = append(dst, delta...)
		dst = append(dst, `,"logprobs":null`...)
	} else {
		dst = append(dst, `,"delta":`...)
		dst = append(dst, delta...)
	}
	dst = append(dst, `,"finish_reason":`...)
	if finish == "" {
		dst = append(dst, "null"...)
	} else {
		dst = jsonscan.AppendQuoted(dst, finish)
	}
	return append(dst, "}]}\n\n"...)
}

// AppendUsageFrame appends the chunk that holds the usage and no choices. raw
// is the provider's usage object; nil makes one from u.
func (h *Head) AppendUsageFrame(dst []byte, u *price.Usage, raw []byte) []byte {
	dst = append(dst, "data: "...)
	dst = h.AppendHead(dst)
	dst = append(dst, `,"choices":[],"usage":`...)
	if raw != nil {
		dst = append(dst, raw...)
	} else {
		dst = AppendUsage(dst, u)
	}
	return append(dst, "}\n\n"...)
}
