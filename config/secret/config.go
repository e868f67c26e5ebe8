package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tollgate/config/model"
)

// Entities that sealed values of a config are bound to. Deployments carry their
// own id, so that a value may not move from one to another.
const (
	environment = "config/environment_variables"
	general     = "config/general_settings"
	litellm     = "config/litellm_settings"
	router      = "config/router_settings"
	tollgate    = "config/tollgate_settings"
	other       = "config/"
	cacheEntity = "config/cache"
)

// DeploymentEntity is what the secrets of a deployment are bound to.
func DeploymentEntity(id string) string { return "deployment/" + id }

// CredentialEntity is what the secrets of a named credential are bound to.
func CredentialEntity(name string) string { return "credential/" + name }

// callbackEntity is what the secrets of a callback are bound to.
func callbackEntity(name string) string { return "callback/" + name }

// rowEntity is what the secrets of a declared provider are bound to.
func rowEntity(name string) string { return "provider/" + name }

// SealConfig seals in place, before a config is proposed: all environment
// variables, the database URL, and in every map of raw values each value whose
// name isSecret knows, at any depth. What is sealed already is left alone.
func (b *Box) SealConfig(cfg *model.Config, isSecret func(name string) bool) error {
	s := sealer{b, isSecret}
	for i := range cfg.Deployments {
		if err := b.SealDeployment(&cfg.Deployments[i], isSecret); err != nil {
			return err
		}
	}
	for name, v := range cfg.Environment {
		sealed, err := s.text(environment, name, v)
		if err != nil {
			return err
		}
		cfg.Environment[name] = sealed
	}
	for name, p := range cfg.Credentials {
		// A credential is nothing but secrets, whatever its fields are called.
		if err := (sealer{b, func(string) bool { return true }}).params(CredentialEntity(name), p); err != nil {
			return err
		}
	}
	sealed, err := s.text(general, "database_url", cfg.General.DatabaseURL)
	if err != nil {
		return err
	}
	cfg.General.DatabaseURL = sealed
	for _, section := range rawSections(cfg) {
		if err := s.params(section.entity, section.params); err != nil {
			return err
		}
	}
	for _, row := range cfg.Tollgate.Providers {
		for name, v := range row.Headers {
			if !isSecret(name) {
				continue
			}
			if row.Headers[name], err = s.text(rowEntity(row.Name), name, v); err != nil {
				return err
			}
		}
	}
	for i := range cfg.Callbacks {
		// An address of a webhook is often its own password, and so is any header.
		cb := &cfg.Callbacks[i]
		if cb.Webhook, err = s.text(callbackEntity(cb.Name), "webhook", cb.Webhook); err != nil {
			return err
		}
		for name, v := range cb.Headers {
			if cb.Headers[name], err = s.text(callbackEntity(cb.Name), name, v); err != nil {
				return err
			}
		}
	}
	if cfg.Cache != nil && cfg.Cache.Redis != nil {
		for name, field := range redisSecrets(cfg.Cache.Redis) {
			if *field, err = s.text(cacheEntity, name, *field); err != nil {
				return err
			}
		}
	}
	for name, raw := range cfg.Other {
		v, err := s.value(other+name, name, raw)
		if err != nil {
			return err
		}
		cfg.Other[name] = v
	}
	return nil
}

// OpenConfig is a copy of cfg with every sealed value opened. What does not
// open is left out and named in the errors: one bad credential must not take
// the other models down.
func (b *Box) OpenConfig(cfg *model.Config) (*model.Config, []error) {
	c := *cfg
	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	c.Deployments = slices.Clone(cfg.Deployments)
	for i := range c.Deployments {
		d, err := b.OpenDeployment(&c.Deployments[i])
		note(err)
		c.Deployments[i] = *d
	}
	if cfg.Environment != nil {
		c.Environment = make(map[string]string, len(cfg.Environment))
		for name, v := range cfg.Environment {
			plain, err := b.Open(environment, name, v)
			if note(err); err == nil {
				c.Environment[name] = plain
			}
		}
	}
	if cfg.Credentials != nil {
		c.Credentials = make(map[string]model.Params, len(cfg.Credentials))
		for name, p := range cfg.Credentials {
			plain, err := b.OpenParams(CredentialEntity(name), p)
			note(err)
			c.Credentials[name] = plain
		}
	}
	url, err := b.Open(general, "database_url", cfg.General.DatabaseURL)
	note(err)
	c.General.DatabaseURL = url
	for _, s := range []struct {
		entity string
		params *model.Params
	}{{general, &c.General.Raw}, {litellm, &c.LiteLLM.Raw}, {router, &c.Router.Raw}, {router, &c.Router.DefaultParams}, {tollgate, &c.Tollgate.Raw}} {
		plain, err := b.OpenParams(s.entity, *s.params)
		note(err)
		*s.params = plain
	}
	c.Tollgate.Providers = slices.Clone(cfg.Tollgate.Providers)
	for i := range c.Tollgate.Providers {
		row := &c.Tollgate.Providers[i]
		row.Headers = maps.Clone(row.Headers)
		for name, v := range row.Headers {
			plain, err := b.Open(rowEntity(row.Name), name, v)
			if note(err); err != nil {
				delete(row.Headers, name)
				continue
			}
			row.Headers[name] = plain
		}
	}
	c.Callbacks = make([]model.Callback, 0, len(cfg.Callbacks))
	for i := range cfg.Callbacks {
		cb, err := b.openCallback(cfg.Callbacks[i])
		if note(err); err == nil {
			c.Callbacks = append(c.Callbacks, cb)
		}
	}
	if len(c.Callbacks) == 0 {
		c.Callbacks = nil
	}
	if c.Cache = cfg.Cache.Clone(); c.Cache != nil && c.Cache.Redis != nil {
		for name, field := range redisSecrets(c.Cache.Redis) {
			plain, err := b.Open(cacheEntity, name, *field)
			note(err)
			*field = plain
		}
	}
	if cfg.Other != nil {
		c.Other = make(map[string]json.RawMessage, len(cfg.Other))
		for name, raw := range cfg.Other {
			plain, err := b.openValue(other+name, name, raw)
			if note(err); err == nil {
				c.Other[name] = plain
			}
		}
	}
	return &c, errs
}

// redisSecrets are the fields of a Redis's place that nobody may read.
func redisSecrets(r *model.RedisPlace) map[string]*string {
	return map[string]*string{"redis_url": &r.URL, "password": &r.Password, "sentinel_password": &r.SentinelPassword}
}

// openCallback is a copy with the sealed values opened: without one of them it
// could only send to the wrong place or be refused there.
func (b *Box) openCallback(cb model.Callback) (model.Callback, error) {
	var err error
	if cb.Webhook, err = b.Open(callbackEntity(cb.Name), "webhook", cb.Webhook); err != nil {
		return cb, fmt.Errorf("callback %s: %w", cb.Name, err)
	}
	cb.Headers = maps.Clone(cb.Headers)
	for name, v := range cb.Headers {
		if cb.Headers[name], err = b.Open(callbackEntity(cb.Name), name, v); err != nil {
			return cb, fmt.Errorf("callback %s: %w", cb.Name, err)
		}
	}
	return cb, nil
}

// SealDeployment seals in place the secrets of one deployment.
func (b *Box) SealDeployment(d *model.Deployment, isSecret func(name string) bool) error {
	s := sealer{b, isSecret}
	if err := s.params(DeploymentEntity(d.ID), d.Params); err != nil {
		return err
	}
	return s.params(DeploymentEntity(d.ID), d.Info)
}

// OpenDeployment is a copy with the sealed values opened; what does not open is
// left out and the error names it.
func (b *Box) OpenDeployment(d *model.Deployment) (*model.Deployment, error) {
	c := *d
	var err, errInfo error
	c.Params, err = b.OpenParams(DeploymentEntity(d.ID), d.Params)
	c.Info, errInfo = b.OpenParams(DeploymentEntity(d.ID), d.Info)
	if err == nil {
		err = errInfo
	}
	return &c, err
}

// OpenParams is a copy of p with the sealed values opened. Fields that do not
// open are left out; the first of them is named in the error.
func (b *Box) OpenParams(entity string, p model.Params) (model.Params, error) {
	if p == nil {
		return nil, nil
	}
	var first error
	plain := make(model.Params, len(p))
	for name, raw := range p {
		v, err := b.openValue(entity, name, raw)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		plain[name] = v
	}
	return plain, first
}

// rawSections are the maps of settings that this release does not read itself.
func rawSections(cfg *model.Config) []struct {
	entity string
	params model.Params
} {
	return []struct {
		entity string
		params model.Params
	}{
		{general, cfg.General.Raw},
		{litellm, cfg.LiteLLM.Raw},
		{router, cfg.Router.Raw},
		{router, cfg.Router.DefaultParams},
		{tollgate, cfg.Tollgate.Raw},
	}
}

type sealer struct {
	box      *Box
	isSecret func(name string) bool
}

func (s sealer) text(entity, field, v string) (string, error) {
	if v == "" || IsSealed(v) {
		return v, nil
	}
	return s.box.Seal(entity, field, v)
}

func (s sealer) params(entity string, p model.Params) error {
	for name, raw := range p {
		v, err := s.member(entity, name, name, raw)
		if err != nil {
			return err
		}
		p[name] = v
	}
	return nil
}

// member handles one named value. Under a secret name the whole JSON value is
// sealed, quotes included, so that objects such as vertex_credentials travel
// the same way as strings.
func (s sealer) member(entity, path, name string, raw json.RawMessage) (json.RawMessage, error) {
	if !s.isSecret(name) || !worthSealing(raw) {
		return s.value(entity, path, raw)
	}
	if t, ok := stringOf(raw); ok && IsSealed(t) {
		return raw, nil
	}
	sealed, err := s.box.Seal(entity, path, string(raw))
	if err != nil {
		return nil, err
	}
	return json.RawMessage(`"` + sealed + `"`), nil
}

// value walks into objects and lists; all other values stay byte for byte.
func (s sealer) value(entity, path string, raw json.RawMessage) (json.RawMessage, error) {
	return walk(path, raw, func(path, name string, raw json.RawMessage) (json.RawMessage, error) {
		if name == "" {
			return s.value(entity, path, raw)
		}
		return s.member(entity, path, name, raw)
	})
}

func (b *Box) openValue(entity, path string, raw json.RawMessage) (json.RawMessage, error) {
	if t, ok := stringOf(raw); ok {
		if !IsSealed(t) {
			return raw, nil
		}
		plain, err := b.Open(entity, path, t)
		return json.RawMessage(plain), err
	}
	return walk(path, raw, func(path, _ string, raw json.RawMessage) (json.RawMessage, error) {
		return b.openValue(entity, path, raw)
	})
}

// maxDepth bounds how deep a value is searched; what nests deeper is refused
// rather than left unsealed.
const maxDepth = 64

// walk rewrites the members of an object and the items of a list, if raw is
// one. Items have no name. Order and bytes of what does not change are kept:
// requests to providers are made of them.
func walk(path string, raw json.RawMessage, each func(path, name string, raw json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error) {
	text := bytes.TrimLeft(raw, " \t\r\n")
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return raw, nil
	}
	if strings.Count(path, ".") > maxDepth {
		return nil, fmt.Errorf("read %s: nested more than %d deep", path[:min(len(path), 64)], maxDepth)
	}
	object := text[0] == '{'
	dec := jsontext.NewDecoder(bytes.NewBuffer(text), lenient)
	if _, err := dec.ReadToken(); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	out := []byte{text[0]}
	changed := false
	for i := 0; ; i++ {
		if k := dec.PeekKind(); k == '}' || k == ']' {
			break
		}
		name, sub := "", path+"."+strconv.Itoa(i)
		if i > 0 {
			out = append(out, ',')
		}
		if object {
			tok, err := dec.ReadToken()
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", path, err)
			}
			name = tok.String()
			sub = path + "." + name
			if out, err = jsontext.AppendQuote(out, name); err != nil {
				return nil, fmt.Errorf("read %s: %w", path, err)
			}
			out = append(out, ':')
		}
		v, err := dec.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		v = bytes.Clone(v)
		next, err := each(sub, name, json.RawMessage(v))
		if err != nil {
			return nil, err
		}
		changed = changed || !bytes.Equal(next, v)
		out = append(out, next...)
	}
	if !changed {
		return raw, nil
	}
	return append(out, text[0]+2), nil // in ASCII the closing bracket stands two after the opening one
}

// lenient reads what the file and the API accepted; it is not judged again here.
var lenient = jsonv2.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// worthSealing leaves null, "" and booleans readable: a flag whose name holds
// the word key is no secret, and readers want to see what is unset.
func worthSealing(raw json.RawMessage) bool {
	switch string(raw) {
	case "", "null", `""`, "true", "false", "{}", "[]":
		return false
	}
	return true
}

func stringOf(raw json.RawMessage) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	var s string
	if err := jsonv2.Unmarshal(raw, &s, lenient); err != nil {
		return "", false
	}
	return s, true
}
