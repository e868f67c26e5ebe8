package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tollgate/node/e2e/fake"
)

func TestABackupBecomesANewClusterWithTheRightSaltKeyAlone(t *testing.T) {
	t.Parallel()
	const budget, salt = 0.1, "LITELLM_SALT_KEY=the-salt-key-of-the-backup"
	f := fake.Start(t)
	c := startCluster(t, 3, clusterOptions{config: configFor(f, ""), env: []string{salt}})
	key := c.nodes[0].newKey(t, fmt.Sprintf(`"max_budget":%v,"key_alias":"of-the-backup"`, budget))
	var paid float64
	for i := range 9 {
		if a := c.nodes[i%3].chat(t, key, "gpt", "fake:words=100", `"max_tokens":100`); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		paid += onePaid
	}
	path := backupOf(t, c.followers()[0])
	late := c.nodes[0].newKey(t, "") // it is not in the backup

	// A backup that is not whole is refused by name, wherever it is damaged.
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string]func() []byte{
		"a bit":    func() []byte { b := append([]byte{}, whole...); b[len(b)/2] ^= 1; return b },
		"its end":  func() []byte { return whole[:len(whole)-20] },
		"its form": func() []byte { return []byte("not a backup at all") },
	} {
		bad := writeFile(t, "bad.snapshot", string(damage()))
		for _, args := range [][]string{{"snapshot", "verify", bad}, {"restore", bad, "--data-dir", filepath.Join(t.TempDir(), "d")}} {
			status, said := run(t, options{env: []string{salt}}, args...)
			if status == 0 || !strings.Contains(said, "bad.snapshot") {
				t.Errorf("%s is damaged, and %v: %d %s", name, args[:1], status, said)
			}
		}
	}

	// Where a node lives already nothing is restored.
	status, said := run(t, options{env: []string{salt}}, "restore", path, "--data-dir", c.nodes[0].o.dir)
	sentence(t, status, said, c.nodes[0].o.dir)

	// Without the right salt key nothing is opened, and the directory stays good for
	// a second try.
	dir := filepath.Join(t.TempDir(), "restored")
	for _, wrong := range [][]string{nil, {"LITELLM_SALT_KEY=another"}} {
		status, said := run(t, options{env: wrong}, "restore", path, "--data-dir", dir)
		sentence(t, status, said, "LITELLM_SALT_KEY")
	}
	status, said = run(t, options{env: []string{salt}}, "restore", path, "--data-dir", dir)
	if status != 0 || !strings.Contains(said, "new cluster") || !strings.Contains(said, "tollgate serve --data-dir "+dir) {
		t.Fatalf("restore: %d\n%s", status, said)
	}

	// The new cluster is one of its own: the old one goes on beside it.
	n := &cluster{t: t, o: c.o}
	o := n.options(0)
	o.config, o.dir = "", dir
	n.add(o)
	unchanged(t, n, 1)
	unchanged(t, c, 3)
	mine, err := n.nodes[0].status()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := c.nodes[0].status()
	if err != nil {
		t.Fatal(err)
	}
	if mine.ClusterID == theirs.ClusterID || mine.ConfigHash != theirs.ConfigHash {
		t.Errorf("restored %+v\nfrom %+v", mine, theirs)
	}
	a := n.nodes[0].chat(t, key, "gpt", "from-the-restored", "")
	if a.status != 200 || f.Last("from-the-restored").Header.Get("Authorization") != "Bearer sk-upstream-openai" {
		t.Errorf("a key of the backup: %d %s", a.status, a.body)
	}
	paid += 10*0.000001 + 0.0002 // as much at most for a short answer
	if a := n.nodes[0].chat(t, late, "gpt", "hi", ""); a.status != 401 {
		t.Errorf("a key that was made after the backup: %d %s", a.status, a.body)
	}
	// It grows like any other, and its budgets know what was spent.
	n.join()
	n.join()
	unchanged(t, n, 3)
	paid += spendAll(t, key, n.nodes...)
	if paid > budget+1e-9 {
		t.Errorf("%v of %v was spent", paid, budget)
	}
	t.Logf("%.4f of %v could be spent before and after", paid, budget)
	if keys := n.nodes[2].get(t, "/key/list?return_full_object=true", masterKey); !strings.Contains(keys.body, "of-the-backup") {
		t.Errorf("the key is not listed: %d %s", keys.status, keys.body)
	}
}
