package cache

import "tollgate/proxy/jsonscan"

// Whole reports whether a document is an answer that may be given again: of every
// choice there is an end, and no filter has cut it.
func Whole(doc []byte, messages bool) bool {
	var o jsonscan.Object
	if o.ParseTop(doc) != nil || o.Has("error") {
		return false
	}
	if messages {
		raw, _ := o.Get("stop_reason")
		reason, ok := jsonscan.String(raw)
		return ok && reason != "refusal"
	}
	choices, _ := o.Get("choices")
	n := 0
	for it := jsonscan.Walk(choices); ; n++ {
		c, ok := it.Element()
		if !ok {
			return n > 0
		}
		if reason, ok := jsonscan.String(jsonscan.Find(c, "finish_reason")); !ok || reason == "content_filter" {
			return false
		}
	}
}

// Named is the document with the model's name as the caller used it.
func Named(dst, doc []byte, model string) []byte {
	var o jsonscan.Object
	if o.ParseTop(doc) != nil {
		return append(dst, doc...)
	}
	return o.Rewrite(dst, []jsonscan.Edit{{Key: "model", Value: jsonscan.Quoted(model)}}, nil)
}

// Usage is the raw usage of a document, nil when it has none.
func Usage(doc []byte) []byte {
	var o jsonscan.Object
	if o.ParseTop(doc) != nil {
		return nil
	}
	raw, _ := o.Get("usage")
	if !jsonscan.IsObject(raw) {
		return nil
	}
	return raw
}
