package admin

import (
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/price"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

// perMessage is what a chat message costs beside its text.
const perMessage = 4

// tokens estimates the tokens of a request's prompt, messages or contents.
func (c *call) tokens(model string, f *form) (n int64, any bool) {
	if v, given, null := f.value("prompt"); given && !null {
		n, any = n+c.textTokens(model, v), true
	}
	for _, name := range []string{"messages", "contents"} {
		v, given, null := f.value(name)
		if !given || null {
			continue
		}
		any = true
		items, ok := f.items(name, v)
		if !ok {
			continue
		}
		for _, m := range items {
			n += perMessage + c.textTokens(model, m)
		}
	}
	for _, name := range []string{"tools", "system"} {
		if v, given, null := f.value(name); given && !null {
			n += c.textTokens(model, v)
		}
	}
	return n, any
}

// textTokens counts the strings inside a value. Data URLs are left out: what an
// image costs does not follow from its bytes.
func (c *call) textTokens(model string, v jsontext.Value) (n int64) {
	switch v.Kind() {
	case '"':
		if s := text(v); !strings.HasPrefix(s, "data:") {
			return c.a.CountTokens(model, s)
		}
	case '[':
		var items []jsontext.Value
		if json.Unmarshal(v, &items) == nil {
			for _, x := range items {
				n += c.textTokens(model, x)
			}
		}
	case '{':
		var members map[string]jsontext.Value
		if json.Unmarshal(v, &members) == nil {
			for name, x := range members {
				if name != "role" && name != "type" {
					n += c.textTokens(model, x)
				}
			}
		}
	}
	return n
}

func tokenCounter(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	asked := f.str("model")
	f.require("model", asked.v != "")
	n, any := c.tokens(asked.v, f)
	if f.wrong() {
		return c.refuseForm(f)
	}
	if !any {
		return badRequest("prompt", "prompt or messages or contents must be provided")
	}
	used := asked.v
	if d := c.deploymentOf(asked.v); d != nil {
		used = d.Model
	}
	return c.ok(struct {
		Total     int64  `json:"total_tokens"`
		Request   string `json:"request_model"`
		Used      string `json:"model_used"`
		Tokenizer string `json:"tokenizer_type"`
	}{n, asked.v, used, "estimate"})
}

// deploymentOf is the first deployment that a model name stands for.
func (c *call) deploymentOf(name string) *state.Deployment {
	if target, ok := c.s.Routing.Resolve(name); ok {
		for _, choice := range target.Deployments() {
			return choice.Deployment
		}
	}
	return nil
}

// priceOf is what a model costs here: its deployment's price, else the book's.
func (c *call) priceOf(name string) *price.Row {
	if d := c.deploymentOf(name); d != nil {
		return d.Price
	}
	if c.s.Routing == nil || c.s.Routing.Prices == nil {
		return nil
	}
	provider, model, ok := strings.Cut(name, "/")
	if !ok {
		provider, model = "openai", name
	}
	row, _ := c.s.Routing.Prices.Find(provider, model)
	return row
}

// spendCalculate prices a request before it is made, or an answer after it.
func spendCalculate(c *call) *refusal.Refusal {
	f, r := c.form()
	if r != nil {
		return r
	}
	model, answer := f.str("model"), f.object("completion_response")
	f.require("model", model.v != "" || answer.set)
	usage := price.Usage{Known: true, Estimated: true}
	if answer.set {
		in, _ := parseForm(answer.v)
		if model.v == "" {
			model = in.str("model")
			in.require("model", model.v != "")
		}
		used := in.object("usage")
		in.require("usage", used.set)
		usage = price.FromOpenAI(used.v)
		f.adopt(in, "completion_response")
	} else {
		n, any := c.tokens(model.v, f)
		f.require("messages", any)
		usage.InUncached = n
	}
	if f.wrong() {
		return c.refuseForm(f)
	}
	cost := price.Of(&usage, c.priceOf(model.v))
	if !cost.Priced {
		return badRequest("model", "No price is known for model=%s.", model.v)
	}
	return c.ok(struct {
		Cost float64 `json:"cost"`
	}{cost.Total.USD()})
}
