package registry_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/config/model"
	"tollgate/proxy/provider"
	"tollgate/proxy/provider/openai"
	"tollgate/proxy/provider/registry"
)

func TestEveryChatProviderServesMessages(t *testing.T) {
	r := registry.New(nil)
	for name := range registry.Defaults() {
		_, chat := r.Find(name, provider.OpChat)
		p, messages := r.Find(name, provider.OpMessages)
		require.Equal(t, chat, messages, name)
		if messages {
			require.Equal(t, name, p.Name())
		}
	}
	_, ok := r.Find("groq", provider.OpEmbedding)
	require.False(t, ok, "what a provider lacks is not found")
	_, ok = r.Find("nobody", provider.OpChat)
	require.False(t, ok)
}

func TestOperatorsRowsWinAndFollowTheConfiguration(t *testing.T) {
	var rows []model.OpenAIRow
	r := registry.New(func() []model.OpenAIRow { return rows })
	_, ok := r.Find("acme", provider.OpChat)
	require.False(t, ok)

	rows = []model.OpenAIRow{{Name: "acme", BaseURL: "https://a"}, {Name: "groq", BaseURL: "https://b"}}
	first, ok := r.Find("acme", provider.OpChat)
	require.True(t, ok)
	require.Equal(t, "acme", first.Name())
	again, _ := r.Find("acme", provider.OpChat)
	require.Same(t, first, again, "made once per configuration")
	p, ok := r.Find("groq", provider.OpEmbedding)
	require.True(t, ok, "the operator's row has no restriction")
	require.Equal(t, "https://b", p.(*openai.Provider).Row().BaseURL)
	_, ok = r.Find("acme", provider.OpMessages)
	require.True(t, ok)

	rows = []model.OpenAIRow{{Name: "acme", BaseURL: "https://c"}}
	p, ok = r.Find("acme", provider.OpChat)
	require.True(t, ok)
	require.Equal(t, "https://c", p.(*openai.Provider).Row().BaseURL)
	_, ok = r.Find("groq", provider.OpEmbedding)
	require.False(t, ok, "the built-in row is back")
}

func TestDefaultsNameKeysAndBases(t *testing.T) {
	d := registry.Defaults()
	require.Equal(t, []string{"OPENAI_API_KEY"}, d["openai"].KeyEnv)
	require.Equal(t, "https://api.anthropic.com", d["anthropic"].Base)
	require.True(t, d["hosted_vllm"].KeyOptional)
	require.False(t, d["groq"].KeyOptional)
}
