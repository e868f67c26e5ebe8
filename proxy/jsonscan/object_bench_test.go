package jsonscan_test

import (
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"tollgate/proxy/jsonscan"
)

var chat1K = []byte(`{"model":"gpt-4o","messages":[{"role":"system","content":"You are a careful assistant. Answer in short sentences and say what you do not know."},` +
	`{"role":"user","content":"` + strings.Repeat("The quick brown fox jumps over the lazy dog. ", 9) + `"},` +
	`{"role":"assistant","content":"It does, \"every day\".\nAnd the dog?"},{"role":"user","content":[{"type":"text","text":"Describe the dog, please."}]}],` +
	`"temperature":0.7,"max_tokens":256,"stream":true,"stream_options":{"include_usage":true},"user":"customer-17",` +
	`"metadata":{"session_id":"s-1","agent_name":"reader"},"stop":["\n\n"]}`)

func BenchmarkParse1K(b *testing.B) {
	var o jsonscan.Object
	b.SetBytes(int64(len(chat1K)))
	b.ReportAllocs()
	for b.Loop() {
		if err := o.Parse(chat1K); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseTop1K(b *testing.B) {
	var o jsonscan.Object
	b.SetBytes(int64(len(chat1K)))
	b.ReportAllocs()
	for b.Loop() {
		if err := o.ParseTop(chat1K); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGjsonValid1K(b *testing.B) {
	b.SetBytes(int64(len(chat1K)))
	for b.Loop() {
		if !gjson.ValidBytes(chat1K) {
			b.Fatal("invalid")
		}
	}
}

func BenchmarkRewriteModel1K(b *testing.B) {
	var o jsonscan.Object
	if err := o.Parse(chat1K); err != nil {
		b.Fatal(err)
	}
	var dst []byte
	edits := []jsonscan.Edit{{Key: "model", Value: []byte(`"other"`)}, {Key: "metadata"}}
	b.ReportAllocs()
	for b.Loop() {
		dst = o.Rewrite(dst[:0], edits, nil)
	}
}
