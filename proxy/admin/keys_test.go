package admin_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
)

func TestGeneratedKeyIsShownOnceAndStoredAsHash(t *testing.T) {
	w := newWorld(t, nil)
	a := w.post("/key/generate", `{"key_alias":"prod","models":["gpt-4o"],"max_budget":10.5,"budget_duration":"30d","rpm_limit":"60",
		"tpm_limit":1000.0,"duration":"24h","metadata":{"team":"core","tags":["a"]},"aliases":{"x":"y"},"model_max_budget":{"gpt-4o":{"budget_limit":"1.5","time_period":"1d"}},
		"guardrails":["pii"],"unknown_field":{"is":"ignored"}}`)
	m := a.ok()
	plain := m["key"].(string)
	require.Regexp(t, regexp.MustCompile(`^sk-[A-Za-z0-9_-]{22}$`), plain)
	require.Equal(t, auth.Hash([]byte(plain)), m["token"])
	require.Equal(t, m["token"], m["token_id"])
	require.Equal(t, "sk-..."+plain[len(plain)-4:], m["key_name"])
	require.Equal(t, 10.5, m["max_budget"])
	require.Equal(t, 60.0, m["rpm_limit"])
	require.Equal(t, 1000.0, m["tpm_limit"])
	require.Equal(t, "2026-01-16T12:00:00Z", m["expires"])
	require.Equal(t, "2026-02-01T00:00:00Z", m["budget_reset_at"])
	require.Equal(t, "default_user_id", m["created_by"])
	require.Equal(t, map[string]any{"team": "core", "tags": []any{"a"}, "guardrails": []any{"pii"}}, m["metadata"])
	require.Equal(t, map[string]any{"gpt-4o": map[string]any{"budget_limit": 1.5, "time_period": "1d"}}, m["model_max_budget"])
	require.Nil(t, m["user_id"])
	require.Nil(t, m["litellm_budget_table"])
	require.Equal(t, "1", a.header["x-state-index"])

	for _, change := range w.seen {
		b, err := json.Marshal(change)
		require.NoError(t, err)
		require.NotContains(t, string(b), plain, "the key itself never leaves the node")
	}
	info := w.get("/key/info?key=" + plain).ok()
	require.Equal(t, plain, info["key"])
	row := info["info"].(map[string]any)
	require.Equal(t, "prod", row["key_alias"])
	require.NotContains(t, row, "token")
	require.Equal(t, row, w.get("/key/info?key=" + m["token"].(string)).ok()["info"], "by hash as well")
}

func TestWrongFieldsAreAllNamedAndNothingIsSubmitted(t *testing.T) {
	w := newWorld(t, nil)
	wrong := w.post("/key/generate", `{"max_budget":"abc","models":"gpt","rpm_limit":1.5,"tpm_limit":true,"metadata":[],"duration":"soon",
		"key_alias":7,"blocked":"perhaps","model_max_budget":{"m":{"time_period":"1d"}},"model_rpm_limit":{"m":-1},"soft_budget":-1,"key":"nope","key_type":"x",
		"guardrails":"g","tags":["a",1]}`).wrong()
	require.Equal(t, []string{"blocked:bool_parsing", "duration:value_error", "guardrails:list_type", "key:value_error", "key_alias:string_type",
		"key_type:literal_error", "max_budget:float_parsing", "metadata:dict_type", "model_max_budget.m.budget_limit:missing",
		"model_rpm_limit.m:value_error", "models:list_type", "rpm_limit:int_from_float", "soft_budget:value_error", "tags.1:string_type",
		"tpm_limit:int_type"}, wrong)
	require.Empty(t, w.seen)
}

func TestBrokenBodiesAreRefused(t *testing.T) {
	w := newWorld(t, nil)
	for _, body := range []string{`{`, `[]`, `"x"`, `{"a":1,"a":2}`, `{"a":1}}`, "{\"key_alias\":\"\xff\"}"} {
		require.Contains(t, w.post("/key/generate", body).refused(400), "Invalid JSON payload", body)
	}
	w.post("/key/generate", "").ok()
}

func TestAliasAndKeyAreUnique(t *testing.T) {
	w := newWorld(t, nil)
	w.key(`{"key_alias":"a","key":"sk-mine"}`)
	require.Equal(t, "Key with alias 'a' already exists. Unique key aliases across all keys are required.",
		w.post("/key/generate", `{"key_alias":"a"}`).refused(400))
	w.post("/key/generate", `{"key":"sk-mine"}`).refused(400)
	w.post("/key/generate", `{"key":"`+master+`"}`).refused(400)
	_, h := w.key(`{"key_alias":"b"}`)
	w.post("/key/update", `{"key":"`+h+`","key_alias":"a"}`).refused(400)
	w.post("/key/update", `{"key":"`+h+`","key_alias":"b"}`).ok()
	w.post("/key/generate", `{"team_id":"nowhere"}`).refused(400)
	w.post("/key/generate", `{"budget_id":"nothing"}`).refused(400)
}

func TestUpdateKeepsAbsentFieldsAndNullClears(t *testing.T) {
	w := newWorld(t, nil)
	plain, h := w.key(`{"key_alias":"k","max_budget":5,"budget_duration":"1d","rpm_limit":3,"models":["a"],"duration":"1h","metadata":{"x":1}}`)
	m := w.post("/key/update", `{"key":"`+plain+`","max_budget":null,"models":[]}`).ok()
	require.Equal(t, plain, m["key"])
	require.Nil(t, m["max_budget"])
	require.Empty(t, m["models"])
	require.Equal(t, "1d", m["budget_duration"])
	require.Equal(t, 3.0, m["rpm_limit"])
	require.Equal(t, "k", m["key_alias"])
	require.NotNil(t, m["expires"])
	m = w.post("/key/update", `{"key":"`+h+`","duration":"-1","budget_duration":null}`).ok()
	require.Nil(t, m["expires"])
	require.Nil(t, m["budget_duration"])
	require.Nil(t, m["budget_reset_at"])
	w.post("/key/update", `{"key":"sk-unknown"}`).refused(404)
	require.Equal(t, []string{"key:missing"}, w.post("/key/update", `{}`).wrong())
}

func TestTemporaryBudgetNeedsBothHalves(t *testing.T) {
	w := newWorld(t, nil)
	_, h := w.key(`{"max_budget":5}`)
	require.Equal(t, []string{"temp_budget_increase:value_error"}, w.post("/key/update", `{"key":"`+h+`","temp_budget_increase":3}`).wrong())
	m := w.post("/key/update", `{"key":"`+h+`","temp_budget_increase":3,"temp_budget_expiry":"2026-01-20"}`).ok()
	require.Equal(t, 3.0, m["temp_budget_increase"])
	def, ok := w.store.State().BudgetOf(model.Scope{Dim: model.DimKey, ID: h})
	require.True(t, ok)
	require.Equal(t, 8*unit.Dollar, def.Limit)
}

func TestMetadataShownComesBackUnchanged(t *testing.T) {
	w := newWorld(t, nil)
	_, h := w.key(`{"metadata":{"x":1},"tags":["t"],"model_rpm_limit":{"m":5},"guardrails":["g"]}`)
	meta, err := json.Marshal(w.get("/key/info?key=" + h).ok()["info"].(map[string]any)["metadata"])
	require.NoError(t, err)
	after := w.post("/key/update", `{"key":"`+h+`","metadata":`+string(meta)+`}`).ok()
	k, _ := w.store.State().KeyByHash(h)
	require.Equal(t, []string{"t"}, k.Tags)
	require.Equal(t, map[string]int64{"m": 5}, k.ModelRPM)
	require.JSONEq(t, `{"x":1}`, string(k.Metadata))
	again, err := json.Marshal(after["metadata"])
	require.NoError(t, err)
	require.JSONEq(t, string(meta), string(again))
}

func TestBlockAndDeleteHoldAtOnceAndNameNodesBehind(t *testing.T) {
	w := newWorld(t, nil)
	plain, h := w.key(`{}`)
	w.behind = []string{"node-3"}
	a := w.post("/key/block", `{"key":"`+plain+`"}`)
	require.Equal(t, true, a.ok()["blocked"])
	require.Equal(t, "node-3", a.header["x-state-behind"])
	w.call(plain, "GET", "/key/info", "").refused(401)
	require.Equal(t, false, w.post("/key/unblock", `{"key":"`+h+`"}`).ok()["blocked"])
	require.Equal(t, plain, w.post("/key/delete", `{"keys":["`+plain+`"]}`).ok()["deleted_keys"].([]any)[0])
	w.call(plain, "GET", "/key/info", "").refused(401)
	w.post("/key/delete", `{"keys":["`+plain+`"]}`).refused(404)
	w.post("/key/block", `{"key":"`+plain+`"}`).refused(404)
	require.Equal(t, []string{"keys:missing"}, w.post("/key/delete", `{}`).wrong())
}

func TestKeysAreDeletedByAliasTogether(t *testing.T) {
	w := newWorld(t, nil)
	w.key(`{"key_alias":"a"}`)
	w.key(`{"key_alias":"b"}`)
	n := len(w.seen)
	require.Equal(t, []any{"a", "b"}, w.post("/key/delete", `{"key_aliases":["a","missing","b"]}`).ok()["deleted_keys"])
	require.Len(t, w.seen, n+1, "one mutation")
	require.Zero(t, w.store.State().Keys.Len())
}

func TestRegenerateKeepsEverythingButTheSecret(t *testing.T) {
	w := newWorld(t, nil)
	plain, h := w.key(`{"key_alias":"k","max_budget":5,"models":["a"],"metadata":{"x":1}}`)
	w.setSpent(model.Scope{Dim: model.DimKey, ID: h}, 2*unit.Dollar)
	m := w.post("/key/"+plain+"/regenerate", `{"grace_period":"24h","max_budget":6}`).ok()
	require.NotEqual(t, plain, m["key"])
	require.Equal(t, "k", m["key_alias"])
	require.Equal(t, 6.0, m["max_budget"])
	require.Equal(t, 2.0, m["spend"], "a new secret is no new budget")
	require.Equal(t, 1.0, m["rotation_count"])
	s := w.store.State()
	_, ok := s.KeyByHash(h)
	require.False(t, ok)
	k, ok := s.KeyFor(h, w.Now().Add(23*time.Hour))
	require.True(t, ok, "the old secret works during its grace period")
	require.Equal(t, m["token"], k.Hash)
	def, ok := s.BudgetOf(model.Scope{Dim: model.DimKey, ID: k.Hash})
	require.True(t, ok)
	require.Equal(t, 4*unit.Dollar, def.LimitIn(0), "what the old secret spent is gone for the new one")
	_, ok = s.KeyFor(h, w.Now().Add(25*time.Hour))
	require.False(t, ok)
	w.post("/key/regenerate", `{"key":"`+plain+`"}`).refused(404)
	w.post("/key/regenerate", `{"key":"`+m["token"].(string)+`","new_key":"sk-chosen"}`).ok()
	w.call("sk-chosen", "GET", "/key/info", "").ok()
}

func TestSpendIsTheBooksAndTheOperatorsCorrection(t *testing.T) {
	w := newWorld(t, nil)
	_, h := w.key(`{"spend":1,"max_budget":10,"budget_duration":"1d"}`)
	sc := model.Scope{Dim: model.DimKey, ID: h}
	spend := func() any { return w.get("/key/info?key=" + h).ok()["info"].(map[string]any)["spend"] }
	require.Equal(t, 1.0, spend())
	w.setSpent(sc, unit.Dollar/2)
	require.Equal(t, 1.5, spend())
	require.Equal(t, 0.25, w.post("/key/"+h+"/reset_spend", `{"reset_to":0.25}`).ok()["spend"])
	require.Equal(t, 0.25, spend())
	w.post("/key/"+h+"/reset_spend", `{"reset_to":9}`).refused(400)
	require.Equal(t, []string{"reset_to:missing"}, w.post("/key/"+h+"/reset_spend", `{}`).wrong())
	w.post("/key/update", `{"key":"`+h+`","spend":0}`).ok()
	require.Equal(t, 0.0, spend())
}

func TestGlobalResetIsForTheMasterKeyAlone(t *testing.T) {
	w := newWorld(t, nil)
	adminKey := w.as("proxy_admin", "boss")
	_, h := w.key(`{}`)
	w.post("/team/new", `{"team_id":"t"}`).ok()
	w.setSpent(model.Scope{Dim: model.DimKey, ID: h}, 3*unit.Dollar)
	w.setSpent(model.Scope{Dim: model.DimTeam, ID: "t"}, 4*unit.Dollar)
	require.Contains(t, w.call(adminKey, "POST", "/global/spend/reset", "").refused(401), "only for MASTER KEY")
	require.Equal(t, "success", w.post("/global/spend/reset", "").ok()["status"])
	require.Equal(t, 0.0, w.get("/key/info?key=" + h).ok()["info"].(map[string]any)["spend"])
	require.Equal(t, 0.0, w.get("/team/info?team_id=t").ok()["team_info"].(map[string]any)["spend"])
}

func TestDefaultsAndUpperBoundsOfGeneratedKeys(t *testing.T) {
	cfg := &model.Config{LiteLLM: model.LiteLLMSettings{
		DefaultKeyParams:    json.RawMessage(`{"max_budget":2,"models":["base"],"rpm_limit":5}`),
		UpperboundKeyParams: json.RawMessage(`{"max_budget":100,"duration":"30d","tpm_limit":1000}`),
	}}
	w := newWorld(t, cfg)
	m := w.post("/key/generate", `{"models":[],"rpm_limit":7}`).ok()
	require.Equal(t, []any{"base"}, m["models"])
	require.Equal(t, 2.0, m["max_budget"])
	require.Equal(t, 7.0, m["rpm_limit"])
	require.Equal(t, 1000.0, m["tpm_limit"], "without a limit of its own it takes the bound")
	require.Equal(t, "2026-02-14T12:00:00Z", m["expires"])
	require.Equal(t, "max_budget is over max limit set in config - user_value=101; max_value=100",
		w.post("/key/generate", `{"max_budget":101}`).refused(400))
	w.post("/key/generate", `{"duration":"31d"}`).refused(400)
	w.post("/key/update", `{"key":"`+m["token"].(string)+`","duration":"-1"}`).refused(400)

	cfg.Tollgate.CompatErrors = "old"
	w = newWorld(t, cfg)
	require.Equal(t, 100.0, w.post("/key/generate", `{"max_budget":101}`).ok()["max_budget"], "the old era clamps")
}

func TestKeyTypePresetsRoutes(t *testing.T) {
	w := newWorld(t, nil)
	for kind, want := range map[string]any{"llm_api": []any{"llm_api_routes"}, "management": []any{"management_routes"}, "read_only": []any{"info_routes"}, "default": []any{}} {
		require.Equal(t, want, w.post("/key/generate", `{"key_type":"`+kind+`"}`).ok()["allowed_routes"], kind)
	}
	require.Equal(t, []any{"/x"}, w.post("/key/generate", `{"key_type":"llm_api","allowed_routes":["/x"]}`).ok()["allowed_routes"])
}

func TestKeyListPagesWithoutOverlap(t *testing.T) {
	w := newWorld(t, nil)
	want := map[string]bool{}
	for range 25 {
		_, h := w.key(`{"user_id":"u"}`)
		want[h] = true
	}
	w.key(`{"user_id":"other"}`)
	for page, size := range []int{10, 10, 5, 0} {
		m := w.get("/key/list?user_id=u&size=10&page=" + string(rune('1'+page))).ok()
		require.Len(t, m["keys"], size)
		require.Equal(t, 25.0, m["total_count"])
		require.Equal(t, 3.0, m["total_pages"])
		require.Equal(t, float64(page+1), m["current_page"])
		for _, h := range m["keys"].([]any) {
			require.True(t, want[h.(string)])
			delete(want, h.(string))
		}
	}
	require.Empty(t, want)
	require.Equal(t, []string{"page:greater_than_equal", "size:less_than_equal"}, w.get("/key/list?size=101&page=0").wrong())
	full := w.get("/key/list?user_id=other&return_full_object=true").ok()["keys"].([]any)[0].(map[string]any)
	require.Equal(t, "other", full["user_id"])
	require.NotEmpty(t, full["token"])
}

func TestRepeatedIdempotencyKeyGivesTheSameKeyOnce(t *testing.T) {
	w := newWorld(t, nil)
	var wg sync.WaitGroup
	got := make([]*answer, 8)
	for i := range got {
		wg.Go(func() { got[i] = w.post("/key/generate", `{"key_alias":"once"}`, "Idempotency-Key", "abc") })
	}
	wg.Wait()
	for _, a := range got {
		require.Equal(t, got[0].ok()["key"], a.ok()["key"])
		require.Equal(t, got[0].header["x-state-index"], a.header["x-state-index"])
	}
	require.Equal(t, 1, w.store.State().Keys.Len())
	w.post("/key/generate", `{"key_alias":"another"}`, "Idempotency-Key", "abc").refused(422)
	w.post("/key/generate", `{}`, "Idempotency-Key", strings.Repeat("x", 257)).refused(400)
}

func TestConflictingWritesAreWorkedOutAnew(t *testing.T) {
	w := newWorld(t, nil)
	_, h := w.key(`{"metadata":{"a":1}}`)
	w.before = func(*model.Mutation) { w.post("/key/update", `{"key":"`+h+`","key_alias":"meanwhile"}`).ok() }
	m := w.post("/key/update", `{"key":"`+h+`","max_budget":1}`).ok()
	require.Equal(t, "meanwhile", m["key_alias"], "neither change is lost")
	require.Equal(t, 1.0, m["max_budget"])
}

func TestAnOutageIsNoRefusalOfTheKey(t *testing.T) {
	w := newWorld(t, nil)
	w.down = true
	a := w.post("/key/generate", `{}`, "Idempotency-Key", "k")
	a.refused(503)
	require.Equal(t, "1", a.header["retry-after"])
	w.down = false
	w.post("/key/generate", `{}`, "Idempotency-Key", "k").ok()
}

func TestKeysOfOthersAreOutOfReach(t *testing.T) {
	w := newWorld(t, nil)
	alice, bob := w.as("internal_user", "alice"), w.as("internal_user", "bob")
	w.as("internal_user", "carol")
	given, h := w.key(`{"user_id":"alice","max_budget":1}`)
	_ = given

	own := w.call(alice, "POST", "/key/generate", `{"key_alias":"own"}`).ok()
	require.Equal(t, "alice", own["user_id"])
	require.Equal(t, "alice", own["created_by"])
	w.call(alice, "POST", "/key/generate", `{"user_id":"bob"}`).refused(403)
	w.call(alice, "POST", "/key/generate", `{"permissions":{"get_spend_routes":true}}`).refused(403)
	w.call(alice, "POST", "/key/generate", `{"spend":-5}`).refused(403)
	token := own["token"].(string)
	for _, body := range []string{`"key_alias":"x"`, `"max_budget":9`} {
		w.call(bob, "POST", "/key/update", `{"key":"`+token+`",`+body+`}`).refused(403)
		w.call(alice, "POST", "/key/update", `{"key":"`+token+`",`+body+`}`).ok()
	}
	w.call(alice, "POST", "/key/update", `{"key":"`+h+`","key_alias":"mine"}`).ok()
	require.Contains(t, w.call(alice, "POST", "/key/update", `{"key":"`+h+`","max_budget":1000}`).refused(403), "limits")
	w.call(alice, "POST", "/key/update", `{"key":"`+h+`","temp_budget_increase":5,"temp_budget_expiry":"2027-01-01"}`).refused(403)
	w.call(alice, "POST", "/key/regenerate", `{"key":"`+h+`","max_budget":1000}`).refused(403)
	w.call(alice, "POST", "/key/"+h+"/reset_spend", `{"reset_to":0}`).refused(403)
	w.call(alice, "POST", "/key/block", `{"key":"`+token+`"}`).refused(403)
	w.call(bob, "POST", "/key/delete", `{"keys":["`+token+`"]}`).refused(403)
	w.call(bob, "GET", "/key/info?key="+token, "").refused(403)
	w.call(alice, "GET", "/key/info?key="+token, "").ok()
	require.Equal(t, 3.0, w.call(alice, "GET", "/key/list", "").ok()["total_count"])
	require.Equal(t, 0.0, w.call(bob, "GET", "/key/list?user_id=alice", "").ok()["total_count"])
	w.call(alice, "POST", "/key/delete", `{"keys":["`+token+`"]}`).ok()
	for _, path := range []string{"/user/new", "/user/update", "/user/delete", "/team/new", "/budget/new", "/budget/delete", "/customer/new", "/model/new"} {
		w.call(alice, "POST", path, `{}`).refused(403)
	}
}

func TestARouteLimitedKeyMakesNoWiderKey(t *testing.T) {
	w := newWorld(t, nil)
	w.as("internal_user", "ann")
	plain, _ := w.key(`{"user_id":"ann","allowed_routes":["/key/generate","/key/update"]}`)
	made := w.call(plain, "POST", "/key/generate", `{}`).ok()
	require.Equal(t, []any{"/key/generate", "/key/update"}, made["allowed_routes"])
	w.call(plain, "POST", "/key/generate", `{"allowed_routes":["/key/generate","/chat/completions"]}`).refused(403)
	w.call(plain, "POST", "/key/update", `{"key":"`+made["token"].(string)+`","allowed_routes":null}`).refused(403)
	w.call(plain, "POST", "/key/update", `{"key":"`+made["token"].(string)+`","allowed_routes":["/key/update"]}`).ok()
}

func TestViewersChangeNothing(t *testing.T) {
	w := newWorld(t, nil)
	for _, role := range []string{"internal_user_viewer", "proxy_admin_viewer"} {
		plain := w.as(role, role)
		_, h := w.key(`{"user_id":"` + role + `"}`)
		w.call(plain, "POST", "/key/generate", `{}`).refused(403)
		w.call(plain, "POST", "/key/update", `{"key":"`+h+`","key_alias":"x"}`).refused(403)
		w.call(plain, "POST", "/key/delete", `{"keys":["`+h+`"]}`).refused(403)
		w.call(plain, "GET", "/key/info?key="+h, "").ok()
	}
}

func TestUnownedKeyReadsItselfOnly(t *testing.T) {
	w := newWorld(t, nil)
	plain, h := w.key(`{}`)
	_, other := w.key(`{}`)
	require.Equal(t, h, w.call(plain, "GET", "/key/info", "").ok()["key"])
	w.call(plain, "GET", "/key/info?key="+other, "").refused(403)
	w.call(plain, "POST", "/key/generate", `{}`).refused(403)
	require.Equal(t, 1.0, w.call(plain, "GET", "/key/list", "").ok()["total_count"])
}

func TestPathsThatAreNotOursAreLeftAlone(t *testing.T) {
	w := newWorld(t, nil)
	for _, path := range []string{"/", "/v1/chat/completions", "/key", "/key/", "/key/a/b/other", "//", "/v1/key/info"} {
		require.Equal(t, 404, w.get(path).status, path)
		require.Empty(t, w.a.Methods(path), path)
	}
	a := w.get("/key/generate")
	require.Equal(t, 405, a.status)
	require.Equal(t, "POST", a.header["allow"])
	require.JSONEq(t, `{"detail":"Method Not Allowed"}`, string(a.body))
	require.Equal(t, []string{"GET"}, w.a.Methods("/v1/model/info"))
	require.Equal(t, []string{"PATCH"}, w.a.Methods("/model/abc/update"))
}
