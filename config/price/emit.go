package price

import "strconv"

// AppendOpenAI appends the usage as OpenAI's chat answers carry it. Cached and
// written tokens are part of prompt_tokens, and the total is the sum.
func AppendOpenAI(dst []byte, u *Usage) []byte {
	field := func(dst []byte, name string, n int64) []byte {
		dst = append(dst, name...)
		return strconv.AppendInt(dst, n, 10)
	}
	prompt := u.Prompt()
	dst = field(dst, `{"prompt_tokens":`, prompt)
	dst = field(dst, `,"completion_tokens":`, u.OutTotal)
	dst = field(dst, `,"total_tokens":`, prompt+u.OutTotal)
	dst = field(dst, `,"prompt_tokens_details":{"cached_tokens":`, u.CacheRead)
	dst = field(dst, `,"audio_tokens":`, u.InAudio+u.CacheReadAudio)
	write := u.CacheWrite5m + u.CacheWrite1h
	dst = field(dst, `,"cache_write_tokens":`, write)
	if u.InImage+u.CacheReadImage > 0 {
		dst = field(dst, `,"image_tokens":`, u.InImage+u.CacheReadImage)
	}
	if u.CacheReadAudio+u.CacheReadImage > 0 {
		dst = field(dst, `,"cached_tokens_details":{"audio_tokens":`, u.CacheReadAudio)
		dst = field(dst, `,"image_tokens":`, u.CacheReadImage)
		dst = append(dst, '}')
	}
	if u.CacheWrite1h > 0 {
		dst = field(dst, `,"cache_creation_token_details":{"ephemeral_5m_input_tokens":`, u.CacheWrite5m)
		dst = field(dst, `,"ephemeral_1h_input_tokens":`, u.CacheWrite1h)
		dst = append(dst, '}')
	}
	dst = field(dst, `},"completion_tokens_details":{"reasoning_tokens":`, u.OutReasoning)
	dst = field(dst, `,"audio_tokens":`, u.OutAudio)
	if u.OutImage > 0 {
		dst = field(dst, `,"image_tokens":`, u.OutImage)
	}
	dst = field(dst, `,"accepted_prediction_tokens":`, u.PredAccepted)
	dst = field(dst, `,"rejected_prediction_tokens":`, u.PredRejected)
	dst = append(dst, '}')
	if write > 0 { // LiteLLM's clients look for Anthropic's names beside OpenAI's
		dst = field(dst, `,"cache_creation_input_tokens":`, write)
		dst = field(dst, `,"cache_read_input_tokens":`, u.CacheRead)
	}
	return append(dst, '}')
}
