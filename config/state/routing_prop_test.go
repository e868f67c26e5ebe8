package state_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"tollgate/config/model"
	"tollgate/config/state"
	"tollgate/config/wildcard"
)

func drawConfig(t *rapid.T) *model.Config {
	names := rapid.SampledFrom([]string{"a", "b", "a/*", "a/b*", "*b", "x/*/y", "*"})
	models := rapid.SampledFrom([]string{`"openai/gpt-4o"`, `"openai/*"`, `"groq/*"`, `"*"`, `"nobody/x"`, `"claude-3"`, `5`, `"a*"`})
	cfg := &model.Config{}
	n := rapid.IntRange(0, 8).Draw(t, "deployments")
	for i := range n {
		m := models.Draw(t, "model")
		cfg.Deployments = append(cfg.Deployments, model.Deployment{
			ID: string(rune('A' + i)), Group: names.Draw(t, "group"), Params: model.Params{"model": []byte(m)}})
	}
	cfg.Router.Aliases = map[string]model.AliasTarget{}
	for _, alias := range rapid.SliceOfN(rapid.SampledFrom([]string{"al", "b", "be"}), 0, 2).Draw(t, "aliases") {
		cfg.Router.Aliases[alias] = model.AliasTarget{Groups: rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "a/z", "A", "gone"}), 1, 3).Draw(t, "targets")}
	}
	return cfg
}

func TestEveryResolvedNameCanBeCalledAndSharesSumToOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		r, _ := state.Compile(cfg, nil, state.CompileDeps{Providers: providers(), Env: keys("OPENAI_API_KEY")})
		name := rapid.OneOf(rapid.SampledFrom([]string{"a", "al", "a/b", "a/bc", "A", "openai/x", "gpt-9", "x/1/y"}), rapid.StringMatching(`[abxy/*]{0,6}`)).Draw(t, "name")
		target, ok := r.Resolve(name)
		if !ok {
			return
		}
		sum := 0.0
		for _, c := range target.Deployments() {
			sum += c.Share
			d := c.Deployment
			require.NotEmpty(t, d.Provider)
			require.NotEmpty(t, c.Model)
			require.False(t, wildcard.Is(c.Model), "no star is ever sent")
			require.Equal(t, c.Model, d.Model)
			require.Equal(t, d.Provider+"/"+d.Model, d.FullModel)
			require.True(t, d.APIKey != "" || d.Problem != "", "without a key there is a reason")
		}
		require.InDelta(t, 1, sum, 1e-9)
	})
}

func TestCompilingTwiceGivesTheSameRouting(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := drawConfig(t)
		deps := state.CompileDeps{Providers: providers(), Env: keys("OPENAI_API_KEY", "GROQ_API_KEY")}
		one, w1 := state.Compile(cfg, nil, deps)
		two, w2 := state.Compile(cfg, nil, deps)
		require.Equal(t, w1, w2)
		require.Equal(t, one.VisibleModels(), two.VisibleModels())
		for _, name := range append(one.VisibleModels(), "a/b", "a/bcd", "gpt-4o", "b") {
			require.Equal(t, found(one, name), found(two, name))
		}
	})
}

func TestLongerPatternsComeFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, _ := state.Compile(drawConfig(t), nil, state.CompileDeps{Providers: providers(), Env: all()})
		for i := 1; i < len(r.Patterns); i++ {
			require.GreaterOrEqual(t, len(r.Patterns[i-1].Name), len(r.Patterns[i].Name))
		}
		if n := len(r.Patterns); n > 0 {
			require.True(t, strings.Contains(r.Patterns[n-1].Name, "*"))
		}
	})
}
