package stream_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"tollgate/proxy/stream"
)

type event struct{ Name, Data string }

func readAll(r *stream.Reader) (out []event, err error) {
	for {
		name, data, err := r.Next()
		if err != nil {
			return out, err
		}
		out = append(out, event{name, string(data)})
	}
}

func TestEventsAreSplitAtAnyLineEndAndAnyBoundary(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     []event
	}{
		{"LF", "data: a\n\ndata: b\n\n", []event{{"", "a"}, {"", "b"}}},
		{"CRLF", "data: a\r\n\r\ndata: b\r\n\r\n", []event{{"", "a"}, {"", "b"}}},
		{"CR", "data: a\r\rdata: b\r\r", []event{{"", "a"}, {"", "b"}}},
		{"mixed", "data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", []event{{"", "a"}, {"", "b"}, {"", "c"}}},
		{"no blank after the colon", "data:a\n\ndata:  b\n\n", []event{{"", "a"}, {"", " b"}}},
		{"several data lines", "data: a\ndata\ndata:b\ndata: c\n\ndata: d\n\n", []event{{"", "a\n\nb\nc"}, {"", "d"}}},
		{"names", "event: x\ndata: 1\n\ndata: 2\n\nevent:y\ndata: 3\n\n", []event{{"x", "1"}, {"", "2"}, {"y", "3"}}},
		{"name without data is no event", "event: x\n\ndata: 1\n\n", []event{{"", "1"}}},
		{"comments", ": hi\n\n:\ndata: 1\n: mid\ndata: 2\n\n: OPENROUTER PROCESSING\n\n", []event{{"", "1\n2"}}},
		{"unknown fields", "id: 7\nretry: 3\nfoo\ndata: 1\nid: 8\n\n", []event{{"", "1"}}},
		{"no last blank line", "data: a\n\ndata: b\n", []event{{"", "a"}, {"", "b"}}},
		{"no last line end", "data: a\n\nevent: n\ndata: b", []event{{"", "a"}, {"n", "b"}}},
		{"CR ends the body", "data: a\r", []event{{"", "a"}}},
		{"byte order mark", "\xef\xbb\xbfdata: a\n\n", []event{{"", "a"}}},
		{"half a byte order mark", "\xef", nil},
		{"empty data", "data:\n\n", []event{{"", ""}}},
		{"not events at all", "<html>\n<body>\n\nno\n</html>", nil},
		{"nothing", "", nil},
		{"wide characters", "data: 日本😀\n\n", []event{{"", "日本😀"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for how, src := range map[string]io.Reader{
				"whole":        strings.NewReader(c.in),
				"byte by byte": iotest.OneByteReader(strings.NewReader(c.in)),
				"with EOF":     iotest.DataErrReader(strings.NewReader(c.in)),
				"halves":       iotest.HalfReader(strings.NewReader(c.in)),
			} {
				got, err := readAll(stream.NewReader(src))
				require.Equal(t, io.EOF, err, how)
				require.Equal(t, c.want, got, how)
			}
		})
	}
}

func TestFourMegabytesInOneEventAreRead(t *testing.T) {
	big := strings.Repeat("x", 4<<20)
	got, err := readAll(stream.NewReader(iotest.HalfReader(strings.NewReader("data: " + big + "\r\n\r\ndata: y\n\n"))))
	require.Equal(t, io.EOF, err)
	require.Equal(t, []event{{"", big}, {"", "y"}}, got)
}

func TestAnEventBeyondTheLimitIsRefused(t *testing.T) {
	src := io.MultiReader(strings.NewReader("data: a\n\ndata: "), io.LimitReader(forever('x'), stream.MaxEvent+1))
	got, err := readAll(stream.NewReader(src))
	require.ErrorIs(t, err, stream.ErrTooLarge)
	require.Equal(t, []event{{"", "a"}}, got)
}

func TestAFloodOfCommentsNeedsNoMemory(t *testing.T) {
	src := io.MultiReader(
		strings.NewReader(strings.Repeat(": keep-alive\n", 2<<20)),
		strings.NewReader("data: a\n\n"))
	r := stream.NewReader(src)
	read := 0
	r.OnRead = func(n int) { read += n }
	got, err := readAll(r)
	require.Equal(t, io.EOF, err)
	require.Equal(t, []event{{"", "a"}}, got)
	require.Equal(t, len(": keep-alive\n")*(2<<20)+len("data: a\n\n"), read, "every byte counts as life")
}

func TestAFailingSourceIsReportedAsItFailed(t *testing.T) {
	broken := errors.New("reset by peer")
	r := stream.NewReader(io.MultiReader(strings.NewReader("data: a\n\ndata: ha"), iotest.ErrReader(broken)))
	got, err := readAll(r)
	require.ErrorIs(t, err, broken)
	require.Equal(t, []event{{"", "a"}}, got, "half an event is not given out")
	_, _, err = r.Next()
	require.ErrorIs(t, err, broken)
}

func TestASourceThatNeverMovesIsGivenUp(t *testing.T) {
	_, err := readAll(stream.NewReader(silent{}))
	require.ErrorIs(t, err, io.ErrNoProgress)
}

func TestBufferedTellsWhetherNextWouldRead(t *testing.T) {
	pr, pw := io.Pipe()
	r := stream.NewReader(pr)
	go func() {
		_, _ = pw.Write([]byte("data: 1\ndata: one\n\ndata: 2\ndata: two\n\n: comment\n\ndata: 3"))
		_, _ = pw.Write([]byte("\n\n"))
		_ = pw.Close()
	}()
	require.False(t, r.Buffered())
	_, first, err := r.Next()
	require.NoError(t, err)
	require.True(t, r.Buffered())
	require.Equal(t, "1\none", string(first), "looking ahead leaves the event as it was")
	_, second, err := r.Next()
	require.NoError(t, err)
	require.Equal(t, "2\ntwo", string(second))
	require.False(t, r.Buffered(), "a comment and half an event are no event")
	require.Equal(t, "2\ntwo", string(second))
	_, third, err := r.Next()
	require.NoError(t, err)
	require.Equal(t, "3", string(third))
	_, _, err = r.Next()
	require.Equal(t, io.EOF, err)
}

func TestAReaderCanBeUsedAgain(t *testing.T) {
	r := stream.NewReader(strings.NewReader("event: a\ndata: 1"))
	_, err := readAll(r)
	require.Equal(t, io.EOF, err)
	r.Reset(strings.NewReader("data: 2\n\n"))
	got, err := readAll(r)
	require.Equal(t, io.EOF, err)
	require.Equal(t, []event{{"", "2"}}, got)
}

func TestFramesReadBack(t *testing.T) {
	frames := stream.AppendData(nil, []byte(`{"a":1}`))
	frames = stream.AppendEvent(frames, "ping", []byte("{\n\"b\":\r\n2}"))
	frames = append(frames, stream.KeepAliveOpenAI...)
	frames = append(frames, stream.KeepAliveAnthropic...)
	frames = append(frames, stream.Done...)
	got, err := readAll(stream.NewReader(bytes.NewReader(frames)))
	require.Equal(t, io.EOF, err)
	require.Equal(t, []event{{"", `{"a":1}`}, {"ping", `{ "b":  2}`}, {"ping", `{"type": "ping"}`}, {"", "[DONE]"}}, got)
	require.True(t, stream.IsDone([]byte("[DONE]")))
	require.True(t, stream.IsDone([]byte("[DONE] ")))
	require.False(t, stream.IsDone([]byte("[DON")))
	require.False(t, stream.IsDone(nil))
}

type forever byte

func (f forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(f)
	}
	return len(p), nil
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }
