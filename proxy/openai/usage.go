package openai

import (
	"strconv"

	"tollgate/config/price"
)

// AppendUsage appends the usage object of a chat or text completion.
// prompt_tokens holds the cached tokens too, and the total is always the sum.
func AppendUsage(dst []byte, u *price.Usage) []byte {
	dst = field(dst, `{"prompt_tokens":`, u.Prompt())
	dst = field(dst, `,"completion_tokens":`, u.OutTotal)
	dst = field(dst, `,"total_tokens":`, u.Total())
	dst = field(dst, `,"prompt_tokens_details":{"cached_tokens":`, u.CacheRead)
	if w := u.CacheWrite5m + u.CacheWrite1h; w > 0 {
		dst = field(dst, `,"cache_write_tokens":`, w)
	}
	dst = field(dst, `,"audio_tokens":`, u.InAudio)
	dst = field(dst, `},"completion_tokens_details":{"reasoning_tokens":`, u.OutReasoning)
	dst = field(dst, `,"audio_tokens":`, u.OutAudio)
	dst = field(dst, `,"accepted_prediction_tokens":`, u.PredAccepted)
	dst = field(dst, `,"rejected_prediction_tokens":`, u.PredRejected)
	return append(dst, "}}"...)
}

// AppendEmbeddingUsage appends the usage object of an embedding answer.
func AppendEmbeddingUsage(dst []byte, u *price.Usage) []byte {
	dst = field(dst, `{"prompt_tokens":`, u.Prompt())
	dst = field(dst, `,"total_tokens":`, u.Prompt())
	return append(dst, '}')
}

func field(dst []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(dst, name...), n, 10)
}
