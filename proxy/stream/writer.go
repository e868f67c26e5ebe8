package stream

import "bytes"

// Done is the frame that ends an OpenAI stream.
const Done = "data: [DONE]\n\n"

// KeepAliveOpenAI is a sign of life on OpenAI routes. It ends in one line end
// only: the official Python client takes a blank line for an event without
// data and fails on it.
const KeepAliveOpenAI = ": ka\n"

// KeepAliveAnthropic is a sign of life on Anthropic routes.
const KeepAliveAnthropic = "event: ping\ndata: {\"type\": \"ping\"}\n\n"

// IsDone reports whether an event's data is OpenAI's end marker. It goes by
// prefix, as some servers append to it.
func IsDone(data []byte) bool {
	return len(data) >= 6 && data[0] == '[' && string(data[:6]) == "[DONE]"
}

// AppendData appends one nameless event holding a JSON document.
func AppendData(dst, json []byte) []byte {
	dst = append(dst, "data: "...)
	return append(appendLine(dst, json), "\n\n"...)
}

// AppendEvent appends one named event holding a JSON document.
func AppendEvent(dst []byte, name string, json []byte) []byte {
	dst = append(dst, "event: "...)
	dst = append(dst, name...)
	dst = append(dst, "\ndata: "...)
	return append(appendLine(dst, json), "\n\n"...)
}

// appendLine puts a document on one line. Line ends in JSON stand between
// tokens only, so a blank does as well; inside a data line they would end it.
func appendLine(dst, json []byte) []byte {
	start := len(dst)
	dst = append(dst, json...)
	if bytes.IndexByte(json, '\n') < 0 && bytes.IndexByte(json, '\r') < 0 {
		return dst
	}
	for i := start; i < len(dst); i++ {
		if dst[i] == '\n' || dst[i] == '\r' {
			dst[i] = ' '
		}
	}
	return dst
}
