package cluster_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster"
	"tollgate/cluster/command"
	"tollgate/cluster/fsm"
	"tollgate/cluster/members"
	"tollgate/config/model"
	"tollgate/config/secret"
	"tollgate/config/state"
)

// sealedConfig is a config with one secret, as a node proposes it.
func (h *house) sealedConfig(t testing.TB) {
	t.Helper()
	cfg := model.Config{Environment: map[string]string{"KEY": "sk-CANARY"}}
	require.NoError(t, h.box.SealConfig(&cfg, func(string) bool { return true }))
	_, err := h.Mutate(soon(t), model.Mutation{Changes: []model.Change{key("k1"),
		model.Put(model.Configs, &model.ConfigVersion{Number: 1, Config: cfg}, model.Version(0))}})
	require.NoError(t, err)
}

// backup is the state of a cluster that had one key and one secret.
func backup(t testing.TB) []byte {
	t.Helper()
	h := open(t, t.TempDir())
	defer h.shut(t)
	h.sealedConfig(t)
	var first, again bytes.Buffer
	require.NoError(t, h.Backup(soon(t), &first))
	require.NoError(t, h.Backup(soon(t), &again), "also when nothing happened since")
	_, records, err := fsm.Verify(bytes.NewReader(again.Bytes()))
	require.NoError(t, err)
	require.NotZero(t, records)
	return first.Bytes()
}

func offline(t testing.TB, dir, salt string) *cluster.Offline {
	t.Helper()
	id, err := cluster.LoadIdentity(dir)
	require.NoError(t, err)
	t.Cleanup(func() { _ = id.Close() })
	kek, err := secret.LoadKEK(salt, dir)
	require.NoError(t, err)
	return &cluster.Offline{Identity: id, Dir: dir, Box: secret.NewBox(kek),
		Appliers: map[command.Type]fsm.Applier{command.Mutation: state.NewApplier(state.NewStore(nil))}}
}

func TestBackupStartsAClusterOfItsOwnWithKeysAndSecrets(t *testing.T) {
	data := backup(t)
	require.NotContains(t, string(data), "sk-CANARY")
	dir := t.TempDir()
	o := offline(t, dir, "salt")
	adjusted := false
	o.Adjust = func(now time.Time, _ []members.Node) error {
		adjusted = !now.IsZero()
		return nil
	}
	report, err := o.Restore(io.NopCloser(bytes.NewReader(data)))
	require.NoError(t, err)
	require.True(t, adjusted)
	require.NotEmpty(t, report.ClusterID)
	require.NoError(t, o.Identity.Close())

	h := open(t, dir)
	defer h.shut(t)
	require.Equal(t, report.ClusterID, h.Status().ClusterID)
	_, ok := h.store.State().KeyByAlias("alias of k1")
	require.True(t, ok)
	require.Equal(t, "sk-CANARY", h.store.State().Routing.Config.Environment["KEY"])
	_, err = h.Mutate(soon(t), model.Mutation{Changes: []model.Change{key("k2")}})
	require.NoError(t, err)
}

func TestBackupIsRefusedWithoutItsKEKOrWhole(t *testing.T) {
	data := backup(t)
	for name, tc := range map[string]struct {
		salt string
		data []byte
		is   error
	}{
		"wrong KEK": {"other", data, secret.ErrWrongKEK},
		"cut short": {"salt", data[:len(data)-9], fsm.ErrSnapshot},
		"damaged":   {"salt", append(bytes.Clone(data[:len(data)/2]), bytes.Repeat([]byte{0}, len(data)-len(data)/2)...), nil},
		"nothing":   {"salt", nil, fsm.ErrSnapshot},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			_, err := offline(t, dir, tc.salt).Restore(io.NopCloser(bytes.NewReader(tc.data)))
			require.Error(t, err)
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is)
			}
			has, err := cluster.HasState(dir)
			require.NoError(t, err)
			require.False(t, has, "nothing was written")
		})
	}
}

func TestRestoreLeavesAUsedDirectoryAlone(t *testing.T) {
	dir := t.TempDir()
	open(t, dir).shut(t)
	_, err := offline(t, dir, "salt").Restore(io.NopCloser(bytes.NewReader(backup(t))))
	require.ErrorIs(t, err, cluster.ErrNotEmpty)
}

func TestRecoverKeepsEverythingAndRaisesTheGeneration(t *testing.T) {
	dir := t.TempDir()
	h := open(t, dir)
	h.sealedConfig(t)
	require.NoError(t, h.Snapshot(soon(t)))
	_, err := h.Mutate(soon(t), model.Mutation{Changes: []model.Change{key("k2")}}) // in the log alone
	require.NoError(t, err)
	id := h.id.NodeID
	h.shut(t)

	o := offline(t, dir, "salt")
	report, err := o.Recover([]string{id})
	require.NoError(t, err)
	require.EqualValues(t, 1, report.Generation)
	require.NoError(t, o.Identity.Close())

	h = open(t, dir)
	defer h.shut(t)
	for _, alias := range []string{"alias of k1", "alias of k2"} {
		_, ok := h.store.State().KeyByAlias(alias)
		require.True(t, ok, alias)
	}
	require.Equal(t, "sk-CANARY", h.store.State().Routing.Config.Environment["KEY"])
}

func TestRecoverNeedsAStateAndItsKEK(t *testing.T) {
	empty := t.TempDir()
	o := offline(t, empty, "salt")
	_, err := o.Recover([]string{o.Identity.NodeID})
	require.ErrorContains(t, err, "holds no state")

	dir := t.TempDir()
	h := open(t, dir)
	h.sealedConfig(t)
	h.shut(t)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, secret.KEKFile)))
	o = offline(t, dir, "other")
	_, err = o.Recover([]string{o.Identity.NodeID})
	require.ErrorIs(t, err, secret.ErrWrongKEK)
}
