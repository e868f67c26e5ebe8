package openai_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/state"
	"tollgate/proxy/jsonscan"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/openai"
	"tollgate/proxy/stream"
)

func row(t testing.TB, name string) *openai.Provider {
	t.Helper()
	for _, r := range openai.Rows() {
		if r.Name == name {
			return openai.New(r)
		}
	}
	t.Fatalf("no row %q", name)
	return nil
}

func call(t testing.TB, op provider.Op, body string, change ...func(*provider.Call)) *provider.Call {
	t.Helper()
	c := &provider.Call{Op: op, Body: []byte(body), Fields: new(jsonscan.Object), Model: "up-1", PublicName: "pub",
		Deployment: &state.Deployment{APIKey: "sk-upstream", APIBase: "http://host/v1"}, CallID: "call-1",
		InputEstimate: 9, Now: time.Unix(1793000000, 0)}
	for _, f := range change {
		f(c)
	}
	require.NoError(t, c.Fields.Parse(c.Body))
	if v, _ := c.Fields.Get("stream"); string(v) == "true" {
		c.Stream = true
	}
	return c
}

func withModel(name string) func(*provider.Call) { return func(c *provider.Call) { c.Model = name } }

type sink struct{ bytes.Buffer }

func (s *sink) Emit(frame []byte) { s.Write(frame) }

// feed runs an upstream body through reader and translator.
func feed(st provider.Stream, body io.Reader) (string, error) {
	var out sink
	r := stream.NewReader(body)
	for {
		name, data, err := r.Next()
		if err == io.EOF {
			err := st.End(&out)
			return out.String(), err
		}
		if err != nil {
			return out.String(), err
		}
		if err := st.Event(name, data, &out); err != nil {
			return out.String(), err
		}
	}
}

// feedAll feeds the body in every way it may arrive and wants the same each time.
func feedAll(t *testing.T, p *openai.Provider, c *provider.Call, body string) (string, *provider.StreamInfo, error) {
	t.Helper()
	var first string
	var firstInfo *provider.StreamInfo
	var firstErr error
	for i, src := range []io.Reader{
		strings.NewReader(body),
		iotest.OneByteReader(strings.NewReader(body)),
		strings.NewReader(strings.ReplaceAll(body, "\n", "\r\n")),
		iotest.OneByteReader(strings.NewReader(strings.ReplaceAll(body, "\n", "\r\n"))),
		strings.NewReader(strings.ReplaceAll(strings.ReplaceAll(body, "data: ", "data:"), "\n\n", "\n\n: ka\n\n")),
	} {
		st := p.Stream(c)
		got, err := feed(st, src)
		if i == 0 {
			first, firstInfo, firstErr = got, st.Info(), err
			continue
		}
		require.Equal(t, first, got, "way %d", i)
		require.Equal(t, firstErr, err, "way %d", i)
		require.Equal(t, *firstInfo, *st.Info(), "way %d", i)
	}
	return first, firstInfo, firstErr
}

func headers(kv ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(kv); i += 2 {
			if strings.EqualFold(kv[i], name) {
				return kv[i+1]
			}
		}
		return ""
	}
}

func asError(t *testing.T, err error) *provider.Error {
	t.Helper()
	var e *provider.Error
	require.ErrorAs(t, err, &e)
	return e
}
