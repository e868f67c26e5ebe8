// Command gen writes the price book from tables of figures: prices, limits, and
// what neither holds (hour-long cache writes, tiers beyond the input price,
// media, search fees, other names of a model). It fetches nothing; its output
// goes to the standard output:
//
//	go run ./config/price/book/gen -day 2026-11-23 prices.csv models.csv extra.csv > config/price/book/prices.csv
package main

import (
	"bufio"
	"encoding/csv"
	"flag"
	"fmt"
	"io"
	"math/big"
	"os"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// Names of the same provider in the two tables.
var sameProvider = map[string]string{
	"amazon-bedrock": "aws", "google-vertex": "google", "google-vertex-anthropic": "google",
	"togetherai": "together", "fireworks-ai": "fireworks", "cloudflare-workers-ai": "cloudflare", "xai": "x-ai",
}

// Columns of the book between the name and the limits.
var priceColumns = []string{"in", "cache_read", "cache_write", "cache_write_1h", "out", "in_audio", "out_audio"}

type entry struct {
	provider, model     string
	price               map[string]string // by column or by name in "more"
	tiers               map[string]map[string]string
	maxInput, maxOutput string
	can                 string
	aliases             []string
	listed              bool // in the table of prices, whose word stands
}

type book map[string]*entry

func (b book) at(provider, model string) *entry {
	k := provider + "\x00" + model
	if b[k] == nil {
		b[k] = &entry{provider: provider, model: model, price: map[string]string{}, tiers: map[string]map[string]string{}}
	}
	return b[k]
}

func main() {
	day := flag.String("day", "", "day the figures were read, YYYY-MM-DD: the book's version")
	flag.Parse()
	if *day == "" || flag.NArg() != 3 {
		fmt.Fprintln(os.Stderr, "usage: gen -day YYYY-MM-DD prices.csv models.csv extra.csv")
		os.Exit(2)
	}
	if err := run(*day, flag.Arg(0), flag.Arg(1), flag.Arg(2), os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(day, prices, models, extra string, w io.Writer) error {
	b := book{}
	for _, step := range []struct {
		path string
		add  func([]string) error
	}{{prices, b.addPrice}, {extra, b.addExtra}, {models, b.addModel}} {
		if err := eachRow(step.path, step.add); err != nil {
			return err
		}
	}
	for _, e := range b {
		if strings.Contains(e.model, "claude") {
			hourWrites(e.price)
			for _, t := range e.tiers {
				hourWrites(t)
			}
		}
	}
	return b.write(day, w)
}

func eachRow(path string, add func([]string) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(f)
	for line := 1; ; line++ {
		rec, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err == nil && line > 1 && rec[0] != "provider" {
			err = add(rec)
		}
		if err != nil {
			return fmt.Errorf("%s line %d: %w", path, line, err)
		}
	}
}

func (b book) addPrice(r []string) error {
	e := b.at(r[0], r[1])
	e.listed, e.maxInput = true, r[9]
	for i, name := range map[int]string{2: "in", 3: "cache_read", 4: "cache_write", 5: "out", 6: "in_audio", 7: "out_audio"} {
		if err := e.set(e.price, name, r[i], 1); err != nil {
			return err
		}
	}
	if err := e.set(e.price, "request", r[8], 1000); err != nil {
		return err
	}
	if strings.HasSuffix(e.model, ":free") && len(e.price) == 0 {
		e.price["in"], e.price["out"] = "0", "0" // the name says so
	}
	if start, usd, ok := strings.Cut(r[10], ":"); ok {
		return e.setTier(start, "in", usd)
	}
	return nil
}

func (b book) addExtra(r []string) error {
	e := b.at(r[0], r[1])
	if r[2] == "alias" {
		e.aliases = append(e.aliases, r[3])
		return nil
	}
	if f := strings.Split(r[2], ":"); len(f) == 3 && f[0] == "tier" {
		return e.setTier(f[1], f[2], r[3])
	}
	return e.set(e.price, r[2], r[3], 1)
}

// addModel takes limits for every model and prices only for models that the
// table of prices does not list. Its zeros mean free or unknown alike, so none
// of them is taken for a price.
func (b book) addModel(r []string) error {
	provider := r[0]
	if p, ok := sameProvider[provider]; ok {
		provider = p
	}
	e := b.byName(provider, r[1], r[2], r[5])
	if e.maxInput == "" || e.maxInput == "0" {
		e.maxInput = r[6]
	}
	if e.maxOutput == "" {
		e.maxOutput = r[7]
	}
	if e.can == "" {
		e.can = abilities(r[8], r[9], r[10])
	}
	if e.listed {
		return nil
	}
	for i, name := range map[int]string{2: "in", 3: "cache_read", 4: "cache_write", 5: "out"} {
		if strings.Trim(r[i], "0.") == "" || e.price[name] != "" {
			continue
		}
		if err := e.set(e.price, name, r[i], 1); err != nil {
			return err
		}
	}
	return nil
}

// byName finds the entry that a row of limits belongs to: the same id, another
// name of it, or a dated id whose undated entry is listed at the same prices.
// The listed entry knows more (long-lived writes, fees), so the dated id becomes
// another name of it instead of an entry of its own.
func (b book) byName(provider, model, in, out string) *entry {
	if e := b[provider+"\x00"+model]; e != nil {
		return e
	}
	for _, k := range sortedKeys(b) {
		if e := b[k]; e.provider == provider && slices.Contains(e.aliases, model) {
			return e
		}
	}
	stem := strings.TrimSuffix(dated.ReplaceAllString(model, ""), "-latest")
	for _, id := range []string{stem, stem + "-latest", stem + "-0", "regional." + model} {
		e := b[provider+"\x00"+id]
		if e != nil && e.listed && same(e.price["in"], in) && same(e.price["out"], out) {
			e.aliases = append(e.aliases, model)
			return e
		}
	}
	return b.at(provider, model)
}

var dated = regexp.MustCompile(`[-@]20\d{2}-?\d{2}-?\d{2}$`)

func same(price, usd string) bool {
	v, err := decimal(usd, 1)
	return err == nil && v == price
}

// hourWrites fills in the price of an hour-long cache write where the tables
// give only the short one: for Claude they stand at 2 and 1.25 times the input
// price wherever both are given.
func hourWrites(p map[string]string) {
	in, ok1 := new(big.Rat).SetString(p["in"])
	short, ok2 := new(big.Rat).SetString(p["cache_write"])
	if p["cache_write_1h"] != "" || !ok1 || !ok2 || new(big.Rat).Mul(in, big.NewRat(5, 4)).Cmp(short) != 0 {
		return
	}
	p["cache_write_1h"], _ = decimal(p["in"], 2)
}

func (e *entry) set(m map[string]string, name, usd string, times int64) error {
	if usd == "" {
		return nil
	}
	v, err := decimal(usd, times)
	if err == nil {
		m[name] = v
	}
	return err
}

func (e *entry) setTier(start, name, usd string) error {
	if e.tiers[start] == nil {
		e.tiers[start] = map[string]string{}
	}
	return e.set(e.tiers[start], name, usd, 1)
}

// decimal gives usd × times with at most six decimals, which is a whole number
// of pico-dollars a token; figures that were the result of a float division are
// rounded half up.
func decimal(usd string, times int64) (string, error) {
	r, ok := new(big.Rat).SetString(usd)
	if !ok || r.Sign() < 0 {
		return "", fmt.Errorf("%q is no price", usd)
	}
	r.Mul(r, new(big.Rat).SetInt64(times))
	s := r.FloatString(6)
	return strings.TrimRight(strings.TrimRight(s, "0"), "."), nil
}

func abilities(tools, reasoning, modalities string) string {
	can := ""
	if tools == "1" {
		can += "t"
	}
	if reasoning == "1" {
		can += "r"
	}
	for word, letter := range map[string]string{"image": "i", "audio": "a", "pdf": "p", "video": "v"} {
		for _, m := range strings.Split(modalities, "|") {
			if m == word {
				can += letter
			}
		}
	}
	s := strings.Split(can, "")
	sort.Strings(s)
	return strings.Join(s, "")
}

func mode(e *entry) string {
	m := strings.ToLower(e.model)
	has := func(words ...string) bool {
		for _, w := range words {
			if strings.Contains(m, w) {
				return true
			}
		}
		return false
	}
	switch {
	case has("rerank"):
		return "rerank"
	case has("embed", "bge-", "gte-", "e5-"), e.provider == "voyageai":
		return "embedding"
	case has("transcribe", "whisper", "parakeet"):
		return "audio_transcription"
	case has("-tts"):
		return "audio_speech"
	case has("gpt-image", "flux"):
		return "image_generation"
	case has("-ocr-"):
		return "ocr"
	case m == "moderation", has("-moderation"):
		return "moderation"
	}
	return "chat"
}

func (b book) write(day string, out io.Writer) error {
	entries := make([]*entry, 0, len(b))
	for _, e := range b {
		entries = append(entries, e)
	}
	sort.Slice(entries, func(i, j int) bool {
		return entries[i].provider+"\x00"+entries[i].model < entries[j].provider+"\x00"+entries[j].model
	})
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "# version %s\n# See README.md for the columns. Prices are USD per million units; empty is unknown.\n", day)
	fmt.Fprintf(w, "provider,model,mode,%s,more,tiers,max_input,max_output,can,aliases\n", strings.Join(priceColumns, ","))
	for _, e := range entries {
		cells := []string{e.provider, e.model, mode(e)}
		for _, c := range priceColumns {
			cells = append(cells, e.price[c])
			delete(e.price, c)
		}
		starts := sortedKeys(e.tiers)
		for i, s := range starts {
			starts[i] = s + " " + pairs(e.tiers[s])
		}
		sort.Strings(e.aliases)
		if e.maxInput == "0" {
			e.maxInput = ""
		}
		if e.maxOutput == "0" {
			e.maxOutput = ""
		}
		cells = append(cells, pairs(e.price), strings.Join(starts, ";"), e.maxInput, e.maxOutput, e.can, strings.Join(e.aliases, " "))
		for _, c := range cells {
			if strings.ContainsAny(c, ",\"\n") {
				return fmt.Errorf("%s/%s: %q needs quoting, which the book does not know", e.provider, e.model, c)
			}
		}
		fmt.Fprintln(w, strings.Join(cells, ","))
	}
	return w.Flush()
}

func pairs(m map[string]string) string {
	keys := sortedKeys(m)
	for i, k := range keys {
		keys[i] = k + "=" + m[k]
	}
	return strings.Join(keys, " ")
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
