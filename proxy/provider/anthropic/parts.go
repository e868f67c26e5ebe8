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
	if !jsonscan.IsObject(part) {
		return nil, "a content part must be an object"
	}
	cache := cacheMark(part)
	switch kind := jsonscan.Text(part, "type"); kind {
	case "text", "input_text", "output_text":
		t := jsonscan.Member(part, "text")
		if !jsonscan.IsString(t) {
			return nil, "a text part needs a text"
		}
		if isBlank(t) {
			return nil, ""
		}
		block = textBlock(t, cache)
		if c := jsonscan.Member(part, "citations"); c != nil {
			block = setMember(block, "citations", c)
		}
		return block, ""
	case "refusal":
		t := jsonscan.Member(part, "refusal")
		if !jsonscan.IsString(t) || isBlank(t) {
			return nil, ""
		}
		return textBlock(t, cache), ""
	case "image_url":
		return imageBlock(part, cache)
	case "file":
		return fileBlock(jsonscan.Member(part, "file"), cache)
	case "input_audio", "video_url":
		return nil, "anthropic does not take parts of type " + kind
	case "":
		return nil, "a content part needs a type"
	}
	return part, ""
}

// cacheMark is the part's cache breakpoint in either maker's spelling.
func cacheMark(part []byte) []byte {
	if cc := jsonscan.Member(part, "cache_control"); cc != nil {
		return cc
	}
	if jsonscan.Member(part, "prompt_cache_breakpoint") != nil {
		return []byte(`{"type":"ephemeral"}`)
	}
	return nil
}

func textBlock(raw, cache []byte) []byte {
	b := append(make([]byte, 0, len(raw)+len(cache)+64), '{')
	b = jsonscan.AppendText(b, "type", "text")
	return closeBlock(jsonscan.AppendRaw(b, "text", raw), cache)
}

func closeBlock(b, cache []byte) []byte {
	if cache != nil {
		b = jsonscan.AppendRaw(b, "cache_control", cache)
	}
	return append(b, '}')
}

func imageBlock(part, cache []byte) ([]byte, string) {
	image := jsonscan.Member(part, "image_url")
	url, format := "", ""
	if jsonscan.IsObject(image) {
		url, format = jsonscan.Text(image, "url"), jsonscan.Text(image, "format")
	} else {
		url, _ = jsonscan.String(image)
	}
	if url == "" {
		return nil, "an image part needs image_url.url"
	}
	return mediaBlock(url, format, "", cache)
}

func fileBlock(file, cache []byte) ([]byte, string) {
	title := jsonscan.Text(file, "filename")
	if data := jsonscan.Text(file, "file_data"); data != "" {
		if !strings.HasPrefix(data, "data:") && !isURL(data) {
			data = "data:application/pdf;base64," + data
		}
		return mediaBlock(data, jsonscan.Text(file, "format"), title, cache)
	}
	id := jsonscan.Text(file, "file_id")
	switch {
	case id == "":
		return nil, "a file part needs file_data or file_id"
	case isURL(id) || strings.HasPrefix(id, "data:"):
		return mediaBlock(id, orElse(jsonscan.Text(file, "format"), "application/pdf"), title, cache)
	}
	b := jsonscan.AppendText([]byte{'{'}, "type", "document")
	b = append(jsonscan.AppendKey(b, "source"), '{')
	b = append(jsonscan.AppendText(jsonscan.AppendText(b, "type", "file"), "file_id", id), '}')
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
	b = append(jsonscan.AppendKey(jsonscan.AppendText(b, "type", kind), "source"), '{')
	switch {
	case inline && media == "text/plain":
		plain, err := base64.StdEncoding.DecodeString(data)
		if err != nil {
			return nil, "a data URL must be base64-encoded"
		}
		b = jsonscan.AppendText(jsonscan.AppendText(b, "type", "text"), "media_type", media)
		b = jsonscan.AppendText(b, "data", string(plain))
	case inline:
		b = jsonscan.AppendText(jsonscan.AppendText(b, "type", "base64"), "media_type", media)
		b = jsonscan.AppendText(b, "data", data)
	default:
		b = jsonscan.AppendText(jsonscan.AppendText(b, "type", "url"), "url", url)
	}
	b = append(b, '}')
	if title != "" && kind == "document" {
		b = jsonscan.AppendText(b, "title", title)
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
