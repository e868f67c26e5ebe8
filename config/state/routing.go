package state

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"tollgate/config/model"
	"tollgate/config/price"
	"tollgate/config/wildcard"
)

// ProviderDefaults is what is known of a provider where the configuration says
// nothing: its address, and the variables that may hold a key or an address, in
// the order in which they are tried.
type ProviderDefaults struct {
	Base    string
	KeyEnv  []string
	BaseEnv []string
	// KeyOptional providers are called without a key when there is none.
	KeyOptional bool
}

// CompileDeps is what compiling needs beside the state.
type CompileDeps struct {
	// Book prices models; nil leaves all unpriced.
	Book *price.Book
	// Providers are the providers that can be called, by name.
	Providers map[string]ProviderDefaults
	// Env looks up keys that the configuration leaves to the environment.
	Env func(name string) (string, bool)
	// OpenConfig and OpenDeployment open sealed values; nil: nothing is sealed.
	OpenConfig     func(*model.Config) (*model.Config, []error)
	OpenDeployment func(*model.Deployment) (*model.Deployment, error)
}

// RouteWarning is one thing that keeps a model from being used as written.
type RouteWarning struct {
	Model   string // group name, or the setting it is about
	ID      string // of the deployment, if it is about one
	Problem string
}

// String is "model NAME: what is wrong".
func (w RouteWarning) String() string {
	if w.Model == "" {
		return w.Problem
	}
	return "model " + w.Model + ": " + w.Problem
}

// Compiler makes the function that a Store compiles with.
func Compiler(deps CompileDeps) func(*Snapshot) *Routing {
	return func(s *Snapshot) *Routing {
		cfg := &model.Config{}
		active := s.ActiveConfig()
		if active != nil {
			cfg = &active.Config
		}
		models := make([]*model.DBModel, 0, s.Models.Len())
		for _, m := range s.Models.Sorted() {
			models = append(models, m)
		}
		r, _ := Compile(cfg, models, deps)
		if active != nil {
			r.Version, r.Hash = active.Number, active.Hash
		}
		return r
	}
}

// Compile turns a config and the models made over the API into routing. It
// never fails: a deployment that cannot be used is left out or carries its
// problem, and the warnings say so.
func Compile(cfg *model.Config, models []*model.DBModel, deps CompileDeps) (*Routing, []RouteWarning) {
	c := &compiler{deps: deps, sealed: cfg, cfg: cfg, providers: deps.Providers, book: deps.Book}
	c.open()
	c.location()
	c.prices()
	c.addProviders()
	r := &Routing{Config: cfg, Aliases: cfg.Router.Aliases, Location: c.loc, Prices: c.book,
		Groups: map[string]*Group{}, ByID: map[string]*Deployment{}}
	r.index.c = c
	c.add(r, models)
	c.finish(r)
	for _, w := range c.warnings {
		r.Warnings = append(r.Warnings, w.String())
	}
	return r, c.warnings
}

// compiler is one compilation. The routing keeps it, because wildcard models
// are completed when their name is known.
type compiler struct {
	deps      CompileDeps
	sealed    *model.Config
	cfg       *model.Config // opened
	providers map[string]ProviderDefaults
	book      *price.Book
	loc       *time.Location
	warnings  []RouteWarning
}

func (c *compiler) warn(group, id, format string, args ...any) {
	c.warnings = append(c.warnings, RouteWarning{Model: group, ID: id, Problem: fmt.Sprintf(format, args...)})
}

func (c *compiler) open() {
	if c.deps.OpenConfig == nil {
		return
	}
	opened, errs := c.deps.OpenConfig(c.sealed)
	for _, err := range errs {
		c.warn("", "", "a sealed value does not open: %v", err)
	}
	c.cfg = opened
}

func (c *compiler) location() {
	c.loc = time.UTC
	if name := c.cfg.LiteLLM.Timezone; name != "" {
		loc, err := time.LoadLocation(name)
		if err != nil {
			c.warn("", "", "time zone %q is unknown on this node, UTC is used", name)
			return
		}
		c.loc = loc
	}
}

func (c *compiler) prices() {
	if c.book == nil || len(c.cfg.Tollgate.PriceOverlay) == 0 {
		return
	}
	book, err := c.book.OverlayEntries(c.cfg.Tollgate.PriceOverlay)
	if err == nil {
		c.book = book
		return
	}
	c.warn("", "", "the price file %s is not used: %v", c.cfg.Tollgate.PriceFile, err)
}

// addProviders lays the rows of the configuration over the known providers.
func (c *compiler) addProviders() {
	rows := c.cfg.Tollgate.Providers
	if len(rows) == 0 {
		return
	}
	all := make(map[string]ProviderDefaults, len(c.providers)+len(rows))
	for name, p := range c.providers {
		all[name] = p
	}
	for _, row := range rows {
		all[row.Name] = ProviderDefaults{Base: row.BaseURL, KeyEnv: row.KeyEnv, BaseEnv: row.BaseEnv, KeyOptional: len(row.KeyEnv) == 0}
	}
	c.providers = all
}

// env looks a variable up, those of environment_variables first: they reach
// nodes that do not have them in their own environment.
func (c *compiler) env(names []string) string {
	for _, name := range names {
		if s := c.cfg.Environment[name]; s != "" {
			return s
		}
		if c.deps.Env == nil {
			continue
		}
		if s, ok := c.deps.Env(name); ok && s != "" {
			return s
		}
	}
	return ""
}

// add compiles all deployments. One made over the API replaces the file's
// deployment of the same id.
func (c *compiler) add(r *Routing, models []*model.DBModel) {
	made := make(map[string]bool, len(models))
	for _, m := range models {
		made[m.ID] = true
	}
	for i := range c.cfg.Deployments {
		if d := &c.cfg.Deployments[i]; !made[d.ID] {
			c.one(r, d, &c.sealed.Deployments[i], false)
		}
	}
	for _, m := range models {
		opened := &m.Deployment
		if c.deps.OpenDeployment != nil {
			d, err := c.deps.OpenDeployment(opened)
			if err != nil {
				c.warn(m.Group, m.ID, "a sealed value does not open: %v", err)
			}
			opened = d
		}
		c.one(r, opened, &m.Deployment, true)
	}
}

func (c *compiler) one(r *Routing, d, sealed *model.Deployment, db bool) {
	if r.ByID[d.ID] != nil {
		c.warn(d.Group, d.ID, "deployment id %q is used twice, the first holds", d.ID)
		return
	}
	out := c.deployment(d, sealed, db)
	if out == nil {
		return
	}
	r.ByID[out.ID] = out
	r.index.byModel = appendTo(r.index.byModel, out.requested, out)
	if wildcard.Is(out.Group) {
		i := slices.IndexFunc(r.Patterns, func(p *Pattern) bool { return p.Name == out.Group })
		if i < 0 {
			i = len(r.Patterns)
			r.Patterns = append(r.Patterns, &Pattern{Name: out.Group})
		}
		r.Patterns[i].Deployments = append(r.Patterns[i].Deployments, out)
	} else {
		g := r.Groups[out.Group]
		if g == nil {
			g = &Group{Name: out.Group}
			r.Groups[out.Group] = g
		}
		g.Deployments = append(g.Deployments, out)
		for _, a := range out.AccessGroups {
			if !slices.Contains(g.AccessNames, a) {
				g.AccessNames = append(g.AccessNames, a)
			}
		}
	}
	if !slices.Contains(r.index.listed, out.Group) && !out.Hidden {
		r.index.listed = append(r.index.listed, out.Group)
	}
}

// finish makes the targets that requests will find ready.
func (c *compiler) finish(r *Routing) {
	sort.SliceStable(r.Patterns, func(i, j int) bool {
		a, b := r.Patterns[i].Name, r.Patterns[j].Name
		if len(a) != len(b) {
			return len(a) > len(b)
		}
		if x, y := wildcard.Special(a), wildcard.Special(b); x != y {
			return x > y
		}
		return a < b
	})
	r.index.targets = make(map[string]Target, len(r.Groups)+len(r.Aliases)+len(r.ByID))
	for name, g := range r.Groups {
		r.index.targets[name] = Target{Name: name, choices: choices(name, g.Deployments)}
	}
	names := make([]string, 0, len(r.Aliases))
	for name := range r.Aliases {
		names = append(names, name)
	}
	sort.Strings(names)
	aliased := make(map[string]Target, len(names))
	for _, name := range names {
		t := r.Aliases[name]
		var found [][]Choice
		for _, group := range t.Groups {
			inner, ok := r.resolveGroup(group)
			if !ok {
				c.warn(name, "", "the alias names %q, which is no model", group)
				continue
			}
			found = append(found, inner.choices)
		}
		if len(found) > 0 {
			aliased[name] = Target{Name: name, Alias: true, choices: share(found)}
			if !t.Hidden && !slices.Contains(r.index.listed, name) {
				r.index.listed = append(r.index.listed, name)
			}
		}
	}
	for name, t := range aliased { // an alias hides a group of the same name
		r.index.targets[name] = t
	}
	for id, d := range r.ByID {
		if d.Wildcard { // without a model name there is nothing to call
			continue
		}
		r.index.targets[id] = Target{Name: id, choices: choices(d.Group, []*Deployment{d})}
	}
}

func appendTo(m map[string][]*Deployment, key string, d *Deployment) map[string][]*Deployment {
	if m == nil {
		m = map[string][]*Deployment{}
	}
	m[key] = append(m[key], d)
	return m
}

// usable reports whether a provider can be called by this release.
func (c *compiler) usable(name string) bool {
	_, ok := c.providers[name]
	return ok && !strings.Contains(name, "*")
}
