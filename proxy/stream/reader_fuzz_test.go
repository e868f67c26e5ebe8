package stream_test

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"tollgate/proxy/stream"
)

// FuzzReaderSplits holds the reader against a plain reading of the whole text,
// fed in pieces of every size.
func FuzzReaderSplits(f *testing.F) {
	f.Add([]byte("data: a\r\n\r\n: c\nevent: x\ndata: b\ndata\n\ndata: t"), []byte{1, 2, 3})
	f.Add([]byte("\xef\xbb\xbfdata:a\r\rdata: [DONE]\n\n"), []byte{1})
	f.Add([]byte("\r\n\r\ndata: x\r"), []byte{5, 1})
	f.Fuzz(func(t *testing.T, in, cuts []byte) {
		want := plain(string(in))
		for _, peek := range []bool{false, true} {
			var src io.Reader = &pieces{in: in, cuts: cuts}
			if len(cuts)%2 == 0 {
				src = awaited{src}
			}
			r := stream.NewReader(src)
			var got []event
			for {
				name, data, err := r.Next()
				if err != nil {
					if err != io.EOF {
						t.Fatal(err)
					}
					break
				}
				if peek {
					kept := bytes.Clone(data)
					r.Buffered()
					if !bytes.Equal(kept, data) {
						t.Fatalf("looking ahead changed %q to %q", kept, data)
					}
				}
				got = append(got, event{name, string(data)})
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%q in %v:\n got %q\nwant %q", in, cuts, got, want)
			}
		}
	})
}

// awaited is a source that can be waited for without a buffer.
type awaited struct{ io.Reader }

func (awaited) Await() error { return nil }

// plain is the rule book in its simplest form.
func plain(in string) (out []event) {
	in = strings.TrimPrefix(in, "\xef\xbb\xbf")
	in = strings.ReplaceAll(strings.ReplaceAll(in, "\r\n", "\n"), "\r", "\n")
	var name string
	var data []string
	for _, line := range append(strings.Split(in, "\n"), "") {
		if line == "" {
			if len(data) > 0 {
				out = append(out, event{name, strings.Join(data, "\n")})
			}
			name, data = "", nil
			continue
		}
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "data":
			data = append(data, value)
		case "event":
			name = value
		}
	}
	return out
}

type pieces struct {
	in, cuts []byte
	k        int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.in) == 0 {
		return 0, io.EOF
	}
	n := 1
	if len(p.cuts) > 0 {
		n = int(p.cuts[p.k%len(p.cuts)])%7 + 1
		p.k++
	}
	n = copy(b, p.in[:min(n, len(p.in))])
	p.in = p.in[n:]
	return n, nil
}
