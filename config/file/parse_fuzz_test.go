package file_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"tollgate/config/file"
)

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml", "../config.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, path := range files {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := file.Parse("config.yaml", data, usual, read)
		if err != nil {
			var faults file.Findings
			if !errors.As(err, &faults) || len(faults) == 0 {
				t.Fatalf("a refusal without findings: %v", err)
			}
			return
		}
		text, err := json.Marshal(l.Config)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := file.Parse("config.yaml", data, usual, read)
		if err != nil || again.Hash != l.Hash {
			t.Fatalf("the same bytes read twice differ: %v", err)
		}
		ids := map[string]bool{}
		for _, d := range l.Config.Deployments {
			if d.ID == "" || d.Group == "" || d.Params["model"] == nil || ids[d.ID] {
				t.Fatalf("unusable deployment %+v in %s", d, text)
			}
			ids[d.ID] = true
		}
	})
}

func FuzzParseDotEnv(f *testing.F) {
	f.Add([]byte("A=1\nexport B='x'\nC=\"a\nb\" # c\nD=${A:-x}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		vars, err := file.ParseDotEnv(".env", data)
		if (err == nil) == (vars == nil) {
			t.Fatal("neither variables nor an error")
		}
	})
}
