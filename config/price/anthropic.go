package price

// FromAnthropic reads the usage object of an Anthropic message, also as Vertex
// AI and Bedrock's invoke return it.
func FromAnthropic(raw []byte) Usage {
	var u Usage
	u.UpdateAnthropic(raw)
	return u
}

// UpdateAnthropic lays a later usage object of the same stream over u: its
// counts are cumulative and it may state only some. A zero does not undo a
// count; the sum of cache writes, which is all that the last event has, keeps
// the lifetimes that the first event gave.
func (u *Usage) UpdateAnthropic(raw []byte) {
	s := scanner{b: raw}
	if !s.open('{') {
		return
	}
	var input, read, write, out, thought int64
	var short, long int64
	var extra iteration
	again := false
	for {
		k, ok := s.key()
		if !ok {
			break
		}
		switch string(k) {
		case "input_tokens":
			setCount(&input, &u.Known, &s)
		case "output_tokens":
			setCount(&out, &u.Known, &s)
		case "cache_read_input_tokens":
			setCount(&read, &u.Known, &s)
		case "cache_creation_input_tokens":
			setCount(&write, &u.Known, &s)
		case "cache_creation":
			short, long = s.lifetimes()
		case "output_tokens_details":
			thought = s.only("thinking_tokens")
		case "server_tool_use":
			u.WebSearches = max(u.WebSearches, s.only("web_search_requests"))
		case "service_tier":
			setWord(&u.ServiceTier, &s)
		case "speed":
			setWord(&u.Speed, &s)
		case "inference_geo":
			setWord(&u.Geo, &s)
		case "iterations":
			extra = s.compactions()
			again = true
		default:
			s.skip()
		}
	}
	if !again {
		extra = u.compacted
	}
	// What an earlier event's compactions added comes off first: this event may
	// state them again, and some of its totals not at all.
	u.InUncached -= u.compacted.input
	u.CacheRead -= u.compacted.read
	u.CacheWrite5m -= u.compacted.write
	u.OutTotal -= u.compacted.output
	setUnlessZero(&u.InUncached, input)
	setUnlessZero(&u.CacheRead, read)
	u.setWrites(write, short, long)
	setUnlessZero(&u.OutTotal, out)
	setUnlessZero(&u.OutReasoning, thought)
	u.InUncached += extra.input
	u.CacheRead += extra.read
	u.CacheWrite5m += extra.write
	u.OutTotal += extra.output
	u.compacted = extra
	u.OutReasoning = min(u.OutReasoning, u.OutTotal)
	u.Known = u.Known || u.Total() > 0
}

func setUnlessZero(to *int64, n int64) {
	if n > 0 {
		*to = n
	}
}

func setWord(to *string, s *scanner) {
	if w := word(s.text()); w != "" {
		*to = w
	}
}

// setWrites splits the sum of cache writes by lifetime; what the split leaves
// out counts as short, and the split never exceeds a stated sum.
func (u *Usage) setWrites(sum, short, long int64) {
	if sum == 0 && short+long == 0 {
		return
	}
	if short+long == 0 {
		long = u.CacheWrite1h
	}
	if sum == 0 {
		sum = short + long
	}
	u.CacheWrite1h = min(long, sum)
	u.CacheWrite5m = sum - u.CacheWrite1h
}

// lifetimes reads a split of cache writes by lifetime.
func (s *scanner) lifetimes() (short, long int64) {
	if !s.open('{') {
		s.skip()
		return 0, 0
	}
	for {
		k, ok := s.key()
		if !ok {
			return short, long
		}
		switch string(k) {
		case "ephemeral_5m_input_tokens":
			short, _ = s.count()
		case "ephemeral_1h_input_tokens":
			long, _ = s.count()
		default:
			s.skip()
		}
	}
}

// only reads one count of an object.
func (s *scanner) only(name string) (n int64) {
	if !s.open('{') {
		s.skip()
		return 0
	}
	for {
		k, ok := s.key()
		if !ok {
			return n
		}
		if string(k) == name {
			n, _ = s.count()
		} else {
			s.skip()
		}
	}
}

type iteration struct{ input, read, write, output int64 }

// compactions sums the iterations that the totals leave out: those which
// compacted the context. All other iterations are in the totals already.
func (s *scanner) compactions() (sum iteration) {
	if !s.open('[') {
		s.skip()
		return sum
	}
	for s.element() {
		if !s.open('{') {
			at := s.i
			if s.skip(); s.i == at { // neither an element nor the end
				return sum
			}
			continue
		}
		var n iteration
		compaction := false
		for {
			k, ok := s.key()
			if !ok {
				break
			}
			switch string(k) {
			case "type":
				compaction = string(s.text()) == "compaction"
			case "input_tokens":
				n.input, _ = s.count()
			case "cache_read_input_tokens":
				n.read, _ = s.count()
			case "cache_creation_input_tokens":
				n.write, _ = s.count()
			case "output_tokens":
				n.output, _ = s.count()
			default:
				s.skip()
			}
		}
		if compaction {
			sum.input = min(sum.input+n.input, maxCount)
			sum.read = min(sum.read+n.read, maxCount)
			sum.write = min(sum.write+n.write, maxCount)
			sum.output = min(sum.output+n.output, maxCount)
		}
	}
	return sum
}
