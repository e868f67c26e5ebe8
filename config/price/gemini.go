package price

// modalities are counts by kind of content; text is what is left of the total.
type modalities struct{ audio, image int64 }

// FromGemini reads usageMetadata of Gemini and of Gemini on Vertex AI.
func FromGemini(raw []byte) Usage {
	s := scanner{b: raw}
	var u Usage
	if !s.open('{') {
		return u
	}
	var prompt, cached, answer, thoughts, tools, total int64
	var hasTotal bool
	var in, inCached, inTools, out modalities
	for {
		k, ok := s.key()
		if !ok {
			break
		}
		switch string(k) {
		case "promptTokenCount":
			setCount(&prompt, &u.Known, &s)
		case "cachedContentTokenCount":
			setCount(&cached, &u.Known, &s)
		case "candidatesTokenCount", "responseTokenCount":
			setCount(&answer, &u.Known, &s)
		case "thoughtsTokenCount":
			setCount(&thoughts, &u.Known, &s)
		case "toolUsePromptTokenCount":
			setCount(&tools, &u.Known, &s)
		case "totalTokenCount":
			setCount(&total, &hasTotal, &s)
		case "promptTokensDetails":
			in = s.modalities()
		case "cacheTokensDetails":
			inCached = s.modalities()
		case "toolUsePromptTokensDetails":
			inTools = s.modalities()
		case "candidatesTokensDetails", "responseTokensDetails":
			out = s.modalities()
		case "trafficType":
			u.ServiceTier = trafficTier(s.text())
		case "serviceTier":
			setWord(&u.ServiceTier, &s)
		default:
			s.skip()
		}
	}
	if hasTotal && !u.Known {
		prompt, u.Known = total, true
	}
	if !(thoughts > 0 && hasTotal && total == prompt+tools+answer && answer >= thoughts) {
		answer += thoughts // the usual case: thoughts stand beside the candidates
	}
	u.CacheRead = min(cached, prompt)
	u.CacheReadAudio = min(inCached.audio, u.CacheRead)
	u.CacheReadImage = min(inCached.image, u.CacheRead-u.CacheReadAudio)
	left := prompt - u.CacheRead + tools
	u.InAudio = min(clamp(in.audio-u.CacheReadAudio)+inTools.audio, left)
	u.InImage = min(clamp(in.image-u.CacheReadImage)+inTools.image, left-u.InAudio)
	u.InUncached = left - u.InAudio - u.InImage
	u.OutTotal = answer
	u.OutReasoning = min(thoughts, answer)
	u.OutAudio = min(out.audio, answer-u.OutReasoning)
	u.OutImage = min(out.image, answer-u.OutReasoning-u.OutAudio)
	return u
}

func trafficTier(b []byte) string {
	switch string(b) {
	case "ON_DEMAND", "TRAFFIC_TYPE_UNSPECIFIED", "":
		return ""
	case "ON_DEMAND_FLEX":
		return flex
	case "ON_DEMAND_PRIORITY":
		return priority
	case "PROVISIONED_THROUGHPUT":
		return "provisioned"
	}
	return word(b)
}

// modalities reads [{"modality": "AUDIO", "tokenCount": 12}, …]. Video is
// billed as images are; documents as text.
func (s *scanner) modalities() (m modalities) {
	if !s.open('[') {
		s.skip()
		return m
	}
	for s.element() {
		if !s.open('{') {
			at := s.i
			if s.skip(); s.i == at {
				return m
			}
			continue
		}
		var n int64
		var kind []byte
		for {
			k, ok := s.key()
			if !ok {
				break
			}
			switch string(k) {
			case "modality":
				kind = s.text()
			case "tokenCount":
				n, _ = s.count()
			default:
				s.skip()
			}
		}
		switch string(kind) {
		case "AUDIO":
			m.audio = min(m.audio+n, maxCount)
		case "IMAGE", "VIDEO":
			m.image = min(m.image+n, maxCount)
		}
	}
	return m
}
