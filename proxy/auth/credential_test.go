package auth_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/unit"
	"tollgate/proxy/auth"
)

const noKey, malformed = "Authentication Error, No api key passed in.",
	"Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix."

func TestKeyIsFoundInEveryHeaderThatClientsUse(t *testing.T) {
	for name, tc := range map[string]struct {
		headers []string
		custom  string
		key     string
		message string
	}{
		"bearer":                         {headers: []string{"Authorization", "Bearer sk-1"}, key: "sk-1"},
		"lower case bearer":              {headers: []string{"Authorization", "bearer sk-1"}, key: "sk-1"},
		"spaces around":                  {headers: []string{"Authorization", "Bearer   sk-1  "}, key: "sk-1"},
		"basic, as it is":                {headers: []string{"Authorization", "Basic sk-1"}, key: "sk-1"},
		"aws signature":                  {headers: []string{"Authorization", "AWS4-HMAC-SHA256 Credential=Bearer sk-1/20260101/us-east-1/bedrock/aws4_request, SignedHeaders=host"}, key: "sk-1"},
		"aws signature without bearer":   {headers: []string{"Authorization", "AWS4-HMAC-SHA256 Credential=AKIA/2026"}, message: malformed},
		"litellm header":                 {headers: []string{"x-litellm-api-key", "sk-1"}, key: "sk-1"},
		"litellm header with bearer":     {headers: []string{"x-litellm-api-key", "Bearer sk-1"}, key: "sk-1"},
		"litellm header wins over all":   {headers: []string{"Authorization", "Bearer sk-2", "api-key", "sk-3", "x-litellm-api-key", "sk-1"}, key: "sk-1"},
		"azure":                          {headers: []string{"API-Key", "sk-1"}, key: "sk-1"},
		"anthropic":                      {headers: []string{"x-api-key", "sk-1"}, key: "sk-1"},
		"google":                         {headers: []string{"x-goog-api-key", "sk-1"}, key: "sk-1"},
		"api management":                 {headers: []string{"Ocp-Apim-Subscription-Key", "sk-1"}, key: "sk-1"},
		"authorization before azure":     {headers: []string{"api-key", "sk-2", "authorization", "Bearer sk-1"}, key: "sk-1"},
		"azure before anthropic":         {headers: []string{"x-api-key", "sk-2", "api-key", "sk-1"}, key: "sk-1"},
		"anthropic before google":        {headers: []string{"x-goog-api-key", "sk-2", "x-api-key", "sk-1"}, key: "sk-1"},
		"google before api management":   {headers: []string{"Ocp-Apim-Subscription-Key", "sk-2", "x-goog-api-key", "sk-1"}, key: "sk-1"},
		"other scheme counts as empty":   {headers: []string{"Authorization", "Digest x", "x-api-key", "sk-1"}, key: "sk-1"},
		"no prefix":                      {headers: []string{"Authorization", "sk-1"}, message: malformed},
		"bearer without a key":           {headers: []string{"Authorization", "Bearer "}, message: malformed},
		"nothing":                        {message: noKey},
		"custom header":                  {headers: []string{"X-My-Key", "Bearer sk-1"}, custom: "X-My-Key", key: "sk-1"},
		"custom header is the only one":  {headers: []string{"Authorization", "Bearer sk-1"}, custom: "X-My-Key", message: noKey},
		"custom header against litellms": {headers: []string{"x-litellm-api-key", "sk-2", "x-my-key", "sk-1"}, custom: "X-My-Key", key: "sk-1"},
	} {
		t.Run(name, func(t *testing.T) {
			var h fasthttp.RequestHeader
			for i := 0; i < len(tc.headers); i += 2 {
				h.Set(tc.headers[i], tc.headers[i+1])
			}
			key, ref := auth.Credential(&h, tc.custom)
			if tc.message != "" {
				require.NotNil(t, ref)
				require.Equal(t, tc.message, ref.Message)
				require.Equal(t, 401, ref.Status)
				require.Equal(t, "auth_error", ref.Type)
				require.Equal(t, "None", ref.Param)
				return
			}
			require.Nil(t, ref)
			require.Equal(t, tc.key, string(key))
		})
	}
}

const master = "sk-master"

// state1 is one state: a key of every kind, with its owners.
func state1(t testing.TB, entities ...model.Entity) *state.Snapshot {
	t.Helper()
	return state.NewBuilder(state.NewStore(nil).State()).Put(entities...).Snapshot()
}

func key(plain string, change func(*model.Key)) *model.Key {
	k := &model.Key{Hash: auth.Hash([]byte(plain)), Name: auth.Abbreviated([]byte(plain))}
	if change != nil {
		change(k)
	}
	return k
}

func TestIdentifyAnswersAsLiteLLMDoes(t *testing.T) {
	s := state1(t,
		key("sk-good-key1", nil),
		key("sk-blocked-1", func(k *model.Key) { k.Blocked = true }),
		key("sk-orphaned1", func(k *model.Key) { k.UserID = "gone" }),
		key("sk-inactive1", func(k *model.Key) { k.UserID = "u" }),
		&model.User{ID: "u", Blocked: true})
	for name, tc := range map[string]struct {
		key     string
		old     bool
		status  int
		typ     string
		param   string
		message string
	}{
		"good":             {key: "sk-good-key1"},
		"owner is no more": {key: "sk-orphaned1"},
		"master":           {key: master},
		"no prefix":        {key: "abcd1234wxyz", status: 401, typ: "auth_error", param: "None", message: "LiteLLM Virtual Key expected. Received=abcd****wxyz, expected to start with 'sk-'."},
		"no prefix, old":   {key: "abcd1234wxyz", old: true, status: 401, typ: "auth_error", param: "None", message: "Authentication Error, LiteLLM Virtual Key expected. Received=abcd****wxyz, expected to start with 'sk-'."},
		"short":            {key: "ab", status: 401, typ: "auth_error", param: "None", message: "LiteLLM Virtual Key expected. Received=**, expected to start with 'sk-'."},
		"unknown": {key: "sk-unknown-abcd", status: 401, typ: "token_not_found_in_db", param: "key", message: "Authentication Error, Invalid proxy server token passed. Received API Key = sk-...abcd, Key Hash (Token) =" +
			auth.Hash([]byte("sk-unknown-abcd")) + ". Unable to find token in cache or `LiteLLM_VerificationTokenTable`"},
		"blocked":     {key: "sk-blocked-1", status: 401, typ: "auth_error", param: "None", message: "Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin."},
		"deactivated": {key: "sk-inactive1", status: 401, typ: "auth_error", param: "None", message: "Authentication Error, User=u is deactivated. An admin can reactivate the user."},
	} {
		t.Run(name, func(t *testing.T) {
			p, ref := auth.Identify(s, auth.Hash([]byte(master)), []byte(tc.key), time.Now(), tc.old)
			if tc.status == 0 {
				require.Nil(t, ref)
				require.Equal(t, tc.key == master, p.Master)
				return
			}
			require.NotNil(t, ref)
			require.Equal(t, []any{tc.status, tc.typ, tc.param, tc.message}, []any{ref.Status, ref.Type, ref.Param, ref.Message})
		})
	}
}

func TestNoMasterKeyOpensNothing(t *testing.T) {
	_, ref := auth.Identify(state1(t), "", []byte(""), time.Now(), false)
	require.NotNil(t, ref)
	_, ref = auth.Identify(state1(t), "", []byte("sk-anything"), time.Now(), false)
	require.NotNil(t, ref)
}

func TestExpiredKeyNamesItselfAndBothTimes(t *testing.T) {
	expires := time.Date(2026, 1, 2, 3, 4, 5, 600_000_000, time.UTC)
	p := auth.Principal{Key: key("sk-1-abcd", func(k *model.Key) { k.Expires = &expires })}
	require.Nil(t, p.Expired(expires.Add(-time.Nanosecond)))
	ref := p.Expired(expires)
	require.Equal(t, "Authentication Error - Expired Key. Key Expiry time 2026-01-02 03:04:05.600000+00:00 and current time 2026-01-02 03:04:05.600000+00:00", ref.Message)
	require.Equal(t, []any{401, "expired_key", "sk-...abcd"}, []any{ref.Status, ref.Type, ref.Param})
}

func TestMemberBudgetComesFromTheMembershipOrItsTeam(t *testing.T) {
	ten := 10 * unit.Dollar
	own, shared := &model.Budget{ID: "own", Spending: model.Spending{MaxBudget: &ten}}, &model.Budget{ID: "shared"}
	s := state1(t, own, shared,
		&model.Team{ID: "t", MemberBudgetID: "shared"},
		&model.Member{TeamID: "t", UserID: "a", BudgetID: "own"}, &model.Member{TeamID: "t", UserID: "b"})
	for user, want := range map[string]string{"a": "own", "b": "shared"} {
		p, ref := auth.OfKey(s, key("sk-x", func(k *model.Key) { k.TeamID, k.UserID = "t", user }))
		require.Nil(t, ref)
		require.Equal(t, want, p.MemberBudget.ID)
	}
}
