package cli

import (
	"fmt"
	"slices"
	"strings"
)

// picture draws what would become of a call.
func picture(m map[string]any) string {
	d := newDrawing(m)
	d.line(d.caller(), " calls ", cell(m["model"]), " on ", cell(m["route"]), ".")
	d.line("")
	d.checks()
	d.limits()
	d.deployments()
	d.further()
	d.line("")
	d.line(d.short(cell(m["summary"])))
	return d.String()
}

func (d *drawing) caller() string {
	w, _ := d.m["caller"].(map[string]any)
	switch {
	case w["master"] == true:
		return "The master key"
	case w["key_hash"] == nil:
		return "Nobody in particular"
	}
	text := "Key " + d.short(first(w["key_alias"], w["key_name"], w["key_hash"]))
	if team := first(w["team_alias"], w["team_id"]); team != "-" {
		text += " (team " + team + ")"
	}
	return text
}

// isLimit tells checks that have figures from those that have words only.
func isLimit(k map[string]any) bool { return k["unit"] != nil }

func mark(k map[string]any) string {
	if k["ok"] != true {
		return "REFUSED"
	}
	return "ok"
}

func (d *drawing) checks() {
	var rows [][]string
	var skipped []string
	for _, k := range objectsOf(d.m["checks"]) {
		switch {
		case isLimit(k):
		case k["skipped"] == true:
			skipped = append(skipped, cell(k["name"]))
		default:
			rows = append(rows, []string{mark(k), cell(k["name"]), d.short(cell(k["what"]))})
		}
	}
	if len(skipped) > 0 {
		rows = append(rows, []string{"-", "nothing to ask", strings.Join(skipped, ", ")})
	}
	d.columns(rows)
}

func (d *drawing) limits() {
	var rows [][]string
	uncertain := false
	for _, k := range objectsOf(d.m["checks"]) {
		if !isLimit(k) {
			continue
		}
		used := cell(k["used"])
		if k["uncertain"] == true {
			used, uncertain = used+"+", true
		}
		held := cell(k["reserved"])
		if held == "0" {
			held = "-"
		}
		rows = append(rows, []string{mark(k), cell(k["scope"]), d.short(cell(k["id"])), cell(k["unit"]), used, cell(k["limit"]), held, d.until(k["resets_at"])})
	}
	if len(rows) == 0 {
		return
	}
	d.line("")
	d.line("Budgets and limits:")
	d.table([]string{"", "LEVEL", "ID", "UNIT", "USED", "OF", "HELD", "RESETS"}, rows)
	if uncertain {
		d.line("  +: not all nodes have answered, more may be used")
	}
}

// deployments are those of the group asked for, then those of its fallbacks.
func (d *drawing) deployments() {
	var own, others [][]string
	for _, k := range objectsOf(d.m["candidates"]) {
		verdict := cell(k["verdict"])
		switch why := cell(k["reason"]); {
		case why == "-":
		case strings.HasPrefix(why, verdict):
			verdict = why
		default:
			verdict += ": " + why
		}
		chance := percent(k["probability"])
		if k["verdict"] != "ok" {
			chance = "-"
		}
		row := []string{d.short(cell(k["model_id"])), cell(k["model"]), cell(k["region"]), chance, number(k["in_flight"]), verdict}
		if k["fallback"] == true {
			others = append(others, slices.Insert(row, 0, cell(k["model_group"])))
		} else {
			own = append(own, row)
		}
	}
	head := []string{"ID", "MODEL", "REGION", "CHANCE", "IN FLIGHT", "VERDICT"}
	if len(own) > 0 {
		d.line("")
		d.line("Deployments, by ", cell(d.m["strategy"]), ":")
		d.table(head, own)
	}
	if len(others) > 0 {
		d.line("")
		d.line("Fallbacks, for when those fail:")
		d.table(slices.Insert(head, 0, "GROUP"), others)
	}
}

// further tells of what comes after the first attempt, of the cost, and what else
// is to be known.
func (d *drawing) further() {
	var rows [][]string
	f, _ := d.m["fallbacks"].(map[string]any)
	for _, kind := range []string{"general", "context_window", "content_policy"} {
		var names []string
		for _, x := range objectsOf(f[kind]) {
			name := cell(x["model"])
			if x["ok"] != true {
				name += " (never: " + cell(x["why"]) + ")"
			}
			names = append(names, name)
		}
		if len(names) > 0 {
			rows = append(rows, []string{strings.ReplaceAll(kind, "_", " ") + " fallbacks", strings.Join(names, ", ")})
		}
	}
	if r, ok := d.m["retries"].(map[string]any); ok {
		rows = append(rows, []string{"retries", number(r["num_retries"])})
	}
	if x, ok := d.m["max_cost"].(map[string]any); ok {
		what := fmt.Sprintf("$%s for up to %s tokens in and %s out", number(x["usd"]), number(x["input_tokens"]), number(x["output_tokens"]))
		if x["priced"] != true {
			what = "unknown: a deployment has no price"
		}
		rows = append(rows, []string{"costs at most", what})
	}
	if len(rows) > 0 {
		d.line("")
		d.columns(rows)
	}
	d.notes()
}
