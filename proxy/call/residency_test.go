package call_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/ledger/store"
)

// withRegions puts the caller's key into a team of an organization, each with
// its data_regions.
func withRegions(organization, team, key []string) option {
	return func(b *state.Builder, cfg *model.Config) {
		b.Put(&model.Organization{ID: "o", DataRegions: organization}, &model.Team{ID: "t", OrganizationID: "o", DataRegions: team})
		withKey(func(k *model.Key) { k.TeamID, k.DataRegions = "t", key })(b, cfg)
		cfg.General.StorePrompts = true
	}
}

const telling = `{"model":"m","messages":[{"role":"user","content":"my secret"}],"user":"jane","metadata":{"note":"private"}}`

func TestANodeOutsideTheRegionsOfACallerKeepsNothingOfTheCall(t *testing.T) {
	for _, tc := range []struct {
		name                    string
		organization, team, key []string
		says                    string
	}{
		{"key", nil, nil, []string{"eu"}, "the key (eu) allow only eu"},
		{"team", nil, []string{"eu", "us"}, nil, "team t (eu, us) allow only eu, us"},
		{"organization", []string{"eu"}, nil, nil, "organization o (eu)"},
		{"what all have in common", []string{"here", "eu"}, []string{"eu", "us"}, nil, "allow only eu."},
		{"nothing in common", []string{"here"}, nil, []string{"eu"}, "organization o (here), the key (eu) have no region in common"},
		{"a key does not widen", []string{"eu"}, nil, []string{"eu", "here"}, "allow only eu."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, withRegions(tc.organization, tc.team, tc.key))
			for _, text := range []string{telling, `{"stream":true,` + telling[1:], `{broken`, `{"model":"none"}`} {
				a := w.post(text)
				require.Equal(t, 403, a.status, a.body)
				require.Contains(t, a.body, `"code":"region_not_allowed"`)
				require.Contains(t, a.body, tc.says)
			}
			require.Zero(t, w.asked.Load())
			rows := w.entries()
			require.NotEmpty(t, rows)
			for _, e := range rows {
				require.NoError(t, w.ledger.LoadBodies(e))
				require.Empty(t, string(e.Messages)+string(e.Request)+string(e.Response)+string(e.Metadata)+e.IP+e.RequestUser+e.EndUser)
				require.Equal(t, "region_not_allowed", e.ErrorCode)
				require.NotEmpty(t, e.DataRegions, "readers know the rule")
			}
		})
	}
}

func TestANodeInsideServesAndItsRowCarriesTheRule(t *testing.T) {
	w := newWorld(t, withRegions([]string{"eu", "here"}, nil, []string{"here"}), func(_ *state.Builder, cfg *model.Config) {
		for i := range cfg.Deployments {
			cfg.Deployments[i].Params["region_name"] = []byte(`"here"`)
		}
	})
	w.serve(answers)
	a := w.post(telling)
	require.Equal(t, 200, a.status, a.body)
	e := w.only()
	require.Equal(t, []string{"here"}, e.DataRegions)
	require.Equal(t, store.Success, e.Status)
	require.NotEmpty(t, e.Metadata)
}

func TestACallWithoutADeploymentInsideIsToldWhereTheyAre(t *testing.T) {
	in := func(regions map[string]string) option {
		return func(_ *state.Builder, cfg *model.Config) {
			for i := range cfg.Deployments {
				if r := regions[cfg.Deployments[i].Group]; r != "" {
					cfg.Deployments[i].Params["region_name"] = []byte(`"` + r + `"`)
				}
			}
		}
	}
	endUser := func(region string) option {
		return func(b *state.Builder, _ *model.Config) { b.Put(&model.EndUser{ID: "jane", AllowedRegion: region}) }
	}
	for _, tc := range []struct {
		name    string
		options []option
		says    string // "": the call is served
	}{
		{"inside", []option{withRegions(nil, nil, []string{"here"}), in(map[string]string{"m": "here"})}, ""},
		{"elsewhere", []option{withRegions(nil, nil, []string{"here"}), in(map[string]string{"m": "us"})}, "(here); its deployments are in us."},
		{"nobody knows where", []option{withRegions(nil, nil, []string{"here"})}, "have no region set"},
		{"an end user's region, exactly", []option{in(map[string]string{"m": "eu"}), endUser("eu")}, ""},
		{"an end user's region, a part of it", []option{in(map[string]string{"m": "eu-west-1"}), endUser("eu")}, ""},
		{"an end user elsewhere", []option{in(map[string]string{"m": "us-east-1"}), endUser("eu")}, "allowed_model_region of end user jane (eu); its deployments are in us-east-1."},
		{"an end user and a rule", []option{withRegions(nil, nil, []string{"here", "us"}), in(map[string]string{"m": "us"}), endUser("eu")}, "(eu) and in a region that the call's data may be in (here, us)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := newWorld(t, tc.options...)
			w.serve(answers)
			a := w.post(telling)
			if tc.says == "" {
				require.Equal(t, 200, a.status, a.body)
				return
			}
			require.Equal(t, 403, a.status, a.body)
			require.Contains(t, a.body, `"code":"region_not_allowed"`)
			require.Contains(t, a.body, tc.says)
			require.Zero(t, w.asked.Load())
		})
	}
}
