package anthropic

import (
	"encoding/base64"
	"strings"

	"tollgate/proxy/jsonscan"
)

// block turns one part into a block; nil without a problem leaves it out. A
// type that is not OpenAI's is the API's own and passes as it is.
func (r *request) block(part []byte) (block []byte, problem string) {
	if jsonscan.IsString(part) {
		if isBlank(part) {
			return nil, ""
		}
		return textBlock(part, nil), ""
	}
	if !isObject(part) {
		return nil, "a content part must be an object"
	}
	cache := cacheMark(part)
	switch kind := text(part, "type"); kind {
	case "text", "input_text", "output_text":
		t := member(part, "text")
		if !jsonscan.IsString(t) {
			return nil, "a text part needs a text"
		}
		if isBlank(t) {
			return nil, ""
		}
		block = textBlock(t, cache)
		if c := member(part, "citations"); c != nil {
			block = setMember(block, "citations", c)
		}
		return block, ""
	case "refusal":
		t := member(part, "refusal")
		if !jsonscan.IsString(t) || isBlank(t) {
			return nil, ""
		}
		return textBlock(t, cache), ""
	case "image_url":
		return imageBlock(part, cache)
	case "file":
		return fileBlock(member(part, "file"), cache)
	case "input_audio", "video_url":
		return nil, "anthropic does not take parts of type " + kind
	case "":
		return nil, "a content part needs a type"
	}
	return part, ""
}

// cacheMark is the part's cache breakpoint in either maker's spelling.
func cacheMark(part []byte) []byte {
	if cc := member(part, "cache_control"); cc != nil {
		return cc
	}
	if member(part, "prompt_cache_breakpoint") != nil {
		return []byte(`{"type":"ephemeral"}`)
	}
	return nil
}

func textBlock(raw, cache []byte) []byte {
	b := append(make([]byte, 0, len(raw)+len(cache)+64), '{')
	b = appendText(b, "type", "text")
	return closeBlock(appendRaw(b, "text", raw), cache)
}

func closeBlock(b, cache []byte) []byte {
	if cache != nil {
		b = appendRaw(b, "cache_control", cache)
	}
	return append(b, '}')
}

func imageBlock(part, cache []byte) ([]byte, string) {
	image := member(part, "image_url")
	url, format := "", ""
	if isObject(image) {
		url, format = text(image, "url"), text(image, "format")
	} else {
		url, _ = jsonscan.String(image)
	}
	if url == "" {
		return nil, "an image part needs image_url.url"
	}
	return mediaBlock(url, format, "", cache)
}

func fileBlock(file, cache []byte) ([]byte, string) {
	title := text(file, "filename")
	if data := text(file, "file_data"); data != "" {
		if !strings.HasPrefix(data, "data:") && !isURL(data) {
			data = "data:application/pdf;base64," + data
		}
		return mediaBlock(data, text(file, "format"), title, cache)
	}
	id := text(file, "file_id")
	switch {
	case id == "":
		return nil, "a file part needs file_data or file_id"
	case isURL(id) || strings.HasPrefix(id, "data:"):
		return mediaBlock(id, orElse(text(file, "format"), "application/pdf"), title, cache)
	}
	b := appendText([]byte{'{'}, "type", "document")
	b = append(appendKey(b, "source"), '{')
	b = append(appendText(appendText(b, "type", "file"), "file_id", id), '}')
	return closeBlock(b, cache), ""
}

// mediaBlock turns a data URL or an address into an image or a document.
func mediaBlock(url, format, title string, cache []byte) ([]byte, string) {
	media, data := format, ""
	inline := strings.HasPrefix(url, "data:")
	if inline {
		head, payload, ok := strings.Cut(url[len("data:"):], ",")
		if !ok || !strings.HasSuffix(head, ";base64") {
			return nil, "a data URL must be base64-encoded"
		}
		data = payload
		if head, _, _ = strings.Cut(strings.TrimSuffix(head, ";base64"), ";"); head != "" {
			media = head
		}
	} else if !isURL(url) {
		return nil, "an image must be a data URL or an http address"
	}
	media = strings.ToLower(media)
	if media == "image/jpg" {
		media = "image/jpeg"
	}
	kind := "image"
	if media == "application/pdf" || media == "text/plain" || !inline && strings.HasSuffix(strings.ToLower(url), ".pdf") {
		kind = "document"
	}
	b := append(make([]byte, 0, len(url)+160), '{')
	b = append(appendKey(appendText(b, "type", kind), "source"), '{')
	switch {
	case inline && media == "text/plain":
		plain, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return nil, "a data URL must be base64-encoded"
		}
		b = appendText(appendText(b, "type", "text"), "media_type", media)
		b = appendText(b, "data", string(plain))
	case inline:
		b = appendText(appendText(b, "type", "base64"), "media_type", media)
		b = appendText(b, "data", data)
	default:
		b = appendText(appendText(b, "type", "url"), "url", url)
	}
	b = append(b, '}')
	if title != "" && kind == "document" {
		b = appendText(b, "title", title)
	}
	return closeBlock(b, cache), ""
}

func isURL(s string) bool { return strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://") }

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
