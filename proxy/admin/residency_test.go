package admin_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/proxy/auth"
)

func TestRegionsAreWordsEachOnce(t *testing.T) {
	w := newWorld(t, nil)
	for _, bad := range []string{`[""]`, `["eu",""]`, `["e u"]`, `["eu\n"]`, `[" eu"]`, `"eu"`, `[1]`, `["eu\u0000"]`} {
		w.post("/key/generate", `{"data_regions":`+bad+`}`).refused(422)
		w.post("/team/new", `{"data_regions":`+bad+`}`).refused(422)
		w.post("/organization/new", `{"organization_alias":"a","data_regions":`+bad+`}`).refused(422)
	}
	_, hash := w.key(`{"data_regions":["eu","us","eu"]}`)
	k, _ := w.store.State().Keys.Get(hash)
	require.Equal(t, []string{"eu", "us"}, k.DataRegions)
	w.post("/key/update", `{"key":"`+hash+`","data_regions":[]}`).ok()
	k, _ = w.store.State().Keys.Get(hash)
	require.Empty(t, k.DataRegions)
}

func TestRegionsThatNobodyIsInAreTakenWithAWarning(t *testing.T) {
	w := newWorld(t, &model.Config{Deployments: []model.Deployment{{ID: "d", Group: "m", Params: model.Params{
		"model": json.RawMessage(`"openai/gpt-4o"`), "region_name": json.RawMessage(`"eu-west-3"`)}}}})
	warned := []any{"data_regions: no node and no deployment is in a region named erope"}
	require.NotContains(t, w.post("/key/generate", `{"data_regions":["eu","eu-west-3"]}`).ok(), "warnings")
	require.Equal(t, warned, w.post("/key/generate", `{"data_regions":["eu","erope"]}`).ok()["warnings"])
	require.Equal(t, warned, w.post("/team/new", `{"team_id":"t","data_regions":["erope"]}`).ok()["warnings"])
	require.Equal(t, warned, w.post("/team/update", `{"team_id":"t","data_regions":["erope"]}`).ok()["warnings"])
	require.Equal(t, warned, w.post("/organization/new", `{"organization_id":"o","organization_alias":"a","data_regions":["erope"]}`).ok()["warnings"])
	require.Equal(t, warned, w.call(master, "PATCH", "/organization/update", `{"organization_id":"o","data_regions":["erope"]}`).ok()["warnings"])
	require.NotContains(t, w.post("/team/update", `{"team_id":"t","team_alias":"x"}`).ok(), "warnings")
}

func TestAHomeOutsideTheDataRegionsIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/organization/new", `{"organization_id":"o","organization_alias":"a","data_regions":["eu","us"]}`).ok()
	w.post("/team/new", `{"team_id":"t","organization_id":"o","data_regions":["us","ap"]}`).ok()
	refused := func(path, body, says string) {
		t.Helper()
		require.Contains(t, w.post(path, body).refused(400), says)
	}
	refused("/key/generate", `{"home_region":"us","data_regions":["eu"]}`, "home_region=us is outside the data_regions of the key, its team and its organization, which allow only eu")
	refused("/key/generate", `{"home_region":"eu","team_id":"t"}`, "allow only us")
	refused("/key/generate", `{"home_region":"eu","team_id":"t","data_regions":["eu"]}`, "have no region in common")
	_, hash := w.key(`{"home_region":"us","team_id":"t"}`)
	refused("/key/update", `{"key":"`+hash+`","home_region":"ap"}`, "allow only us")
	refused("/key/update", `{"key":"`+hash+`","data_regions":["eu","ap"]}`, "have no region in common")
	w.post("/key/update", `{"key":"`+hash+`","data_regions":["eu","us"]}`).ok()
	w.post("/team/update", `{"team_id":"t","data_regions":["ap"]}`).ok() // keys keep a home that they cannot be used in
	w.post("/key/update", `{"key":"`+hash+`","key_alias":"x"}`).ok()
	w.post("/key/update", `{"key":"`+hash+`","home_region":null}`).ok()
}

func TestAKeyWithRegionsMakesNoKeyThatGoesFurther(t *testing.T) {
	w := newWorld(t, nil)
	w.post("/user/new", `{"user_id":"jane","user_role":"internal_user","auto_create_key":false}`).ok()
	plain, hash := w.key(`{"user_id":"jane","data_regions":["eu"]}`)
	made := w.call(plain, "POST", "/key/generate", `{}`).ok()
	k, _ := w.store.State().Keys.Get(auth.Hash([]byte(made["key"].(string))))
	require.Equal(t, []string{"eu"}, k.DataRegions, "as the caller's")
	for _, wider := range []string{`["us"]`, `["eu","us"]`} {
		require.Contains(t, w.call(plain, "POST", "/key/generate", `{"data_regions":`+wider+`}`).refused(403), "may not go beyond")
	}
	for _, wider := range []string{`["us"]`, `["eu","us"]`, `[]`, `null`} {
		w.call(plain, "POST", "/key/update", `{"key":"`+hash+`","data_regions":`+wider+`}`).refused(403)
		w.call(plain, "POST", "/key/update", `{"key":"`+k.Hash+`","data_regions":`+wider+`}`).refused(403)
	}
}
