package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"tollgate/node/e2e/fake"
)

// like compares byte by byte; — in want stands for any text that is not empty.
func like(got, want string) bool {
	parts := strings.Split(want, "—")
	if len(parts) == 1 {
		return got == want
	}
	rest, found := strings.CutPrefix(got, parts[0])
	if !found {
		return false
	}
	for i, p := range parts[1:] {
		if i == len(parts)-2 {
			return len(rest) > len(p) && strings.HasSuffix(rest, p)
		}
		k := strings.Index(rest[min(1, len(rest)):], p)
		if k < 0 {
			return false
		}
		rest = rest[k+1+len(p):]
	}
	return false
}

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// envelope is OpenAI's error body. typ and param are raw JSON.
func envelope(message, typ, param, code string) string {
	return fmt.Sprintf(`{"error":{"message":%s,"type":%s,"param":%s,"code":"%s"}}`, quote(message), typ, param, code)
}

// scene is a gateway with one caller for every way to be refused.
type scene struct {
	*node
	key, blocked, teamBlocked, claudeOnly, teamClaude, userClaude, noDefault string
	broke, teamBroke, userBroke, modelBroke, limited, oneRoute, expired      string
}

func newScene(t *testing.T, more string) *scene {
	f := fake.Start(t)
	s := &scene{node: start(t, options{config: configFor(f, more)})}
	ok := func(path, body string) {
		t.Helper()
		if a := s.do(t, "POST", path, masterKey, body); a.status != 200 {
			t.Fatalf("%s: %d %s", path, a.status, a.body)
		}
	}
	s.expired = s.newKey(t, `"duration":"1s"`)
	s.key = s.newKey(t, "")
	s.blocked = s.newKey(t, "")
	ok("/key/block", `{"key":"`+s.blocked+`"}`)
	ok("/team/new", `{"team_id":"closed"}`)
	s.teamBlocked = s.newKey(t, `"team_id":"closed"`)
	ok("/team/block", `{"team_id":"closed"}`)
	s.claudeOnly = s.newKey(t, `"models":["claude","embed"]`)
	ok("/team/new", `{"team_id":"readers","models":["claude"]}`)
	s.teamClaude = s.newKey(t, `"team_id":"readers"`)
	ok("/user/new", `{"user_id":"ann","models":["claude"],"auto_create_key":false}`)
	s.userClaude = s.newKey(t, `"user_id":"ann"`)
	ok("/user/new", `{"user_id":"nil","models":["no-default-models"],"auto_create_key":false}`)
	s.noDefault = s.newKey(t, `"user_id":"nil"`)
	s.broke = s.newKey(t, `"max_budget":0`)
	ok("/team/new", `{"team_id":"poor","max_budget":0}`)
	s.teamBroke = s.newKey(t, `"team_id":"poor"`)
	ok("/user/new", `{"user_id":"pau","max_budget":0,"auto_create_key":false}`)
	s.userBroke = s.newKey(t, `"user_id":"pau"`)
	s.modelBroke = s.newKey(t, `"key_alias":"named","model_max_budget":{"gpt":{"budget_limit":0,"time_period":"1d"}}`)
	ok("/budget/new", `{"budget_id":"none","max_budget":0}`)
	ok("/customer/new", `{"user_id":"customer-0","budget_id":"none"}`)
	ok("/customer/new", `{"user_id":"customer-x","blocked":true}`)
	s.limited = s.newKey(t, `"rpm_limit":1`)
	s.oneRoute = s.newKey(t, `"allowed_routes":["/embeddings"]`)
	return s
}

// refusals are the rows of the catalogue: who asks what, and every byte of the
// answer in both eras.
func (s *scene) refusals() map[string]refusalCase {
	const none = `"None"`
	auth := `"auth_error"`
	body := chatBody("gpt", "hi", `"max_tokens":5`)
	unknown := "sk-nobody-abcd"
	return map[string]refusalCase{
		"no key":    {"", body, nil, 401, 401, envelope("Authentication Error, No api key passed in.", auth, none, "401"), ""},
		"no Bearer": {"", body, []string{"Authorization", s.key}, 401, 401, envelope("Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix.", auth, none, "401"), ""},
		"not sk-": {"abcd1234wxyz", body, nil, 401, 401, envelope("LiteLLM Virtual Key expected. Received=abcd****wxyz, expected to start with 'sk-'.", auth, none, "401"),
			envelope("Authentication Error, LiteLLM Virtual Key expected. Received=abcd****wxyz, expected to start with 'sk-'.", auth, none, "401")},
		"unknown key": {unknown, body, nil, 401, 401, envelope("Authentication Error, Invalid proxy server token passed. Received API Key = sk-...abcd, Key Hash (Token) ="+hashOf(unknown)+
			". Unable to find token in cache or `LiteLLM_VerificationTokenTable`", `"token_not_found_in_db"`, `"key"`, "401"), ""},
		"expired":           {s.expired, body, nil, 401, 401, envelope("Authentication Error - Expired Key. Key Expiry time — and current time —", `"expired_key"`, `"sk-...`+s.expired[len(s.expired)-4:]+`"`, "401"), ""},
		"blocked":           {s.blocked, body, nil, 401, 401, envelope("Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin.", auth, none, "401"), ""},
		"team blocked":      {s.teamBlocked, body, nil, 401, 401, envelope("Authentication Error, Team=closed is blocked. Update via `/team/unblock` if you're an admin.", auth, none, "401"), ""},
		"model of the key":  {s.claudeOnly, body, nil, 403, 401, envelope("key not allowed to access model. This key can only access models=['claude', 'embed']. Tried to access gpt", `"key_model_access_denied"`, `"model"`, "403"), ""},
		"model of the team": {s.teamClaude, body, nil, 403, 401, envelope("team not allowed to access model. This team can only access models=['claude']. Tried to access gpt", `"team_model_access_denied"`, `"model"`, "403"), ""},
		"model of the user": {s.userClaude, body, nil, 403, 401, envelope("user not allowed to access model. This user can only access models=['claude']. Tried to access gpt", `"user_model_access_denied"`, `"model"`, "403"), ""},
		"no default models": {s.noDefault, body, nil, 401, 401, envelope("User not allowed to access model. No default model access, only team models allowed. Tried to access gpt", `"key_model_access_denied"`, `"model"`, "401"), ""},
		"budget of the key": {s.broke, body, nil, 429, 400, envelope("Budget has been exceeded! Key="+hashOf(s.broke)+" Current cost: 0.0, Max budget: 0.0", `"budget_exceeded"`, "null", "429"),
			envelope("Budget has been exceeded! Current cost: 0.0, Max budget: 0.0", `"budget_exceeded"`, none, "400")},
		"budget of the team":     {s.teamBroke, body, nil, 429, 400, envelope("Budget has been exceeded! Team=poor Current cost: 0.0, Max budget: 0.0", `"budget_exceeded"`, "null", "429"), ""},
		"budget of the user":     {s.userBroke, body, nil, 429, 400, envelope("ExceededBudget: User=pau over budget. Spend=0.0, Budget=0.0", `"budget_exceeded"`, "null", "429"), ""},
		"budget of the end user": {s.key, chatBody("gpt", "hi", `"user":"customer-0"`), nil, 429, 400, envelope("ExceededBudget: End User=customer-0 over budget. Spend=0.0, Budget=0.0", `"budget_exceeded"`, "null", "429"), ""},
		"budget of a model":      {s.modelBroke, body, nil, 429, 400, envelope("LiteLLM Virtual Key: "+hashOf(s.modelBroke)+", key_alias: named, exceeded budget for model=gpt—", `"budget_exceeded"`, "null", "429"), ""},
		"rpm": {s.limited, body, nil, 429, 429, envelope("Rate limit exceeded for api_key: "+hashOf(s.limited)+". Limit type: requests. Current limit: 1, Remaining: 0. Limit resets at: — UTC", `"rate_limit_error"`, "null", "429"),
			envelope("Rate limit exceeded for api_key: "+hashOf(s.limited)+". Limit type: requests. Current limit: 1, Remaining: 0. Limit resets at: — UTC", none, none, "429")},
		"route of the key": {s.oneRoute, body, nil, 403, 403, envelope("—not allowed to call this route—", auth, none, "403"), ""},
		"bad JSON":         {s.key, "{", nil, 400, 400, envelope("Invalid JSON payload: —", `"invalid_request_error"`, `"request_body"`, "400"), ""},
		"unknown model": {s.key, chatBody("nope", "hi", ""), nil, 400, 400, envelope("{'error': '/chat/completions: Invalid model name passed in model=nope. Call `/v1/models` to view available models for your key.'}", `"invalid_request_error"`, "null", "400"),
			envelope("{'error': '/chat/completions: Invalid model name passed in model=nope. Call `/v1/models` to view available models for your key.'}", none, none, "400")},
	}
}

type refusalCase struct {
	key, body string
	headers   []string
	status    int
	oldStatus int
	want      string // in the newer era
	oldWant   string // "": the same, but for the status in the code
}

func (c refusalCase) old() string {
	if c.oldWant != "" {
		return c.oldWant
	}
	s := strings.Replace(c.want, fmt.Sprintf(`"code":"%d"`, c.status), fmt.Sprintf(`"code":"%d"`, c.oldStatus), 1)
	return strings.Replace(s, `"param":null`, `"param":"None"`, 1)
}

func TestRefusalsAreByteForByteThoseOfTheContract(t *testing.T) {
	for era, more := range map[string]string{"new": "", "old": "tollgate_settings:\n  compat: {errors: old}\n"} {
		t.Run(era, func(t *testing.T) {
			s := newScene(t, more)
			if a := s.chat(t, s.limited, "gpt", "hi", ""); a.status != 200 {
				t.Fatalf("the only call of the minute: %d %s", a.status, a.body)
			}
			eventually(t, soon, "the short-lived key has expired", func() error {
				a, err := s.call("POST", "/v1/chat/completions", s.expired, chatBody("gpt", "hi", ""))
				if err == nil && a.status != 401 {
					err = fmt.Errorf("status %d", a.status)
				}
				return err
			})
			for name, c := range s.refusals() {
				t.Run(name, func(t *testing.T) {
					status, want := c.status, c.want
					if era == "old" {
						status, want = c.oldStatus, c.old()
					}
					a := s.do(t, "POST", "/v1/chat/completions", c.key, c.body, c.headers...)
					if a.status != status || !like(a.body, want) {
						t.Errorf("%d %s\nwant %d %s", a.status, a.body, status, want)
					}
					if name == "rpm" && (a.header.Get("rate_limit_type") != "requests" || a.header.Get("retry-after") == "" || !strings.HasSuffix(a.header.Get("reset_at"), " UTC")) {
						t.Errorf("the headers of a limit are missing: %v", a.header)
					}
				})
			}
		})
	}
}

func TestRefusalsOfManagementAreThoseOfTheContract(t *testing.T) {
	s := newScene(t, "")
	for name, c := range map[string]struct {
		method, path, key, body string
		status                  int
		want                    string
	}{
		"a role that may not": {"POST", "/team/new", s.userClaude, "{}", 403,
			envelope("Authentication Error, Only proxy admin can be used to generate, delete, update info for new keys/users/teams. Route=/team/new. Your role=internal_user. Your user_id=ann", `"auth_error"`, `"None"`, "403")},
		"a key that is not there":  {"GET", "/key/info?key=sk-nobody", masterKey, "", 404, `{"error":{"message":"—","type":"not_found_error","param":"key","code":"404"}}`},
		"a team that is not there": {"GET", "/team/info?team_id=nobody", masterKey, "", 404, "—"},
		"a number that is text":    {"POST", "/key/generate", masterKey, `{"max_budget":"lots"}`, 422, `{"detail":[{"—":—"max_budget"—}]}`},
		"a body that is none":      {"POST", "/key/generate", masterKey, `{"max_budget"`, 400, envelope("Invalid JSON payload: —", `"invalid_request_error"`, `"request_body"`, "400")},
		"an unknown route":         {"POST", "/key/nothing", masterKey, `{}`, 404, `{"detail":"Not Found"}`},
		"a wrong method":           {"GET", "/key/generate", masterKey, "", 405, `{"detail":"Method Not Allowed"}`},
		"no key":                   {"POST", "/key/generate", "", "{}", 401, envelope("Authentication Error, No api key passed in.", `"auth_error"`, `"None"`, "401")},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.do(t, c.method, c.path, c.key, c.body)
			if a.status != c.status || !like(a.body, c.want) {
				t.Errorf("%d %s\nwant %d %s", a.status, a.body, c.status, c.want)
			}
		})
	}
}

func TestABlockedEndUserIsRefused(t *testing.T) {
	s := newScene(t, "")
	a := s.chat(t, s.key, "gpt", "hi", `"user":"customer-x"`)
	if a.status != 401 || a.get("error.type").String() != "auth_error" || !strings.Contains(a.body, "customer-x") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestARequiredUserIsAskedFor(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "  enforce_user_param: true\n")})
	a := n.chat(t, n.newKey(t, ""), "gpt", "hi", "")
	if a.status != 400 || !strings.HasPrefix(a.get("error.message").String(), "BadRequest please pass param=user in request body.") {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// A model that is not allowed is told before an expired key, and an expired key
// before an empty budget.
func TestRefusalsComeInTheContractsOrder(t *testing.T) {
	f := fake.Start(t)
	n := start(t, options{config: configFor(f, "")})
	key := n.newKey(t, `"duration":"1s","models":["claude"],"max_budget":0`)
	eventually(t, soon, "the key has expired", func() error {
		a, err := n.call("POST", "/v1/chat/completions", key, chatBody("claude", "hi", ""))
		if err == nil && a.get("error.type").String() != "expired_key" {
			err = fmt.Errorf("%d %s", a.status, a.body)
		}
		return err
	})
	if a := n.chat(t, key, "gpt", "hi", ""); a.get("error.type").String() != "key_model_access_denied" {
		t.Errorf("%d %s", a.status, a.body)
	}
}
