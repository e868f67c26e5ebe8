package cli

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

const referringConfig = `# os.environ/ONLY_A_COMMENT
model_list:
  - model_name: a
    litellm_params: {model: openai/a, api_key: os.environ/USED_KEY}
  - model_name: b
    litellm_params:
      model: openai/b
      api_key: "os.environ/QUOTED_KEY"
      api_base: os.environ/UNSET_BASE
`

func TestAnAppliedFileTravelsWithTheEnvironmentItUsesAndNoMore(t *testing.T) {
	for _, verb := range []string{"apply", "diff"} {
		n := node(t, map[string]string{
			"POST /cluster/config/apply": `{"changed":true,"number":4,"hash":"ab12cd34ef567890"}`,
			"POST /cluster/config/diff":  `{"same":false,"file_hash":"cd","cluster_hash":"ab","cluster_version":3,"changes":[{"path":"model_list[a].rpm","kind":"changed","cluster":"1","file":"2"},{"path":"model_list[b]","kind":"added"},{"path":"x","kind":"removed","cluster":"y"}]}`,
		})
		t.Setenv("USED_KEY", "sk-used")
		t.Setenv("QUOTED_KEY", "sk-quoted")
		t.Setenv("ONLY_A_COMMENT", "no")
		t.Setenv("OPENAI_API_KEY", "unrelated")
		require.NoError(t, os.WriteFile("config.yaml", []byte(referringConfig), 0o600))
		out, said, status := command(t, "config", verb, "config.yaml")
		require.Zero(t, status, said)
		var body struct {
			Text string
			Env  map[string]string
		}
		require.NoError(t, json.Unmarshal([]byte(n.bodies[0]), &body))
		require.Equal(t, referringConfig, body.Text)
		require.Equal(t, map[string]string{"USED_KEY": "sk-used", "QUOTED_KEY": "sk-quoted"}, body.Env)
		require.Contains(t, said, "warning:")
		require.Contains(t, said, "UNSET_BASE")
		require.NotContains(t, out+said, "sk-used")
		if verb == "apply" {
			require.Equal(t, "applied as version 4 (ab12cd34ef56); `tollgate config rollback N` brings an old one back\n", out)
		} else {
			require.Equal(t, "from the cluster's version 3 (ab) to the file (cd):\n~ model_list[a].rpm: 1 -> 2\n+ model_list[b]\n- x: y\n", out)
		}
	}
}

func TestABadFileIsRefusedHereWithEveryFault(t *testing.T) {
	n := node(t, nil)
	require.NoError(t, os.WriteFile("bad.yaml", []byte("model_list: 3\nrouter_settings:\n  timeout: soon\n"), 0o600))
	for _, args := range [][]string{{"config", "apply", "bad.yaml"}, {"config", "diff", "-c", "bad.yaml"}} {
		_, said, status := command(t, args...)
		require.Equal(t, 1, status)
		require.Contains(t, said, "bad.yaml:1:13")
		require.Contains(t, said, "bad.yaml:3:12")
	}
	require.Empty(t, n.asked)
}

func TestAFileThatNeedsOthersIsNotSentAlone(t *testing.T) {
	n := node(t, nil)
	require.NoError(t, os.WriteFile("more.yaml", []byte("litellm_settings: {drop_params: true}\n"), 0o600))
	require.NoError(t, os.WriteFile("config.yaml", []byte("include: [more.yaml]\n"), 0o600))
	_, said, status := command(t, "config", "apply", "config.yaml")
	require.Equal(t, 1, status)
	require.Contains(t, said, "only its own text is sent")
	require.Empty(t, n.asked)
}

func TestANodesOwnVariableDoesNotChooseAFileToSend(t *testing.T) {
	n := node(t, map[string]string{"POST /cluster/config/apply": `{"changed":true,"number":4}`})
	t.Setenv("TOLLGATE_CONFIG", "gone.yaml")
	_, said, status := command(t, "config", "apply")
	require.Zero(t, status, said)
	require.Empty(t, n.bodies[0])
}

func TestExitCodeTellsADifference(t *testing.T) {
	for same, want := range map[string]int{"true": 0, "false": 1} {
		node(t, map[string]string{"GET /cluster/config/diff": `{"same":` + same + `}`})
		_, said, status := command(t, "config", "diff", "--exit-code")
		require.Equal(t, want, status)
		require.Empty(t, said)
		_, _, status = command(t, "config", "diff")
		require.Zero(t, status)
	}
}
