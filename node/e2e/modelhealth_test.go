package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tollgate/ledger/flush/pgtest"
	"tollgate/node/e2e/fake"
)

func TestModelsAreCheckedOnceARegionAndAllNodesTellTheResult(t *testing.T) {
	t.Parallel()
	f := fake.Start(t)
	url := pgtest.Start(t).NewDatabase(t)
	config := strings.Replace(configFor(f, "  background_health_checks: true\n  health_check_interval: 3\n"), "model_list:\n",
		"model_list:\n"+
			"  - {model_name: gone, litellm_params: {model: openai/gpt-4o, api_base: \"http://"+freePort(t)+"/v1\", api_key: sk-x}}\n"+
			"  - {model_name: \"any/*\", litellm_params: {model: \"openai/*\", api_base: \""+f.OpenAI()+"\", api_key: sk-x}, model_info: {health_check_model: any/gpt-4o-mini}}\n"+
			"  - {model_name: picture, litellm_params: {model: openai/dall-e-3, api_base: \""+f.OpenAI()+"\", api_key: sk-x}, model_info: {mode: image_generation}}\n"+
			"  - {model_name: quiet, litellm_params: {model: openai/gpt-4o, api_base: \""+f.OpenAI()+"\", api_key: sk-x}, model_info: {disable_background_health_check: true}}\n", 1)
	c := startCluster(t, 3, clusterOptions{config: config, regions: []string{"eu", "us", "eu"}, env: []string{booksIn(url)}})
	for _, n := range c.nodes {
		eventually(t, soon, "the node tells what was found", func() error {
			a, err := n.call("GET", "/health", masterKey, "")
			if err == nil && (a.status != 200 || a.get("healthy_count").Int() != 4 || a.get("unhealthy_count").Int() != 2) {
				err = fmt.Errorf("%d %s", a.status, a.body)
			}
			return err
		})
	}
	a := c.nodes[2].get(t, "/health?model=picture", masterKey)
	if a.get("unhealthy_count").Int() != 1 || a.get("healthy_count").Int() != 0 || !strings.Contains(a.body, "cannot be called in this release") {
		t.Errorf("%s", a.body)
	}

	// Asking costs nothing, and each region asks each model once a round.
	f.Forget()
	began := time.Now()
	for time.Since(began) < 9*time.Second {
		for _, n := range c.nodes {
			n.get(t, "/health", masterKey)
		}
	}
	rounds := int(time.Since(began)/(3*time.Second)) + 1
	if n := f.Count(); n > 2*4*rounds || n < 2*4*2 {
		t.Errorf("in %v providers were asked %d times: 2 regions ask 4 models every 3 s", time.Since(began), n)
	}

	// What has not changed is written once by who found it: each region's node that
	// checks, and who was asked before the first round.
	sqlBecomes(t, url, "t", `SELECT count(*) >= 12 AND count(*) = count(DISTINCT (checked_by, model_name)) FROM "LiteLLM_HealthCheckTable"`)
	rows := sqlRows(t, url, `SELECT DISTINCT status, healthy_count, unhealthy_count, error_message IS NULL FROM "LiteLLM_HealthCheckTable" WHERE model_name = 'gone'`)
	if fmt.Sprint(rows) != "[[unhealthy 0 1 f]]" {
		t.Errorf("%v", rows)
	}
	f.Fail(500)
	sqlBecomes(t, url, "2", `SELECT count(DISTINCT checked_by) FROM "LiteLLM_HealthCheckTable" WHERE status = 'unhealthy' AND model_name = 'gpt'`)
	sqlBecomes(t, url, "2", `SELECT count(DISTINCT checked_by) FROM "LiteLLM_HealthCheckTable" WHERE status = 'unhealthy' AND model_name LIKE 'any/%%'`)
	for _, n := range c.nodes {
		eventually(t, soon, "the last check of each model is known", func() error {
			a, err := n.call("GET", "/health/latest", masterKey, "")
			if err == nil && a.get("total_models").Int() < 6 {
				err = fmt.Errorf("%s", a.body)
			}
			for _, row := range a.get("latest_health_checks").Map() {
				// Who asks before the first round has all models asked.
				if row.Get("status").String() != "unhealthy" && row.Get("model_name").String() != "quiet" {
					err = fmt.Errorf("%s", row.Raw)
				}
			}
			return err
		})
		a := n.get(t, "/health/history?model=gpt&limit=2", masterKey)
		if a.get("health_checks.#").Int() != 2 || a.get("health_checks.0.status").String() != "unhealthy" {
			t.Errorf("%s", a.body)
		}
	}
	key := c.nodes[0].newKey(t, "")
	if a := c.nodes[0].get(t, "/health/history", key); a.status != 403 && a.status != 401 {
		t.Errorf("a plain key reads the checks: %d %s", a.status, a.body)
	}
}
