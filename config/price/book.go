package price

import (
	_ "embed" // the book's text
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"tollgate/config/unit"
)

//go:embed book/prices.csv
var bookText string

// embedded holds the parsed text: immutable, and made when first asked for, so
// that commands which price nothing do not pay for it.
var embedded = sync.OnceValues(func() (*Book, error) { return parseBook(bookText) })

// Book is a set of rows by provider and model. It is immutable.
type Book struct {
	version  string
	rows     map[string]map[string]*Row // provider → lower-case id → row
	stems    map[string]map[string]*Row // provider → id without its date → row
	names    map[string][]string        // provider → ids of rows of their own, sorted
	warnings []string
}

// Default is the price book that ships with the program.
func Default() *Book {
	b, err := embedded()
	if err != nil { // the package's tests read the text: this cannot ship
		return &Book{version: "none", warnings: []string{err.Error()}}
	}
	return b
}

// Version is the day of the book's figures, with "+overlay" when it was laid over.
func (b *Book) Version() string { return b.version }

// Warnings are remarks of an overlay that did not hinder it.
func (b *Book) Warnings() []string { return b.warnings }

// Known lists the models of a provider that have a price, sorted, by the names
// under which they can be called.
func (b *Book) Known(provider string) []string {
	var all []string
	for _, p := range providerNames(strings.ToLower(provider)) {
		if len(all) > 0 && b.rows[p] != nil && p != "aws" && p != "google" {
			continue // further names only lend prices to models of another house
		}
		for _, name := range b.names[p] {
			all = append(all, strings.TrimPrefix(name, "regional."))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

const bookColumns = "provider,model,mode,in,cache_read,cache_write,cache_write_1h,out,in_audio,out_audio,more,tiers,max_input,max_output,can,aliases"

// Names of the classes in the book.
var bookClass = map[string]Class{
	"in": Input, "cache_read": CacheRead, "cache_write": CacheWrite5m, "cache_write_1h": CacheWrite1h,
	"out": Output, "in_audio": InputAudio, "out_audio": OutputAudio, "in_image": InputImage, "out_image": OutputImage,
	"cache_read_audio": CacheReadAudio, "cache_read_image": CacheReadImage, "reasoning": Reasoning,
	"citation": Citation, "request": PerRequest, "web_search": Search, "in_second": InputSecond, "page": Page,
	"query": Query,
}

var bookAbility = map[rune]Supports{
	't': Tools, 'r': ReasoningMode, 'i': Vision, 'a': AudioInput, 'p': PDFInput, 'v': VideoInput,
}

func parseBook(text string) (*Book, error) {
	b := &Book{rows: map[string]map[string]*Row{}}
	columns := strings.Split(bookColumns, ",")
	type alias struct {
		row  *Row
		name string
	}
	var aliases []alias
	line := 0
	for l := range strings.Lines(text) {
		line++
		l = strings.TrimRight(l, "\r\n")
		if v, ok := strings.CutPrefix(l, "# version "); ok {
			b.version = v
		}
		if l == "" || l[0] == '#' || l == bookColumns {
			continue
		}
		cells := strings.Split(l, ",")
		if len(cells) != len(columns) {
			return nil, fmt.Errorf("price book line %d: %d columns, want %d", line, len(cells), len(columns))
		}
		r := &Row{Provider: cells[0], Model: cells[1], Mode: cells[2], Source: SourceBook, Version: b.version}
		err := readPrices(&r.base, columns[3:10], cells[3:10])
		if err == nil {
			err = readMore(r, cells[10], cells[11])
		}
		if err == nil {
			err = readLimits(r, cells[12], cells[13], cells[14])
		}
		if err != nil {
			return nil, fmt.Errorf("price book line %d: %w", line, err)
		}
		b.put(r.Provider, r.Model, r)
		for _, name := range strings.Fields(cells[15]) {
			aliases = append(aliases, alias{r, name})
		}
	}
	if b.version == "" {
		return nil, errors.New("price book: no version")
	}
	for _, a := range aliases {
		if b.rows[a.row.Provider][strings.ToLower(a.name)] == nil { // a row of its own knows better
			b.put(a.row.Provider, a.name, a.row)
		}
	}
	b.index()
	return b, nil
}

func readPrices(t *Rates, names, cells []string) error {
	for i, cell := range cells {
		if cell == "" {
			continue
		}
		c, ok := bookClass[names[i]]
		if !ok {
			return fmt.Errorf("no price is called %q", names[i])
		}
		p, err := perMillion(cell)
		if err != nil {
			return err
		}
		t.set(c, p)
	}
	return nil
}

func readPairs(t *Rates, fields []string) error {
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		if err := readPrices(t, []string{name}, []string{value}); err != nil {
			return err
		}
	}
	return nil
}

func readMore(r *Row, more, tiers string) error {
	if err := readPairs(&r.base, strings.Fields(more)); err != nil {
		return err
	}
	for _, t := range strings.Split(tiers, ";") {
		f := strings.Fields(t)
		if len(f) == 0 {
			continue
		}
		above, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil || above <= 0 {
			return fmt.Errorf("tier %q: want a number of tokens", f[0])
		}
		n := tier{above: above}
		if err := readPairs(&n.Rates, f[1:]); err != nil {
			return err
		}
		r.tiers = append(r.tiers, n)
	}
	slices.SortFunc(r.tiers, func(a, b tier) int { return int(a.above - b.above) })
	return nil
}

func readLimits(r *Row, in, out, can string) error {
	var err error
	if in != "" {
		r.MaxInput, err = strconv.ParseInt(in, 10, 64)
	}
	if err == nil && out != "" {
		r.MaxOutput, err = strconv.ParseInt(out, 10, 64)
	}
	for _, letter := range can {
		r.Supports |= bookAbility[letter]
	}
	if _, ok := r.base.get(CacheRead); ok {
		r.Supports |= PromptCaching
	}
	return err
}

// perMillion reads dollars per million units with at most six decimals, which
// are pico-dollars per unit.
func perMillion(s string) (unit.Price, error) {
	whole, frac, _ := strings.Cut(s, ".")
	if len(frac) > 6 || len(whole) > 11 {
		return 0, fmt.Errorf("price %q: want at most eleven digits and six decimals", s)
	}
	n, err := strconv.ParseUint(whole+frac+"000000"[len(frac):], 10, 62)
	if err != nil {
		return 0, fmt.Errorf("price %q: want a decimal number", s)
	}
	return unit.Price(n), nil
}

func (b *Book) put(provider, id string, r *Row) {
	m := b.rows[provider]
	if m == nil {
		m = map[string]*Row{}
		b.rows[provider] = m
	}
	m[strings.ToLower(id)] = r
}

// index makes what Find and Known look into. Of several dated ids of a model
// the newest stands for the undated name.
func (b *Book) index() {
	b.stems, b.names = map[string]map[string]*Row{}, map[string][]string{}
	for provider, rows := range b.rows {
		ids := make([]string, 0, len(rows))
		for id, r := range rows {
			ids = append(ids, id)
			if r.Priced() && strings.EqualFold(id, r.Model) {
				b.names[provider] = append(b.names[provider], r.Model)
			}
		}
		slices.Sort(ids)
		stems := map[string]*Row{}
		for _, id := range ids {
			if stem := undated(id); stem != id && rows[id].Priced() {
				stems[stem] = rows[id]
			}
		}
		b.stems[provider] = stems
		slices.Sort(b.names[provider])
	}
}
