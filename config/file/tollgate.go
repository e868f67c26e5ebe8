package file

import (
	"encoding/json"

	"tollgate/config/model"
)

// tollgate reads our own settings. Their names are dotted; the file may nest
// them (ledger: {sync: always}) or write the dots (ledger.sync: always).
func (p *parser) tollgate(s *section) {
	c := &p.out.Config.Tollgate
	flat := &value{kind: kindMap, file: s.v.file, line: s.v.line, col: s.v.col}
	p.flatten(flat, s.v, "")
	s = newSection(s.s, flat, s.path, s.level)
	s.Choice("ledger.sync", &c.LedgerSync, "process", "always", "none")
	s.Choice("ledger.replicate", &c.LedgerReplicate, "async", "sync", "off")
	s.Duration("ledger.keep", &c.LedgerKeep)
	s.Duration("ledger.keep_rollups", &c.LedgerKeepRollups)
	s.Duration("spend_logs.keep_bodies", &c.KeepBodies)
	s.Choice("compat.errors", &c.CompatErrors, "new", "old")
	s.Choice("unpriced", &c.Unpriced, "flag", "reject")
	s.Choice("budget.mode", &c.BudgetMode, "strict", "soft")
	s.Float("budget.wait_max", &c.BudgetWaitMax)
	s.Choice("budget.unbounded", &c.Unbounded, "clamp", "reserve_max", "reject")
	s.Choice("limits.tpm_count", &c.TPMCount, "reserve", "actual")
	s.Choice("spend_logs.user_column", &c.UserColumn, "auto", "key_owner", "request_user")
	s.Bool("mock_without_key", &c.MockWithoutKey)
	s.Text("raft.prefer_region", &c.PreferRegion)
	s.Choice("raft.voters", &c.Voters, "auto", "1", "3", "5")
	s.Choice("raft.profile", &c.RaftProfile, "auto", "lan", "wan", "far")
	s.Float("raft.auto_upgrade_after", &c.AutoUpgradeAfter)
	s.Float("stale_after", &c.StaleAfter)
	s.Choice("limits.partition", &c.LimitsPartition, "scale", "strict")
	s.Bool("drain_upstream", &c.DrainUpstream)
	s.Bytes("max_request_bytes", &c.MaxRequestBytes)
	s.Bytes("max_response_bytes", &c.MaxResponseBytes)
	s.Bytes("idempotency.max_answer_bytes", &c.IdempotencyMaxBytes)
	p.tollgateCache(s)
	if v := s.field("prices.file"); v != nil {
		p.priceFile(s, v)
	}
	if v := s.field("providers"); v != nil {
		c.Providers = p.providerRows(s, v)
	}
	c.Raw = s.Rest(knownTollgate)
}

// flatten turns nested maps into dotted names, down to the names we know.
func (p *parser) flatten(into, v *value, prefix string) {
	for _, f := range v.fields {
		name := prefix + f.name
		if name == "budget_mode" {
			name = "budget.mode"
		}
		if f.v.kind == kindMap && !contains(knownTollgate, name) {
			p.flatten(into, f.v, name+".")
			continue
		}
		if into.get(name) != nil {
			p.fault(f.key, join("tollgate_settings", name), "this setting is given twice", "remove one of the two")
			continue
		}
		into.fields = append(into.fields, field{name: name, key: f.key, v: f.v})
	}
}

// priceFile reads the overlay here, so that it travels with the configuration
// and every node prices alike.
func (p *parser) priceFile(s *section, v *value) {
	const name = "prices.file"
	if v.kind != kindText {
		s.want(v, name, "the path of a price map")
		return
	}
	if p.read == nil {
		s.bad(v, name, "files cannot be read here", "leave the setting out")
		return
	}
	data, err := p.read(v.text)
	if err != nil {
		s.bad(v, name, "price file cannot be read: "+err.Error(), "paths are relative to the configuration's folder")
		return
	}
	var overlay model.Params
	if err := json.Unmarshal(data, &overlay); err != nil || overlay == nil {
		problem := "price file " + quote(v.text) + " is not a JSON object of models"
		if err != nil {
			problem += ": " + err.Error()
		}
		s.bad(v, name, problem, "use LiteLLM's price map format")
		return
	}
	c := &p.out.Config.Tollgate
	c.PriceFile, c.PriceOverlay = v.text, overlay
}

func (p *parser) providerRows(s *section, v *value) []model.OpenAIRow {
	const name = "providers"
	if v.kind != kindList {
		s.want(v, name, "a list of providers")
		return nil
	}
	var out []model.OpenAIRow
	seen := map[string]bool{}
	for i, item := range v.items {
		path := at(join(s.path, name), i)
		if item.kind != kindMap {
			p.fault(item, path, "want a map with name and base_url", "")
			continue
		}
		in := newSection(s.s, item, path, s.level)
		var row model.OpenAIRow
		in.Text("name", &row.Name)
		in.Text("base_url", &row.BaseURL)
		in.Texts("api_key_env", &row.KeyEnv)
		in.Texts("api_base_env", &row.BaseEnv)
		row.ParamMappings = in.textMap("param_mappings")
		row.Headers = in.textMap("headers")
		in.Bool("convert_content_list_to_string", &row.FlattenLists)
		in.Texts("drop_params", &row.DropParams)
		in.Rest(words("name base_url api_key_env api_base_env param_mappings headers convert_content_list_to_string drop_params base_class special_handling"))
		switch {
		case row.Name == "":
			p.fault(item, path, "a provider needs a name", "the name is the prefix in model: name/model")
		case seen[row.Name]:
			p.fault(item, path, "provider "+quote(row.Name)+" is given twice", "remove one of the two")
		case row.BaseURL == "" && len(row.BaseEnv) == 0:
			p.fault(item, path, "provider "+quote(row.Name)+" needs a base_url", "for example https://host/v1")
		default:
			seen[row.Name] = true
			out = append(out, row)
		}
	}
	return out
}

// textMap reads a map of names to text.
func (c *section) textMap(name string) map[string]string {
	v := c.field(name)
	if v == nil {
		return nil
	}
	if v.kind != kindMap {
		c.want(v, name, "a map of names and text")
		return nil
	}
	out := make(map[string]string, len(v.fields))
	for _, f := range v.fields {
		var s string
		c.text(f.v, join(name, f.name), &s)
		out[f.name] = s
	}
	return out
}
