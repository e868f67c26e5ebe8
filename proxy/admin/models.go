package admin

import (
	stdjson "encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/state"
	"tollgate/proxy/refusal"
)

func modelInfo(c *call) *refusal.Refusal {
	id := c.query("litellm_model_id")
	rows := []modelRow{}
	for _, d := range c.deployments() {
		if id == "" || d.ID == id {
			rows = append(rows, c.modelRow(d))
		}
	}
	if id != "" && len(rows) == 0 {
		return notFound("litellm_model_id", "Model id = %s not found on litellm proxy", id)
	}
	return c.ok(struct {
		Data []modelRow `json:"data"`
	}{rows})
}

func modelPages(c *call) *refusal.Refusal {
	pg, r := c.page("size", 50, 500)
	if r != nil {
		return r
	}
	want, search := c.query("model"), strings.ToLower(c.query("search"))
	var found []*state.Deployment
	for _, d := range c.deployments() {
		if (want == "" || d.Group == want) && (search == "" || strings.Contains(strings.ToLower(d.Group), search)) {
			found = append(found, d)
		}
	}
	from, to, pages := pg.cut(len(found))
	rows := []modelRow{}
	for _, d := range found[from:to] {
		rows = append(rows, c.modelRow(d))
	}
	return c.ok(struct {
		Data    []modelRow `json:"data"`
		Total   int        `json:"total_count"`
		Current int        `json:"current_page"`
		Size    int        `json:"size"`
		Pages   int        `json:"total_pages"`
	}{rows, len(found), pg.number, pg.size, pages})
}

// groupRow is a model group: the best that its deployments offer.
type groupRow struct {
	Group     string   `json:"model_group"`
	Providers []string `json:"providers"`
	MaxInput  *int64   `json:"max_input_tokens"`
	MaxOutput *int64   `json:"max_output_tokens"`
	Input     *float64 `json:"input_cost_per_token"`
	Output    *float64 `json:"output_cost_per_token"`
	Mode      *string  `json:"mode"`
	TPM       *int64   `json:"tpm"`
	RPM       *int64   `json:"rpm"`
	Parallel  bool     `json:"supports_parallel_function_calling"`
	Vision    bool     `json:"supports_vision"`
	Search    bool     `json:"supports_web_search"`
	Reasoning bool     `json:"supports_reasoning"`
	Functions bool     `json:"supports_function_calling"`
	Params    []string `json:"supported_openai_params"`
	Wildcard  bool     `json:"is_wildcard,omitempty"`
}

// openAIParams are the request fields that every chat translator takes.
var openAIParams = []string{"frequency_penalty", "logit_bias", "logprobs", "max_completion_tokens", "max_tokens", "n", "parallel_tool_calls",
	"presence_penalty", "reasoning_effort", "response_format", "seed", "stop", "stream", "stream_options", "temperature", "tool_choice",
	"tools", "top_logprobs", "top_p", "user"}

func (g *groupRow) add(d *state.Deployment) {
	if !slices.Contains(g.Providers, d.Provider) {
		g.Providers = append(g.Providers, d.Provider)
	}
	larger := func(have **int64, v int64) {
		if v > 0 && (*have == nil || v > **have) {
			*have = &v
		}
	}
	sum := func(have **int64, v *int64) {
		if v != nil {
			total := *v
			if *have != nil {
				total += **have
			}
			*have = &total
		}
	}
	dearer := func(have **float64, class price.Class) {
		if p, ok := d.Price.Price(class); ok && (*have == nil || p.USD() > **have) {
			f := p.USD()
			*have = &f
		}
	}
	larger(&g.MaxInput, d.MaxInput)
	larger(&g.MaxOutput, d.MaxOutput)
	dearer(&g.Input, price.Input)
	dearer(&g.Output, price.Output)
	sum(&g.TPM, d.TPM)
	sum(&g.RPM, d.RPM)
	if g.Mode == nil {
		g.Mode = optional(d.Mode)
	}
	if d.Price != nil {
		has := func(s price.Supports) bool { return d.Price.Supports&s != 0 }
		g.Parallel = g.Parallel || has(price.ParallelTools)
		g.Vision = g.Vision || has(price.Vision)
		g.Search = g.Search || has(price.WebSearch)
		g.Reasoning = g.Reasoning || has(price.ReasoningMode)
		g.Functions = g.Functions || has(price.Tools)
	}
}

func modelGroupInfo(c *call) *refusal.Refusal {
	want := c.query("model_group")
	groups := map[string]*groupRow{}
	for _, d := range c.deployments() {
		if want != "" && d.Group != want {
			continue
		}
		g := groups[d.Group]
		if g == nil {
			g = &groupRow{Group: d.Group, Params: openAIParams, Wildcard: strings.Contains(d.Group, "*")}
			groups[d.Group] = g
		}
		g.add(d)
	}
	rows := []*groupRow{}
	for _, name := range slices.Sorted(maps.Keys(groups)) {
		rows = append(rows, groups[name])
	}
	return c.ok(struct {
		Data []*groupRow `json:"data"`
	}{rows})
}

// storedModel is a deployment as the API answers when it was made or changed.
type storedModel struct {
	ID        string                    `json:"model_id"`
	Name      string                    `json:"model_name"`
	Params    map[string]jsontext.Value `json:"litellm_params"`
	Info      map[string]jsontext.Value `json:"model_info"`
	CreatedAt *time.Time                `json:"created_at"`
	CreatedBy *string                   `json:"created_by"`
	UpdatedAt *time.Time                `json:"updated_at"`
	UpdatedBy *string                   `json:"updated_by"`
}

func (c *call) showStored(id string) *refusal.Refusal {
	d, ok := c.s.Models.Get(id)
	if !ok {
		return noSuchModel(id)
	}
	return c.ok(storedModel{d.Deployment.ID, d.Group, c.shown(d.Params), c.shown(d.Info),
		moment(d.CreatedAt), optional(d.CreatedBy), moment(d.UpdatedAt), optional(d.UpdatedBy)})
}

func noSuchModel(id string) *refusal.Refusal {
	return badRequest("id", "Model with id=%s not found in db", id)
}

// mayStoreModels checks the caller, and that models may be made over the API.
func (c *call) mayStoreModels() *refusal.Refusal {
	if r := c.onlyAdmin(); r != nil {
		return r
	}
	if c.settings().General.StoreModelInDB {
		return nil
	}
	return refusal.New(500, "internal_server_error", "",
		"{'error': \"Set `'STORE_MODEL_IN_DB='True'` in your env to enable this feature.\"}")
}

// params reads an object field as a parameter map.
func (f *form) params(name string) field[model.Params] {
	v := f.object(name)
	if !v.set {
		return field[model.Params]{given: v.given}
	}
	p := model.Params{}
	var raw map[string]jsontext.Value
	if err := json.Unmarshal(v.v, &raw); err != nil {
		f.fault(name, "dict_type", "Input should be a valid dictionary")
		return field[model.Params]{}
	}
	for k, x := range raw {
		p[k] = stdjson.RawMessage(x)
	}
	return field[model.Params]{true, true, p}
}

// stringParam is a parameter that is a string.
func stringParam(p model.Params, name string) string {
	if v := jsontext.Value(p[name]); v.Kind() == '"' {
		return text(v)
	}
	return ""
}

// seal seals the secrets of a deployment's new parameters, in these maps.
func (c *call) seal(id string, p, info model.Params) *refusal.Refusal {
	if c.a.SealDeployment != nil {
		d := &model.Deployment{ID: id, Params: maps.Clone(p), Info: maps.Clone(info)}
		err := c.a.SealDeployment(d)
		replace(p, d.Params) // whether it was done in the maps given or in others
		replace(info, d.Info)
		if err != nil {
			c.a.Logger.Error("deployment not sealed", "deployment", id, "error", err)
			return refusal.Unavailable("secrets_unavailable", "The deployment's secrets could not be sealed; nothing was changed.", 5*time.Second)
		}
		return nil
	}
	for name := range p {
		if c.a.IsSecret(name) {
			return badRequest("litellm_params."+name, "This node cannot seal secrets; put %s into config.yaml.", name)
		}
	}
	return nil
}

// replace makes a map hold what another holds.
func replace(p, with model.Params) {
	clear(p)
	maps.Copy(p, with)
}

func modelNew(c *call) *refusal.Refusal {
	if r := c.mayStoreModels(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	name, params, info := f.str("model_name"), f.params("litellm_params"), f.params("model_info")
	f.require("model_name", name.v != "")
	f.require("litellm_params", params.set)
	if params.set && stringParam(params.v, "model") == "" {
		f.fault("litellm_params.model", "missing", "Field required")
	}
	id := stringParam(info.v, "id")
	if why := badID(id); why != "" {
		f.invalid("model_info.id", why)
	}
	checkPrices(f, "litellm_params", params.v)
	checkPrices(f, "model_info", info.v)
	if f.wrong() {
		return c.refuseForm(f)
	}
	if id == "" {
		if id, r = c.newID(); r != nil {
			return r
		}
	}
	delete(info.v, "id")
	delete(info.v, "db_model")
	if r := c.seal(id, params.v, info.v); r != nil {
		return r
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		_, stored := s.Models.Get(id)
		if stored || s.Routing != nil && s.Routing.ByID[id] != nil {
			return nil, badRequest("model_info.id", "A model with id=%s exists already.", id)
		}
		d := &model.DBModel{Deployment: model.Deployment{ID: id, Group: name.v, Params: params.v, Info: info.v}}
		c.born(&d.Meta)
		return []model.Change{put(model.Models, d)}, nil
	})
	if r != nil {
		return r
	}
	if _, ok := c.s.Models.Get(id); !ok {
		return c.notShownAgain()
	}
	return c.showStored(id)
}

// checkPrices notes prices that are not prices, before they reach routing and
// leave the model without one.
func checkPrices(f *form, at string, p model.Params) {
	if _, err := (&price.Row{}).With(p); err != nil {
		f.invalid(at, err.Error())
	}
}

func modelUpdate(c *call) *refusal.Refusal {
	if r := c.mayStoreModels(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	name, params, info := f.str("model_name"), f.params("litellm_params"), f.params("model_info")
	id := c.param
	if id == "" {
		id = stringParam(info.v, "id")
		f.require("model_info.id", id != "")
	}
	if name.given && name.v == "" {
		f.invalid("model_name", "model_name cannot be empty")
	}
	if v, given := params.v["model"]; given && jsontext.Value(v).Kind() != '"' {
		f.fault("litellm_params.model", "string_type", "Input should be a valid string")
	}
	checkPrices(f, "litellm_params", withoutNulls(params.v))
	checkPrices(f, "model_info", withoutNulls(info.v))
	if f.wrong() {
		return c.refuseForm(f)
	}
	delete(info.v, "id")
	delete(info.v, "db_model")
	if r := c.seal(id, params.v, info.v); r != nil {
		return r
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		old, ok := s.Models.Get(id)
		if !ok {
			if s.Routing != nil && s.Routing.ByID[id] != nil {
				return nil, badRequest("id", "Model with id=%s comes from config.yaml and is changed there.", id)
			}
			return nil, noSuchModel(id)
		}
		d := *old
		name.into(&d.Group)
		d.Params, d.Info = over(old.Params, params.v), over(old.Info, info.v)
		c.touched(&d.Meta)
		return []model.Change{put(model.Models, &d)}, nil
	})
	if r != nil {
		return r
	}
	c.spread()
	return c.showStored(id)
}

func withoutNulls(p model.Params) model.Params {
	out := make(model.Params, len(p))
	for name, v := range p {
		if string(v) != "null" {
			out[name] = v
		}
	}
	return out
}

// over lays changed parameters over the old ones; null takes one out.
func over(old, changed model.Params) model.Params {
	out := maps.Clone(old)
	if out == nil {
		out = model.Params{}
	}
	for name, v := range changed {
		if string(v) == "null" {
			delete(out, name)
		} else {
			out[name] = v
		}
	}
	return out
}

func modelDelete(c *call) *refusal.Refusal {
	if r := c.mayStoreModels(); r != nil {
		return r
	}
	f, r := c.form()
	if r != nil {
		return r
	}
	id := f.str("id")
	f.require("id", id.v != "")
	if f.wrong() {
		return c.refuseForm(f)
	}
	r = c.submit(func(s *state.Snapshot) ([]model.Change, *refusal.Refusal) {
		d, ok := s.Models.Get(id.v)
		if !ok {
			return nil, noSuchModel(id.v)
		}
		return []model.Change{model.Delete(model.Models, id.v, model.Version(d.EntityVersion()))}, nil
	})
	if r != nil {
		return r
	}
	c.spread()
	return c.ok(struct {
		Message string `json:"message"`
	}{"Model: " + id.v + " deleted successfully"})
}
