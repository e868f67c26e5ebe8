package join_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/cluster/join"
	"tollgate/cluster/members"
	"tollgate/config/secret"
)

func joined(t *testing.T) (*cluster, *join.Store, string) {
	c := newCluster(t, clusterID)
	dir := t.TempDir()
	store, err := join.OpenStore(dir)
	require.NoError(t, err)
	r := c.request(t, "b", c.token(t, join.Invitation{}))
	r.Key, err = store.Key()
	require.NoError(t, err)
	w, err := join.Join(t.Context(), r)
	require.NoError(t, err)
	require.NoError(t, store.Accept(w))
	return c, store, filepath.Join(dir, join.Dir)
}

func TestFilesOfANodeAreReadBackOrSayWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(t *testing.T, dir string)
		says  string
	}{
		"all is well":          {func(*testing.T, string) {}, ""},
		"no certificate":       {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "node.crt"))) }, "has not joined"},
		"no authority":         {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "ca.crt"))) }, "ca.crt was lost"},
		"a key others can see": {func(t *testing.T, dir string) { require.NoError(t, os.Chmod(filepath.Join(dir, "node.key"), 0o644)) }, "run chmod 600"},
		"another key":          {func(t *testing.T, dir string) { require.NoError(t, os.Remove(filepath.Join(dir, "node.key"))) }, "is not of its key"},
		"a broken key":         {func(t *testing.T, dir string) { write(t, dir, "node.key", "?") }, "no PEM in it"},
		"a broken certificate": {func(t *testing.T, dir string) { write(t, dir, "node.crt", "?") }, "no certificate in PEM"},
		"another authority": {func(t *testing.T, dir string) {
			write(t, dir, "ca.crt", newCluster(t, clusterID).state.State().CA.Cert)
		}, "is not of this authority"},
	} {
		t.Run(name, func(t *testing.T) {
			_, store, dir := joined(t)
			c.spoil(t, dir)
			_, err := store.Identity("b", time.Now())
			if c.says == "" {
				require.NoError(t, err)
				for file, mode := range map[string]os.FileMode{"node.key": 0o600, "gossip.keys": 0o600, "node.crt": 0o644} {
					info, err := os.Stat(filepath.Join(dir, file))
					require.NoError(t, err)
					require.Equal(t, mode, info.Mode().Perm(), file)
				}
				left, err := filepath.Glob(filepath.Join(dir, "*.new"))
				require.NoError(t, err)
				require.Empty(t, left)
				return
			}
			require.ErrorContains(t, err, c.says)
		})
	}
}

func write(t *testing.T, dir, name, text string) {
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
}

func TestCertificateOfAnotherNodeIsRefused(t *testing.T) {
	_, store, _ := joined(t)
	_, err := store.Identity("c", time.Now())
	require.ErrorContains(t, err, "this is node c")
}

func TestExpiredCertificateSaysHowToMendIt(t *testing.T) {
	_, store, _ := joined(t)
	id, err := store.Identity("b", time.Now().AddDate(0, 0, 31))
	var expired *join.ExpiredError
	require.ErrorAs(t, err, &expired)
	require.ErrorContains(t, err, "join again with a token")
	require.Equal(t, "b", id.NodeID)
	_, err = store.Identity("b", time.Now().AddDate(0, 0, -1))
	require.ErrorContains(t, err, "set the clock")
}

func TestClusterThatWasOffForTooLongMendsItsCertificatesAlone(t *testing.T) {
	c, store, _ := joined(t)
	spare := func(text string) *secret.Box {
		kek, err := secret.KEKFromText(text)
		require.NoError(t, err)
		return secret.NewBox(kek)
	}
	_, err := store.Mend(clusterID, "b", spare("kek of "+clusterID), time.Now())
	require.ErrorIs(t, err, join.ErrNotJoined)
	require.NoError(t, store.KeepAuthority(clusterID, c.state.State(), c.box, spare("kek of "+clusterID)))

	later := time.Now().AddDate(0, 2, 0)
	_, err = store.Mend(clusterID, "b", spare("another"), later)
	require.ErrorIs(t, err, secret.ErrWrongKEK)
	id, err := store.Mend(clusterID, "b", spare("kek of "+clusterID), later)
	require.NoError(t, err)
	require.True(t, id.NotAfter.After(later))
	again, err := store.Identity("b", later)
	require.NoError(t, err)
	require.Equal(t, id.NotAfter, again.NotAfter)
}

func TestDamagedGossipKeysAndPeersAreNamed(t *testing.T) {
	_, store, dir := joined(t)
	write(t, dir, "gossip.keys", `{"form":1,"primary":"x","keys":[{"id":"x","key":"AAAA"}]}`)
	_, _, err := store.Keys()
	require.ErrorContains(t, err, "key x is damaged")
	write(t, dir, "peers.json", `{"form":9}`)
	_, err = store.Peers()
	require.ErrorContains(t, err, "form 9 is of another release")
	write(t, dir, "peers.json", `{`)
	_, err = store.Peers()
	require.ErrorContains(t, err, "restore the file")
}

func TestFoundingIsRepeatedWithoutHarm(t *testing.T) {
	c := newCluster(t, clusterID)
	index, ca := c.index, *c.state.State().CA
	again, err := join.Found(t.Context(), c.founder())
	require.NoError(t, err)
	require.Equal(t, c.self.NotAfter, again.NotAfter)
	require.Equal(t, index, c.index, "nothing to do")
	require.Equal(t, ca, *c.state.State().CA)

	f := c.founder()
	f.Store = newStore(t) // the files are lost
	fresh, err := join.Found(t.Context(), f)
	require.NoError(t, err)
	require.NotEqual(t, c.self.Certificate.Leaf.SerialNumber, fresh.Certificate.Leaf.SerialNumber)
	keys, primary, err := f.Store.Keys()
	require.NoError(t, err)
	require.Equal(t, keys[0].ID, primary)
}

func TestAuthorityOfTheStateHidesItsKey(t *testing.T) {
	c := newCluster(t, clusterID)
	ca := c.state.State().CA
	require.True(t, secret.IsSealed(ca.SealedKey))
	_, err := join.OpenAuthority(ca, newBox(t, "another"))
	require.Error(t, err)
	other := newCluster(t, clusterID)
	mixed := members.CA{Cert: other.state.State().CA.Cert, SealedKey: ca.SealedKey}
	_, err = join.OpenAuthority(&mixed, c.box)
	require.ErrorContains(t, err, "do not belong together")
	a, err := join.OpenAuthority(ca, c.box)
	require.NoError(t, err)
	_, err = a.Sign([]byte("?"), "b", time.Now())
	require.Error(t, err)
	require.False(t, errors.Is(err, join.ErrNotJoined))
}
