package cli

import (
	"fmt"
	"strings"
)

// traced draws what became of a call.
func traced(m map[string]any) string {
	d := newDrawing(m)
	who, _ := m["caller"].(map[string]any)
	rows := [][]string{{"call", cell(m["request_id"])}}
	if id := m["call_id"]; id != nil && id != m["request_id"] {
		rows = append(rows, []string{"its own id", cell(id)})
	}
	rows = append(rows, []string{"when", toSecond(m["start"]) + ", took " + millis(m["duration_ms"])})
	add := func(name, text string) {
		if text != "-" {
			rows = append(rows, []string{name, text})
		}
	}
	add("key", named(d, who["key_alias"], who["key_hash"]))
	add("user", cell(who["user_id"]))
	add("team", named(d, who["team_alias"], who["team_id"]))
	add("organization", cell(who["organization_id"]))
	add("end user", cell(who["end_user"]))
	add("tags", cell(who["tags"]))
	add("model", cell(m["model"]))
	add("node", cell(m["node"]))
	add("region", cell(m["region"]))
	add("data regions", cell(m["data_regions"]))
	add("books", cell(m["books"]))
	d.columns(rows)
	d.attempts()
	d.refusal()
	d.cost()
	d.notes()
	d.line("")
	d.line(d.short(cell(m["summary"])))
	return d.String()
}

// named is an object by its alias, with its id behind it.
func named(d *drawing, alias, id any) string {
	short := d.short(cell(id))
	if cell(alias) == "-" || cell(alias) == short {
		return short
	}
	return cell(alias) + " (" + brief(cell(id)) + ")"
}

func (d *drawing) attempts() {
	list := objectsOf(d.m["attempts"])
	if len(list) == 0 {
		return
	}
	var rows [][]string
	for _, a := range list {
		outcome := "answered"
		if a["error"] != nil {
			outcome = cell(a["error"])
			if a["status"] != nil {
				outcome += " " + cell(a["status"])
			}
		}
		why := cell(a["reason"])
		if why == "-" {
			why = "first choice"
		}
		rows = append(rows, []string{cell(a["model_group"]), d.short(cell(a["model_id"])), cell(a["model"]), cell(a["region"]), why,
			millis(a["after_ms"]), millis(a["wait_ms"]), millis(a["took_ms"]), outcome})
	}
	d.line("")
	d.table([]string{"GROUP", "ID", "MODEL", "REGION", "WHY", "BEGAN AFTER", "WAITED", "TOOK", "OUTCOME"}, rows)
}

// refusal draws what the closing sentence does not say: the limit or budget, as it
// stood then.
func (d *drawing) refusal() {
	no, ok := d.m["refusal"].(map[string]any)
	if !ok {
		return
	}
	rows := [][]string{{"refused with", strings.TrimSuffix(cell(no["code"])+" "+cell(no["class"]), " -")}}
	if no["scope"] != nil {
		rows = append(rows, []string{"by", fmt.Sprintf("%s of %s %s", cell(no["unit"]), cell(no["scope"]), d.short(cell(no["id"])))})
		what := number(no["used"]) + " of " + number(no["limit"]) + " used"
		if held := number(no["reserved"]); held != "0" {
			what += ", " + held + " held by other calls"
		}
		if needed := number(no["needed"]); needed != "0" {
			what += ", " + needed + " needed"
		}
		rows = append(rows, []string{"stood at", what})
		if no["resets_at"] != nil {
			rows = append(rows, []string{"free again at", toSecond(no["resets_at"])})
		}
	}
	d.line("")
	d.columns(rows)
}

// cost draws what the call cost and where that counts; a call that asked nobody
// has cost nothing.
func (d *drawing) cost() {
	cost, _ := d.m["cost"].(map[string]any)
	usage, _ := d.m["usage"].(map[string]any)
	if d.m["attempts"] != nil && len(objectsOf(d.m["attempts"])) == 0 && number(cost["usd"]) == "0" {
		return
	}
	var parts []string
	for _, part := range []string{"input", "output", "cache_read", "cache_write", "reasoning", "tools"} {
		if v := number(cost[part]); v != "0" {
			parts = append(parts, strings.ReplaceAll(part, "_", " ")+" $"+v)
		}
	}
	what := "$" + number(cost["usd"])
	if len(parts) > 0 {
		what += " (" + strings.Join(parts, ", ") + ")"
	}
	if cost["price_version"] != nil {
		what += " by prices of " + cell(cost["price_version"])
	}
	rows := [][]string{{"cost", what}, {"tokens", number(usage["prompt_tokens"]) + " in, " + number(usage["completion_tokens"]) + " out"}}
	for _, k := range objectsOf(d.m["charges"]) {
		text := cell(k["scope"]) + " " + d.short(cell(k["id"]))
		if k["window_start"] != nil {
			text += ", since " + toSecond(k["window_start"])
		}
		rows = append(rows, []string{"in the budget of", text})
	}
	d.line("")
	d.columns(rows)
}
