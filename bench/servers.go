package main

import (
	"bufio"
	"fmt"
	"log"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"
)

// chatAnswer is about 0.6 KB, as a small chat answer is.
const chatAnswer = `{"id":"chatcmpl-bench","object":"chat.completion","created":1793000000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","content":"The quick brown fox jumps over the lazy dog, and the dog does not mind at all.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":52,"completion_tokens":19,"total_tokens":71,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},"service_tier":"default","system_fingerprint":"fp_bench"}`

const (
	chunkHead = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1793000000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{"content":"`
	chunkTail = `"},"logprobs":null,"finish_reason":null}]}` + "\n\n"
	lastChunk = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1793000000,"model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}` + "\n\n" +
		`data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1793000000,"model":"gpt-4o-mini-2024-07-18","choices":[],"usage":{"prompt_tokens":52,"completion_tokens":20,"total_tokens":72}}` + "\n\n" + "data: [DONE]\n\n"
)

// serveMock answers chat calls at once. A stream's length and pace are in the
// query of the user field: "chunks,millis"; each chunk's text is the time it was
// sent, so that the reader can tell how long it was on the way.
func serveMock(addr string) {
	s := &fasthttp.Server{Handler: mockCall, NoDefaultServerHeader: true, ReadBufferSize: 16 << 10}
	log.Fatal(s.ListenAndServe(addr))
}

func mockCall(ctx *fasthttp.RequestCtx) {
	body := ctx.PostBody()
	if len(body) == 0 {
		ctx.SetBodyString("ready")
		return
	}
	chunks, pace, ok := streamWish(body)
	if !ok {
		ctx.SetContentType("application/json")
		ctx.SetBodyString(chatAnswer)
		return
	}
	ctx.SetContentType("text/event-stream; charset=utf-8")
	ctx.SetBodyStreamWriter(func(w *bufio.Writer) {
		for i := range chunks {
			if i > 0 && pace > 0 {
				time.Sleep(pace)
			}
			_, _ = w.WriteString(chunkHead + strconv.FormatInt(time.Now().UnixNano(), 10) + chunkTail)
			if err := w.Flush(); err != nil {
				return
			}
		}
		_, _ = w.WriteString(lastChunk)
	})
}

// streamWish reads `"user":"stream:CHUNKS:MILLIS"` out of a body.
func streamWish(body []byte) (chunks int, pace time.Duration, ok bool) {
	i := indexOf(body, `"user":"stream:`)
	if i < 0 {
		return 0, 0, false
	}
	var ms int
	if _, err := fmt.Sscanf(string(body[i:]), `"user":"stream:%d:%d"`, &chunks, &ms); err != nil {
		return 0, 0, false
	}
	return chunks, time.Duration(ms) * time.Millisecond, true
}

// serveForwarder is the bare forwarder: it passes bytes on and knows nothing.
func serveForwarder(addr, up string) {
	client := &fasthttp.Client{MaxConnsPerHost: 4096, NoDefaultUserAgentHeader: true, ReadBufferSize: 16 << 10}
	streams := &fasthttp.Client{MaxConnsPerHost: 4096, NoDefaultUserAgentHeader: true, ReadBufferSize: 16 << 10, StreamResponseBody: true}
	s := &fasthttp.Server{NoDefaultServerHeader: true, ReadBufferSize: 16 << 10, Handler: func(ctx *fasthttp.RequestCtx) {
		if len(ctx.PostBody()) == 0 {
			ctx.SetBodyString("ready")
			return
		}
		req := fasthttp.AcquireRequest()
		defer fasthttp.ReleaseRequest(req)
		ctx.Request.CopyTo(req)
		req.SetRequestURI(up + string(ctx.Path()))
		if _, _, streaming := streamWish(ctx.PostBody()); streaming {
			res := fasthttp.AcquireResponse()
			if err := streams.Do(req, res); err != nil {
				ctx.Error(err.Error(), 502)
				return
			}
			ctx.SetContentType("text/event-stream; charset=utf-8")
			ctx.SetBodyStream(&closing{res}, -1)
			return
		}
		if err := client.Do(req, &ctx.Response); err != nil {
			ctx.Error(err.Error(), 502)
		}
	}}
	log.Fatal(s.ListenAndServe(addr))
}

// closing gives the upstream's response back when the client's body is written.
type closing struct{ res *fasthttp.Response }

func (c *closing) Read(p []byte) (int, error) { return c.res.BodyStream().Read(p) }

func (c *closing) Close() error {
	err := c.res.CloseBodyStream()
	fasthttp.ReleaseResponse(c.res)
	return err
}
