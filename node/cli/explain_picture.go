package cli

import (
	"encoding/json"
	"fmt"
	"strings"
	"text/tabwriter"
)

// line writes one line. Writing to memory does not fail.
func line(b *strings.Builder, parts ...string) {
	b.WriteString(strings.Join(parts, ""))
	b.WriteByte('\n')
}

// columns aligns rows of cells under a head.
func columns(b *strings.Builder, rows [][]string) {
	w := tabwriter.NewWriter(b, 0, 4, 2, ' ', 0)
	for _, r := range rows {
		fmt.Fprintln(w, "  "+strings.Join(r, "\t"))
	}
	_ = w.Flush() // memory
}

// objectsOf are the objects of a list.
func objectsOf(v any) []map[string]any {
	list, _ := v.([]any)
	var out []map[string]any
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// picture draws what would become of a call.
func picture(b *strings.Builder, m map[string]any) {
	line(b, "Checks, in the order in which they are made:")
	var rows [][]string
	for _, k := range objectsOf(m["checks"]) {
		mark := "ok"
		if k["ok"] != true {
			mark = "REFUSED"
		}
		what := cell(k["what"])
		if at := k["resets_at"]; at != nil {
			what += ", free again at " + cell(at)
		}
		if k["uncertain"] == true {
			what += " (not all nodes have answered)"
		}
		rows = append(rows, []string{mark, cell(k["name"]), what})
	}
	columns(b, rows)
	if list := objectsOf(m["candidates"]); len(list) > 0 {
		line(b, "")
		line(b, "Deployments, chosen by ", cell(m["strategy"]), ":")
		rows = [][]string{{"GROUP", "ID", "MODEL", "REGION", "CHANCE", "IN FLIGHT", "VERDICT"}}
		for _, k := range list {
			verdict := cell(k["verdict"])
			if why := k["reason"]; why != nil {
				verdict += ": " + cell(why)
			}
			rows = append(rows, []string{cell(k["model_group"]), brief(k["model_id"]), cell(k["model"]), cell(k["region"]), percent(k["probability"]), number(k["in_flight"]), verdict})
		}
		columns(b, rows)
	}
	further(b, m)
	line(b, "")
	line(b, cell(m["summary"]))
}

// further tells of what would come after the first attempt, and of its cost.
func further(b *strings.Builder, m map[string]any) {
	var rows [][]string
	if f, ok := m["fallbacks"].(map[string]any); ok {
		for _, kind := range []string{"general", "context_window", "content_policy"} {
			for _, x := range objectsOf(f[kind]) {
				what := cell(x["model"])
				if x["ok"] != true {
					what += " (never: " + cell(x["why"]) + ")"
				}
				rows = append(rows, []string{kind + " fallback", what})
			}
		}
	}
	if r, ok := m["retries"].(map[string]any); ok {
		rows = append(rows, []string{"retries", number(r["num_retries"])})
	}
	if x, ok := m["max_cost"].(map[string]any); ok {
		what := fmt.Sprintf("$%s for up to %s tokens in and %s out", number(x["usd"]), number(x["input_tokens"]), number(x["output_tokens"]))
		if x["priced"] != true {
			what = "unknown: a deployment has no price"
		}
		rows = append(rows, []string{"at most it costs", what})
	}
	if len(rows) > 0 {
		line(b, "")
		columns(b, rows)
	}
	if notes, ok := m["notes"].([]any); ok {
		line(b, "")
		for _, n := range notes {
			line(b, "Note: ", cell(n), ".")
		}
	}
}

// traced draws what became of a call.
func traced(b *strings.Builder, m map[string]any) {
	who, _ := m["caller"].(map[string]any)
	rows := [][]string{{"call", cell(m["request_id"])}}
	if id := m["call_id"]; id != nil && id != m["request_id"] {
		rows = append(rows, []string{"its own id", cell(id)})
	}
	rows = append(rows, []string{"when", cell(m["start"]) + ", " + number(m["duration_ms"]) + " ms"})
	add := func(name string, v any) {
		if text := cell(v); text != "-" {
			rows = append(rows, []string{name, text})
		}
	}
	add("key", who["key_alias"])
	add("key hash", who["key_hash"])
	add("user", who["user_id"])
	add("team", who["team_id"])
	add("organization", who["organization_id"])
	add("end user", who["end_user"])
	add("tags", who["tags"])
	add("model", m["model"])
	add("node", m["node"])
	add("region", m["region"])
	add("data regions", m["data_regions"])
	add("books", m["books"])
	columns(b, rows)
	tried(b, m)
	if no, ok := m["refusal"].(map[string]any); ok {
		line(b, "")
		line(b, "Refusal ", cell(no["code"]), " ", cell(no["class"]))
		if no["scope"] != nil {
			what := fmt.Sprintf("  %s of %s %s: %s of %s used", cell(no["unit"]), cell(no["scope"]), cell(no["id"]), number(no["used"]), number(no["limit"]))
			if at := no["resets_at"]; at != nil {
				what += ", free again at " + cell(at)
			}
			line(b, what)
		}
	}
	line(b, "")
	line(b, cell(m["summary"]))
}

// tried lists the attempts, what they cost and where that counts.
func tried(b *strings.Builder, m map[string]any) {
	if list := objectsOf(m["attempts"]); len(list) > 0 {
		line(b, "")
		rows := [][]string{{"GROUP", "ID", "MODEL", "REGION", "WHY", "AFTER", "WAITED", "TOOK", "OUTCOME"}}
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
			rows = append(rows, []string{cell(a["model_group"]), brief(a["model_id"]), cell(a["model"]), cell(a["region"]), why, millis(a["after_ms"]), millis(a["wait_ms"]), millis(a["took_ms"]), outcome})
		}
		columns(b, rows)
	}
	cost, _ := m["cost"].(map[string]any)
	usage, _ := m["usage"].(map[string]any)
	line(b, "")
	rows := [][]string{{"cost", "$" + number(cost["usd"])}}
	for _, part := range []string{"input", "output", "cache_read", "cache_write", "reasoning", "tools"} {
		if v := number(cost[part]); v != "0" && v != "-" {
			rows = append(rows, []string{"  " + part, "$" + v})
		}
	}
	if cost["price_version"] != nil {
		rows = append(rows, []string{"prices", cell(cost["price_version"])})
	}
	rows = append(rows, []string{"tokens", number(usage["prompt_tokens"]) + " in, " + number(usage["completion_tokens"]) + " out"})
	for _, k := range objectsOf(m["charges"]) {
		what := cell(k["scope"]) + " " + cell(k["id"])
		if at := k["window_start"]; at != nil {
			what += " since " + cell(at)
		}
		rows = append(rows, []string{"counts in the budget of", what})
	}
	columns(b, rows)
}

// number shows an amount; one that was left out is nought.
func number(v any) string {
	if v == nil {
		return "0"
	}
	return cell(v)
}

// brief is an id by its beginning: the whole one is a hash as wide as the rest of
// the row, and stands in the JSON.
func brief(v any) string {
	id := cell(v)
	if len(id) <= 16 {
		return id
	}
	return id[:12] + "…"
}

func millis(v any) string {
	if v == nil {
		return "-"
	}
	return cell(v) + " ms"
}

func percent(v any) string {
	n, ok := v.(json.Number)
	if !ok {
		return "-"
	}
	f, err := n.Float64()
	if err != nil {
		return "-"
	}
	return fmt.Sprintf("%.0f %%", 100*f)
}
