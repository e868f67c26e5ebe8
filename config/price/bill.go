package price

import "tollgate/config/unit"

// The components of a Cost, in the order in which equal remainders are rounded up.
const (
	partInput = iota
	partCacheRead
	partCacheWrite
	partOutput
	partReasoning
	partTools
	parts
)

// Of is what a usage costs at a row's prices. A nil row, and a row that states
// no price, gives an unpriced cost.
func Of(u *Usage, r *Row) Cost {
	if !r.Priced() {
		return Cost{}
	}
	b := bill{cost: Cost{Priced: true, Version: r.Version}}
	b.sel = r.selection(clamp(u.Prompt()), u.ServiceTier)
	b.sel.factor = r.factorFor(u)
	b.remark(u, r)

	audio, image := clamp(u.CacheReadAudio), clamp(u.CacheReadImage)
	read := clamp(u.CacheRead)
	audio = min(audio, read)
	image = min(image, read-audio)
	b.charge(partInput, Input, u.InUncached)
	b.charge(partInput, InputAudio, u.InAudio)
	b.charge(partInput, InputImage, u.InImage)
	b.charge(partInput, Citation, u.Citations)
	b.charge(partInput, Query, u.Queries)
	b.charge(partInput, Page, u.Pages)
	b.charge(partInput, InputPicture, u.InImages)
	b.charge(partInput, InputPixel, u.InPixels)
	b.charge(partInput, InputSecond, u.InMillis)
	b.charge(partInput, InputCharacter, u.InChars)
	b.charge(partCacheRead, CacheRead, read-audio-image)
	b.charge(partCacheRead, CacheReadAudio, audio)
	b.charge(partCacheRead, CacheReadImage, image)
	b.charge(partCacheWrite, CacheWrite5m, u.CacheWrite5m)
	b.charge(partCacheWrite, CacheWrite1h, u.CacheWrite1h)

	// Parts of the output that add up to more than the output would bill the
	// overlap twice.
	out := clamp(u.OutTotal)
	spoken := min(clamp(u.OutAudio), out)
	drawn := min(clamp(u.OutImage), out-spoken)
	thought := min(clamp(u.OutReasoning), out-spoken-drawn)
	b.charge(partOutput, Output, out-spoken-drawn-thought)
	b.charge(partOutput, OutputAudio, spoken)
	b.charge(partOutput, OutputImage, drawn)
	b.charge(partOutput, OutputPicture, u.OutImages)
	b.charge(partOutput, OutputPixel, u.OutPixels)
	b.charge(partOutput, OutputSecond, u.OutMillis)
	b.charge(partOutput, OutputCharacter, u.OutChars)
	b.charge(partReasoning, Reasoning, thought)

	b.charge(partTools, PerRequest, 1)
	b.charge(partTools, searchClass(u.SearchSize), u.WebSearches)
	return b.round()
}

func clamp(n int64) int64 { return max(n, 0) }

func searchClass(size string) Class {
	switch size {
	case "low":
		return SearchLow
	case "high":
		return SearchHigh
	}
	return Search
}

type bill struct {
	sel  selection
	part [parts]wide
	cost Cost
}

func (b *bill) charge(part int, c Class, count int64) {
	if count <= 0 {
		return
	}
	p, factor, used, ok := b.sel.resolve(c)
	if !ok {
		if c.ofToken() && c != Citation { // fees and citations are free unless stated
			b.note(unpricedNote[c])
		}
		return
	}
	if used != c {
		b.note(substituteNote(c, used))
	}
	if c == InputSecond || c == OutputSecond {
		factor /= 1000 // the count is in milliseconds
	}
	b.part[part] = b.part[part].add(product(count, p, factor))
}

var unpricedNote = [tokenClasses]string{
	Input: "input tokens without a price", CacheRead: "cache read without a price",
	CacheReadAudio: "cache read without a price", CacheReadImage: "cache read without a price",
	CacheWrite5m: "cache write without a price", CacheWrite1h: "cache write without a price",
	InputAudio: "audio input without a price", InputImage: "image input without a price",
	Output: "output tokens without a price", Reasoning: "reasoning without a price",
	OutputAudio: "audio output without a price", OutputImage: "image output without a price",
}

// substituteNote is empty where the substitute is the provider's own rule:
// reasoning is output, and image tokens are input, unless a price says otherwise.
func substituteNote(c, used Class) string {
	switch {
	case c == CacheWrite1h && used == CacheWrite5m:
		return "1h cache write at 5m price"
	case c == CacheWrite5m || c == CacheWrite1h:
		return "cache write at input price"
	case used == Input && (c == CacheRead || c == CacheReadAudio || c == CacheReadImage):
		return "cache read at input price"
	case c == InputAudio:
		return "audio input at input price"
	case c == OutputAudio:
		return "audio output at output price"
	}
	return ""
}

// remark notes what the provider served and the row has no price for.
func (b *bill) remark(u *Usage, r *Row) {
	if name, ordinary := serviceName(u.ServiceTier); !ordinary && name != batches && r.service(name) == nil {
		b.note("service tier " + u.ServiceTier + " at standard price")
	}
	if u.Speed != "" && u.Speed != "standard" && r.factor(u.Speed) == one {
		b.note("speed " + u.Speed + " at standard price")
	}
}

func (b *bill) note(s string) {
	if s == "" {
		return
	}
	for _, have := range b.cost.Notes {
		if have == s {
			return
		}
	}
	b.cost.Notes = append(b.cost.Notes, s)
}

// round turns the sum into nano-dollars, once, half up, and gives the
// components the nano-dollars that rounding down lost them, largest remainder
// first: so they add up to the total to the last digit.
func (b *bill) round() Cost {
	var sum wide
	for _, w := range b.part {
		sum = sum.add(w)
	}
	total, _ := sum.add(wide{lo: attoPerNano / 2}).nano()
	var amount [parts]unit.Money
	var rest [parts]uint64
	left := total
	for i, w := range b.part {
		amount[i], rest[i] = w.nano()
		amount[i] = min(amount[i], left) // only when the sum is beyond MaxMoney
		left -= amount[i]
	}
	for ; left > 0; left-- {
		largest := 0
		for i := range rest {
			if rest[i] > rest[largest] {
				largest = i
			}
		}
		if rest[largest] == 0 { // saturated: nothing was lost to rounding
			amount[partInput] += left
			break
		}
		amount[largest]++
		rest[largest] = 0
	}
	c := b.cost
	c.Total = total
	c.Input, c.CacheRead, c.CacheWrite = amount[partInput], amount[partCacheRead], amount[partCacheWrite]
	c.Output, c.Reasoning, c.Tools = amount[partOutput], amount[partReasoning], amount[partTools]
	return c
}
