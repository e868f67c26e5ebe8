package price

// FromBedrock reads the usage object of Bedrock's Converse, whose input leaves
// cached tokens out.
func FromBedrock(raw []byte) Usage {
	s := scanner{b: raw}
	var u Usage
	if !s.open('{') {
		return u
	}
	var write, short, long int64
	for {
		k, ok := s.key()
		if !ok {
			break
		}
		switch string(k) {
		case "inputTokens":
			setCount(&u.InUncached, &u.Known, &s)
		case "outputTokens":
			setCount(&u.OutTotal, &u.Known, &s)
		case "cacheReadInputTokens", "cacheReadInputTokenCount":
			setCount(&u.CacheRead, &u.Known, &s)
		case "cacheWriteInputTokens", "cacheWriteInputTokenCount":
			setCount(&write, &u.Known, &s)
		case "cacheDetails":
			short, long = s.cacheDetails()
		default:
			s.skip()
		}
	}
	u.setWrites(write, short, long)
	u.Known = u.Known || u.Total() > 0
	return u
}

func (s *scanner) cacheDetails() (short, long int64) {
	if !s.open('[') {
		s.skip()
		return 0, 0
	}
	for s.element() {
		if !s.open('{') {
			at := s.i
			if s.skip(); s.i == at {
				break
			}
			continue
		}
		var n int64
		hour := false
		for {
			k, ok := s.key()
			if !ok {
				break
			}
			switch string(k) {
			case "ttl":
				hour = string(s.text()) == "1h"
			case "inputTokens":
				n, _ = s.count()
			default:
				s.skip()
			}
		}
		if hour {
			long = min(long+n, maxCount)
		} else {
			short = min(short+n, maxCount)
		}
	}
	return short, long
}

// FromCohere reads Cohere's usage object, or the meta object of its embeddings
// and reranks. Billed units count where they are given, because Cohere's bill
// leaves out the tokens of its own preamble.
func FromCohere(raw []byte) Usage {
	s := scanner{b: raw}
	var u Usage
	if !s.open('{') {
		return u
	}
	var billed, plain cohere
	var cached int64
	for {
		k, ok := s.key()
		if !ok {
			break
		}
		switch string(k) {
		case "billed_units":
			billed.read(&s)
		case "tokens":
			plain.read(&s)
		case "cached_tokens":
			cached, _ = s.count()
		default:
			s.skip()
		}
	}
	c := plain
	if billed.known {
		c = billed
	}
	u.Known = c.known
	u.CacheRead = min(cached, c.input)
	u.InUncached = c.input - u.CacheRead
	u.OutTotal = c.output
	u.Queries, u.InImages = c.searches, c.images
	return u
}

type cohere struct {
	input, output, searches, images int64
	known                           bool
}

func (c *cohere) read(s *scanner) {
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
		case "input_tokens":
			setCount(&c.input, &c.known, s)
		case "output_tokens":
			setCount(&c.output, &c.known, s)
		case "search_units":
			setCount(&c.searches, &c.known, s)
		case "images":
			setCount(&c.images, &c.known, s)
		default:
			s.skip()
		}
	}
}

// FromOllama reads the counts of an Ollama answer's last object. A prompt that
// was wholly in its cache is not counted there, and costs nothing here.
func FromOllama(raw []byte) Usage {
	s := scanner{b: raw}
	var u Usage
	if !s.open('{') {
		return u
	}
	for {
		k, ok := s.key()
		if !ok {
			return u
		}
		switch string(k) {
		case "prompt_eval_count":
			setCount(&u.InUncached, &u.Known, &s)
		case "eval_count":
			setCount(&u.OutTotal, &u.Known, &s)
		default:
			s.skip()
		}
	}
}
