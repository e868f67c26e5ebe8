package price

// openAI gathers what usage objects of OpenAI's make say, before it is known
// which counts include which.
type openAI struct {
	prompt, completion, total          int64
	hasPrompt, hasCompletion, hasTotal bool
	cached, hit, miss                  int64
	hasMiss                            bool
	write, write1h                     int64
	audioIn, imageIn, cachedAudio      int64
	cachedImage                        int64
	reasoning, audioOut, imageOut      int64
	accepted, rejected                 int64
	thinking                           int64 // reasoning_tokens beside the totals
	searches, citations                int64
	perplexity                         bool
	millis                             int64
	hasMillis                          bool
	tier, size                         string
}

// FromOpenAI reads a usage object of a chat, completion, embedding, Responses,
// image or transcription answer, and of the providers that speak OpenAI's
// dialect. An object that holds such an object under "usage" or "x_groq" is
// accepted too.
func FromOpenAI(raw []byte) Usage {
	s := scanner{b: raw}
	var o openAI
	if s.open('{') {
		o.read(&s, 0)
	}
	return o.usage()
}

func (o *openAI) read(s *scanner, depth int) {
	for {
		k, ok := s.key()
		if !ok {
			return
		}
		switch string(k) {
		case "prompt_tokens", "input_tokens":
			setCount(&o.prompt, &o.hasPrompt, s)
		case "completion_tokens", "output_tokens":
			setCount(&o.completion, &o.hasCompletion, s)
		case "total_tokens":
			setCount(&o.total, &o.hasTotal, s)
		case "prompt_tokens_details", "input_tokens_details", "input_token_details", "prompt_token_details":
			o.inputDetails(s)
		case "completion_tokens_details", "output_tokens_details", "output_token_details":
			o.outputDetails(s)
		case "prompt_cache_hit_tokens":
			o.hit, _ = s.count()
		case "prompt_cache_miss_tokens":
			setCount(&o.miss, &o.hasMiss, s)
		case "cached_tokens", "cache_read_input_tokens", "num_cached_tokens":
			n, _ := s.count()
			o.hit = max(o.hit, n)
		case "cache_creation_input_tokens":
			n, _ := s.count()
			o.write = max(o.write, n)
		case "reasoning_tokens":
			o.thinking, _ = s.count()
		case "num_search_queries":
			o.searches, _ = s.count()
			o.perplexity = true
		case "citation_tokens":
			o.citations, _ = s.count()
			o.perplexity = true
		case "search_context_size":
			o.size = word(s.text())
			o.perplexity = true
		case "seconds", "prompt_audio_seconds":
			if n, ok := s.millis(); ok {
				o.millis, o.hasMillis = n, true
			}
		case "service_tier":
			o.tier = word(s.text())
		case "usage", "x_groq":
			if depth < 3 && s.open('{') {
				o.read(s, depth+1)
			} else {
				s.skip()
			}
		default:
			s.skip()
		}
	}
}

func setCount(to *int64, has *bool, s *scanner) {
	if n, ok := s.count(); ok {
		*to, *has = n, true
	}
}

func (o *openAI) inputDetails(s *scanner) {
	if !s.open('{') {
		s.skip()
		return
	}
	for {
		k, ok := s.key()
		if !ok {
			return
		}
		switch string(k) {
		case "cached_tokens":
			o.cached, _ = s.count()
		case "cache_write_tokens", "cache_creation_tokens":
			n, _ := s.count()
			o.write = max(o.write, n)
		case "cache_creation_token_details":
			_, o.write1h = s.lifetimes()
		case "audio_tokens":
			o.audioIn, _ = s.count()
		case "image_tokens":
			o.imageIn, _ = s.count()
		case "cached_tokens_details":
			o.cachedDetails(s)
		default:
			s.skip()
		}
	}
}

func (o *openAI) cachedDetails(s *scanner) {
	if !s.open('{') {
		s.skip()
		return
	}
	for {
		k, ok := s.key()
		if !ok {
			return
		}
		switch string(k) {
		case "audio_tokens":
			o.cachedAudio, _ = s.count()
		case "image_tokens":
			o.cachedImage, _ = s.count()
		default:
			s.skip()
		}
	}
}

func (o *openAI) outputDetails(s *scanner) {
	if !s.open('{') {
		s.skip()
		return
	}
	for {
		k, ok := s.key()
		if !ok {
			return
		}
		switch string(k) {
		case "reasoning_tokens":
			o.reasoning, _ = s.count()
		case "audio_tokens":
			o.audioOut, _ = s.count()
		case "image_tokens":
			o.imageOut, _ = s.count()
		case "accepted_prediction_tokens":
			o.accepted, _ = s.count()
		case "rejected_prediction_tokens":
			o.rejected, _ = s.count()
		default:
			s.skip()
		}
	}
}

// usage splits the totals without overlap. Details never add to a total; where
// they exceed it they are cut, in the order cached, written, audio, image.
func (o *openAI) usage() Usage {
	var u Usage
	u.Known = o.hasPrompt || o.hasCompletion || o.hasTotal || o.hasMiss || o.hasMillis
	cached := max(o.cached, o.hit)
	prompt, completion := o.prompt, o.completion
	switch {
	case o.hasPrompt:
	case o.hasMiss || o.hit > 0:
		prompt = o.hit + o.miss
	case o.hasTotal:
		prompt = clamp(o.total - completion)
	}
	if !o.hasCompletion && o.hasTotal && o.hasPrompt {
		completion = clamp(o.total - prompt)
	}
	reasoning := o.reasoning
	switch {
	case reasoning > 0 && o.hasTotal && o.total == prompt+completion+reasoning,
		reasoning > completion && !o.hasTotal:
		// xAI counts thoughts beside the completion, and its total says so.
		completion += reasoning
	case o.thinking > 0 && reasoning == 0:
		reasoning = o.thinking
		if o.perplexity || o.hasTotal && o.total == prompt+completion+reasoning {
			// Perplexity's research models think outside of every total.
			completion += reasoning
		}
	}
	u.CacheRead = min(cached, prompt)
	left := prompt - u.CacheRead
	write := min(o.write, left)
	u.CacheWrite1h = min(o.write1h, write)
	u.CacheWrite5m = write - u.CacheWrite1h
	left -= write
	u.CacheReadAudio = min(o.cachedAudio, u.CacheRead)
	u.CacheReadImage = min(o.cachedImage, u.CacheRead-u.CacheReadAudio)
	u.InAudio = min(clamp(o.audioIn-u.CacheReadAudio), left)
	left -= u.InAudio
	u.InImage = min(clamp(o.imageIn-u.CacheReadImage), left)
	u.InUncached = left - u.InImage

	u.OutTotal = completion
	u.OutAudio = min(o.audioOut, completion)
	u.OutImage = min(o.imageOut, completion-u.OutAudio)
	u.OutReasoning = min(reasoning, completion-u.OutAudio-u.OutImage)
	u.PredAccepted, u.PredRejected = o.accepted, o.rejected
	u.WebSearches, u.Citations, u.SearchSize = o.searches, o.citations, o.size
	u.InMillis = o.millis
	u.ServiceTier = o.tier
	u.Known = u.Known || u.Total() > 0
	return u
}

// word makes a string of a short word without allocating for the usual ones.
func word(b []byte) string {
	switch string(b) {
	case "default":
		return "default"
	case "standard":
		return "standard"
	case "auto":
		return "auto"
	case "on_demand":
		return "on_demand"
	case "flex":
		return "flex"
	case "priority":
		return "priority"
	case "batch":
		return "batch"
	case "fast":
		return "fast"
	case "low":
		return "low"
	case "medium":
		return "medium"
	case "high":
		return "high"
	case "not_available", "not_applicable", "null":
		return ""
	case "us":
		return "us"
	case "global":
		return "global"
	}
	if len(b) > 64 {
		return ""
	}
	return string(b)
}
