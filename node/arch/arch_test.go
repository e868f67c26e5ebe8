// Package arch holds the test that keeps the rooms' import directions.
package arch

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// trees lists which of our package trees each may import.
var trees = map[string][]string{
	"config":  {"config"},
	"limiter": {"limiter", "config"},
	"ledger":  {"ledger", "config"},
	"cluster": {"cluster", "config"},
	"proxy":   {"proxy", "limiter", "ledger", "config"},
	"bench":   {"bench", "config"},
}

// only lists the modules that belong to one room each.
var only = map[string][]string{
	"github.com/jackc/pgx":            {"ledger/flush", "ledger/query"},
	"github.com/valyala/fasthttp":     {"proxy", "node", "bench"},
	"github.com/hashicorp/raft":       {"cluster"},
	"github.com/hashicorp/memberlist": {"cluster"},
	"github.com/cockroachdb/pebble":   {"cluster/raftlog", "ledger/store"},
	"github.com/redis/go-redis":       {"proxy/cache"},
	"github.com/maypok86/otter":       {"proxy/cache"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "tollgate/...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []pkg
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		all = append(all, p)
	}
}

func inside(path string, trees []string) bool {
	for _, tree := range trees {
		if path == tree || strings.HasPrefix(path, tree+"/") {
			return true
		}
	}
	return false
}

func TestRoomsImportOnlyDownwards(t *testing.T) {
	for _, p := range packages(t) {
		room := strings.TrimPrefix(p.ImportPath, "tollgate/")
		tree, _, _ := strings.Cut(room, "/")
		allowed, bound := trees[tree]
		for _, imp := range p.Imports {
			if target, ours := strings.CutPrefix(imp, "tollgate/"); ours && bound && !inside(target, allowed) {
				t.Errorf("%s imports %s: %s may import only %s", room, target, tree, strings.Join(allowed, ", "))
			}
			for module, rooms := range only {
				if strings.HasPrefix(imp, module) && !inside(room, rooms) {
					t.Errorf("%s imports %s, which belongs to %s", room, imp, strings.Join(rooms, ", "))
				}
			}
		}
	}
}
