package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/valyala/fasthttp"
)

// errFraming is wrapped by answers whose framing is broken.
var errFraming = errors.New("broken framing")

// body reads one answer's body by its framing. It is reused with its exchange.
type body struct {
	br      *bufio.Reader
	left    int  // bytes of the body or of the current chunk
	chunked bool // else by length, or to the end when until is set
	until   bool
	first   bool // before the first chunk header
	done    bool
	decoded io.Reader // set when the provider compressed although we asked it not to
}

func (b *body) begin(br *bufio.Reader, h *fasthttp.ResponseHeader, method string) error {
	*b = body{br: br, first: true}
	status := h.StatusCode()
	switch n := h.ContentLength(); {
	case method == fasthttp.MethodHead || status == 204 || status == 304:
		b.done = true
	case n >= 0:
		b.left, b.done = n, n == 0
	case n == -1:
		b.chunked = true
	default:
		b.until = true
	}
	return b.decode(string(h.Peek(fasthttp.HeaderContentEncoding)))
}

// decode undoes a content coding. Providers are asked for none, but some
// compress error bodies all the same.
func (b *body) decode(coding string) error {
	if b.done {
		return nil
	}
	switch strings.ToLower(coding) {
	case "", "identity":
	case "gzip":
		zr, err := gzip.NewReader(rawBody{b})
		if err != nil {
			return fmt.Errorf("%w: gzip body: %w", errFraming, err)
		}
		b.decoded = zr
	case "zstd":
		zr, err := zstd.NewReader(rawBody{b}, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return fmt.Errorf("%w: zstd body: %w", errFraming, err)
		}
		b.decoded = zr
	default:
		return fmt.Errorf("%w: content coding %q was not asked for", errFraming, coding)
	}
	return nil
}

// zstdWindow is the window that RFC 8878 asks decoders to allow; an answer that
// wants more memory than that gets none.
const zstdWindow = 8 << 20

// rawBody reads the body below its content coding.
type rawBody struct{ b *body }

func (r rawBody) Read(p []byte) (int, error) { return r.b.readRaw(p) }

func (b *body) read(p []byte) (int, error) {
	if b.decoded != nil {
		return b.decoded.Read(p)
	}
	return b.readRaw(p)
}

// mayWait reports whether what is here holds no byte of the body for sure: what
// is left of a chunk that has been read is its line end.
func (b *body) mayWait() bool {
	if b.done {
		return false
	}
	n := b.br.Buffered()
	return n == 0 || b.chunked && b.left == 0 && n <= len("\r\n")
}

// await returns when bytes of the body are here, or its end, or why they never
// will be. Of a compressed body nobody can tell.
func (b *body) await() error {
	switch {
	case b.done || b.decoded != nil:
		return nil
	case b.chunked && b.left == 0:
		return b.nextChunk()
	}
	// The reader forgets an error that it has told, and the line may tell another
	// the next time; the end it tells again.
	if _, err := b.br.Peek(1); err != nil && err != io.EOF {
		return err
	}
	return nil
}

// remaining is the length still announced, or -1.
func (b *body) remaining() int {
	if b.chunked || b.until || b.decoded != nil {
		return -1
	}
	return b.left
}

func (b *body) readRaw(p []byte) (int, error) {
	if b.done {
		return 0, io.EOF
	}
	if b.until {
		n, err := b.br.Read(p)
		if err == io.EOF {
			b.done = true
		}
		return n, err
	}
	if b.chunked && b.left == 0 {
		if err := b.nextChunk(); err != nil || b.done {
			if err == nil {
				err = io.EOF
			}
			return 0, err
		}
	}
	if len(p) > b.left {
		p = p[:b.left]
	}
	n, err := b.br.Read(p)
	b.left -= n
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if b.left == 0 && err == nil {
		if !b.chunked {
			b.done = true
		} else if b.br.Buffered() >= 7 {
			// Take an end that is already here, so that the caller that stops
			// reading at the provider's end marker still frees the connection.
			if tail, _ := b.br.Peek(7); string(tail) == "\r\n0\r\n\r\n" {
				_, _ = b.br.Discard(7)
				b.done = true
			}
		}
	}
	return n, err
}

// nextChunk reads the next chunk's header, or the trailer behind the last.
func (b *body) nextChunk() error {
	if !b.first {
		if line, err := b.line(); err != nil || len(line) != 0 {
			return orFraming(err, "chunk without line end")
		}
	}
	b.first = false
	line, err := b.line()
	if err != nil {
		return err
	}
	size, ok := chunkSize(line)
	if !ok {
		return fmt.Errorf("%w: chunk header %.20q", errFraming, line)
	}
	if size > 0 {
		b.left = size
		return nil
	}
	for { // trailer
		line, err := b.line()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			b.done = true
			return nil
		}
	}
}

func (b *body) line() ([]byte, error) {
	line, err := b.br.ReadSlice('\n')
	if err != nil {
		return nil, orFraming(err, "line too long")
	}
	line = line[:len(line)-1]
	if n := len(line); n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
	}
	return line, nil
}

func orFraming(err error, what string) error {
	switch err {
	case nil, bufio.ErrBufferFull:
		return fmt.Errorf("%w: %s", errFraming, what)
	case io.EOF:
		return io.ErrUnexpectedEOF
	}
	return err
}

func chunkSize(line []byte) (int, bool) {
	n, digits := 0, 0
	for _, c := range line {
		switch {
		case c >= '0' && c <= '9':
			n = n<<4 | int(c-'0')
		case c >= 'a' && c <= 'f':
			n = n<<4 | int(c-'a'+10)
		case c >= 'A' && c <= 'F':
			n = n<<4 | int(c-'A'+10)
		case (c == ';' || c == ' ' || c == '\t') && digits > 0:
			return n, true
		default:
			return 0, false
		}
		if digits++; digits > 7 { // 256 MiB a chunk
			return 0, false
		}
	}
	return n, digits > 0
}
