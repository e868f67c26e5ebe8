package file

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"strings"

	"tollgate/config/model"
)

const callbackSection = "callback_settings"

// Bounds of a callback's batches.
const (
	maxCallbackBatch    = 10_000
	maxCallbackInterval = 3600
	maxCallbackName     = 64
)

// ownCallback is an entry of callback_settings that runs here.
type ownCallback struct {
	model.Callback
	v                *value
	success, failure bool // what event_types asks for
}

// callbackSettings reads the entries that switch themselves on with a
// callback_type, and those under the name of one.
func (p *parser) callbackSettings(root *value) {
	v := root.get(callbackSection)
	if v == nil || v.kind == kindNull {
		return
	}
	if v.kind != kindMap {
		p.fault(v, callbackSection, "want a map of callbacks, found "+kindNames[v.kind], "write NAME: and its settings under it")
		return
	}
	for _, f := range v.fields {
		if f.v.kind != kindMap {
			continue
		}
		path := join(callbackSection, f.name)
		switch typ := callbackType(f); typ {
		case "":
		case model.CallbackWebhook, model.CallbackFile:
			if !goodCallbackName(f.name) {
				p.fault(f.key, path, "a callback cannot have the name "+quote(f.name), "use letters, digits, - and _, at most 64")
				continue
			}
			p.ownCallback(f, typ, newSection(&p.sink, f.v, path, Fault))
		default:
			p.warn(f.v, join(path, "callback_type"), "callback type "+quote(typ)+" is unknown; requests are not affected",
				"known: "+model.CallbackWebhook+", "+model.CallbackFile)
		}
	}
}

// callbackType is what an entry says it is; generic_api may go without saying.
func callbackType(f field) string {
	if t := f.v.get("callback_type"); t != nil && t.kind == kindText {
		return t.text
	}
	if f.name == model.CallbackWebhook {
		return f.name
	}
	return ""
}

func goodCallbackName(s string) bool {
	if s == "" || len(s) > maxCallbackName {
		return false
	}
	for _, c := range s {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

func (p *parser) ownCallback(f field, typ string, s *section) {
	cb := &ownCallback{v: f.v, Callback: model.Callback{Name: f.name, Type: typ, Content: true}}
	before := len(p.found)
	var kind string
	s.Text("callback_type", &kind)
	p.callbackEvents(s, cb)
	off := false
	s.Bool("message_logging", &cb.Content)
	s.Bool("turn_off_message_logging", &off)
	cb.Content = cb.Content && !off
	s.Bool("backfill", &cb.Backfill)
	s.Text("region", &cb.Region)
	cb.BatchSize = s.upTo("batch_size", maxCallbackBatch)
	s.Float("flush_interval", &cb.FlushInterval)
	if cb.FlushInterval > maxCallbackInterval {
		s.want(s.v.get("flush_interval"), "flush_interval", "seconds, at most an hour")
	}
	known := "callback_type event_types message_logging turn_off_message_logging backfill region batch_size flush_interval "
	if typ == model.CallbackFile {
		s.Text("path", &cb.Path)
		s.Bytes("rotate_bytes", &cb.RotateBytes)
		cb.Keep = s.upTo("keep", 1_000_000)
		s.Rest(words(known + "path rotate_bytes keep"))
	} else {
		s.Text("endpoint", &cb.Webhook)
		cb.Headers = s.textMap("headers")
		s.Choice("log_format", &cb.LogFormat, "json_array", "ndjson", "single")
		s.Bool("gzip", &cb.Gzip)
		s.Bool("allow_private", &cb.AllowPrivate)
		s.Rest(words(known + "endpoint headers log_format gzip allow_private"))
		for name, v := range cb.Headers {
			if v == "" { // its variable is not set, which has been told
				delete(cb.Headers, name)
			}
		}
		p.webhookFromEnv(&cb.Callback)
	}
	if p.own == nil {
		p.own = map[string]*ownCallback{}
	}
	p.own[f.name] = cb
	if hasFault(p.found[before:]) {
		return
	}
	switch {
	case typ == model.CallbackFile && cb.Path == "":
		p.leaveOut(cb, "needs a path", "for example path: calls.jsonl, in the data directory")
	case typ == model.CallbackFile && !filepath.IsAbs(cb.Path) && !filepath.IsLocal(cb.Path):
		s.bad(s.v.get("path"), "path", "the path leaves the data directory", "write a path inside it, or an absolute one")
	case typ == model.CallbackWebhook && cb.Webhook == "":
		p.leaveOut(cb, "needs an endpoint", "add endpoint: https://host/path")
	case typ == model.CallbackWebhook && !isHTTP(cb.Webhook):
		at := s.v.get("endpoint")
		if at == nil {
			at = s.v
		}
		s.bad(at, "endpoint", "the endpoint is no http or https address", "write https://host/path")
	}
}

// leaveOut warns of a callback that cannot run: what it lacks may be a variable
// of the environment, and no callback stops a start.
func (p *parser) leaveOut(cb *ownCallback, problem, hint string) {
	p.warn(cb.v, join(callbackSection, cb.Name), "callback "+cb.Name+" "+problem+"; it is left out", hint)
	cb.Type = ""
}

func hasFault(fs []Finding) bool {
	for _, f := range fs {
		if f.Level == Fault {
			return true
		}
	}
	return false
}

func isHTTP(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
}

// upTo reads a whole number from 1 to most, 0 when it is not given.
func (c *section) upTo(name string, most int) int {
	v := c.field(name)
	if v == nil {
		return 0
	}
	n, ok := v.integer()
	if !ok || n < 1 || n > int64(most) {
		c.want(v, name, "a whole number from 1 to "+itoa(most))
		return 0
	}
	return int(n)
}

func (p *parser) callbackEvents(s *section, cb *ownCallback) {
	const success, failure = "llm_api_success", "llm_api_failure"
	v := s.field("event_types")
	if v == nil {
		cb.success, cb.failure = true, true
		return
	}
	for _, name := range s.texts(v, "event_types") {
		switch name {
		case success:
			cb.success = true
		case failure:
			cb.failure = true
		default:
			s.bad(v, "event_types", "unknown event "+quote(name), "use "+success+", "+failure)
		}
	}
}

// webhookFromEnv fills what LiteLLM lets the environment say of the callback
// generic_api.
func (p *parser) webhookFromEnv(cb *model.Callback) {
	if cb.Name != model.CallbackWebhook {
		return
	}
	if cb.Webhook == "" {
		cb.Webhook, _ = p.env("GENERIC_LOGGER_ENDPOINT")
	}
	if s, _ := p.env("GENERIC_LOGGER_HEADERS"); s != "" && len(cb.Headers) == 0 {
		cb.Headers = map[string]string{}
		for _, pair := range strings.Split(s, ",") {
			name, v, ok := strings.Cut(pair, "=")
			if name = strings.TrimSpace(name); ok && name != "" {
				cb.Headers[name] = strings.TrimSpace(v)
			}
		}
	}
}

// joinCallbacks decides which callbacks run and what each hears of: what the
// lists say where they name it, all that its event_types ask for otherwise.
func (p *parser) joinCallbacks(root *value) {
	c := &p.out.Config.LiteLLM
	listed := func(name string) (success, failure bool) {
		return contains(c.SuccessCallbacks, name), contains(c.FailureCallbacks, name)
	}
	if s, f := listed(model.CallbackWebhook); (s || f) && p.own[model.CallbackWebhook] == nil {
		cb := &ownCallback{v: root, success: true, failure: true,
			Callback: model.Callback{Name: model.CallbackWebhook, Type: model.CallbackWebhook, Content: true}}
		p.webhookFromEnv(&cb.Callback)
		switch {
		case cb.Webhook == "":
			p.leaveOut(cb, "needs GENERIC_LOGGER_ENDPOINT or an endpoint", "add callback_settings."+cb.Name)
		case !isHTTP(cb.Webhook):
			p.leaveOut(cb, "has a GENERIC_LOGGER_ENDPOINT that is no http or https address", "write https://host/path")
		}
		if cb.Type != "" {
			p.runCallback(cb, s, f)
		}
	}
	v := root.get(callbackSection)
	if v == nil {
		return
	}
	for _, f := range v.fields {
		cb := p.own[f.name]
		if cb == nil || cb.Type == "" {
			continue
		}
		s, fail := listed(f.name)
		if !s && !fail {
			s, fail = true, true
		}
		p.runCallback(cb, s, fail)
	}
}

func (p *parser) runCallback(cb *ownCallback, success, failure bool) {
	c := p.out.Config
	cb.Success, cb.Failure = success && cb.success, failure && cb.failure
	if !cb.Success && !cb.Failure {
		p.leaveOut(cb, "hears of nothing: its event_types and the list that names it have nothing in common", "correct one of the two")
		return
	}
	cb.Content = cb.Content && !c.LiteLLM.TurnOffMessageLogging
	cb.HideCaller = string(c.LiteLLM.Raw["redact_user_api_key_info"]) == "true"
	if len(cb.Headers) == 0 {
		cb.Headers = nil
	}
	c.Callbacks = append(c.Callbacks, cb.Callback)
}

// otherCallbacks keeps of callback_settings only what nothing here reads: the
// rest stands in Callbacks, where its secrets are sealed.
func (p *parser) otherCallbacks(v *value) {
	rest := map[string]json.RawMessage{}
	for _, f := range v.fields {
		if p.own[f.name] == nil && f.v.kind != kindNull {
			rest[f.name] = f.v.json()
		}
	}
	if v.kind != kindMap {
		return
	}
	if len(rest) == 0 {
		delete(p.out.Config.Other, callbackSection)
		return
	}
	b, err := json.Marshal(rest)
	if err != nil { // cannot happen: each is JSON
		return
	}
	p.out.Config.Other[callbackSection] = b
}
