package cluster

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/command"
	"tollgate/cluster/members"
	"tollgate/config/state"
)

func TestForwardedCommandsThatWouldStopNodesAreRefused(t *testing.T) {
	set, err := json.Marshal(dataKeySet{ClusterID: "c", Generation: 2, Wrapped: [][]byte{{1}}})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		t       command.Type
		version byte
		payload string
		refused string
	}{
		"a set of data keys":            {command.DataKey, dataKeyVersion, string(set), ""},
		"data keys of a newer form":     {command.DataKey, dataKeyVersion + 1, string(set), "data key version 2"},
		"data keys that do not read":    {command.DataKey, dataKeyVersion, "[", "read data keys"},
		"a set without a key":           {command.DataKey, dataKeyVersion, "{}", "no data key"},
		"membership of a newer form":    {command.Membership, members.Version + 1, `{"op":"start"}`, "membership version 2"},
		"an operation not known here":   {command.Membership, members.Version, `{"op":"dance"}`, `"dance" is not known`},
		"a mutation of a newer form":    {command.Mutation, state.MutationVersion + 1, `{"id":"1"}`, "mutation version"},
		"a mutation without any id":     {command.Mutation, state.MutationVersion, `{}`, "no id"},
		"a mutation that does not read": {command.Mutation, state.MutationVersion, `[`, "read mutation"},
	} {
		t.Run(name, func(t *testing.T) {
			err := answers(nil)[c.t].Check("node", c.version, []byte(c.payload))
			if c.refused == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.refused)
		})
	}
}
