// Package file reads a gateway configuration in LiteLLM's config.yaml format:
// environment references, includes, settings and deployments, and says of every
// mistake where it stands and how to mend it. It does not choose providers,
// open secrets, set prices or talk to anybody; what it returns is plain data
// for the replicated state.
package file

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tollgate/config/model"
)

// Env looks a variable up; the second result is false when it is not set.
type Env func(name string) (string, bool)

// ReadFile gives the content of a file that the configuration names.
type ReadFile func(path string) ([]byte, error)

// Loaded is a configuration that was read.
type Loaded struct {
	Config *model.Config
	// MasterKey is the admin key in plain text. It stands nowhere in Config,
	// which carries only its hash.
	MasterKey string
	// Warnings do not stop anything; Skipped says which model_list entries
	// were left out and why.
	Warnings []Finding
	Skipped  []Finding
	// Hash is of the resolved content: two files that mean the same hash alike,
	// and a changed environment variable changes it.
	Hash string
	// Exports are the environment_variables, resolved, for the process.
	Exports map[string]string
}

// Load reads the file at path. Paths inside it are relative to its folder.
func Load(path string, env Env) (*Loaded, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	dir := filepath.Dir(path)
	return Parse(path, data, env, func(name string) ([]byte, error) {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return os.ReadFile(name)
	})
}

// Parse reads a configuration from memory. read may be nil: the configuration
// may then name no other file. The error is a Findings with every fault.
func Parse(name string, data []byte, env Env, read ReadFile) (*Loaded, error) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	p := &parser{env: env, read: read, out: &Loaded{Config: &model.Config{}}}
	root := p.tree(name, data)
	if root != nil {
		p.sections(root)
	}
	var faults Findings
	for _, f := range p.found {
		switch f.Level {
		case Fault:
			faults = append(faults, f)
		case SkippedEntry:
			p.out.Skipped = append(p.out.Skipped, f)
		default:
			p.out.Warnings = append(p.out.Warnings, f)
		}
	}
	if len(faults) > 0 {
		faults.sort()
		return nil, faults
	}
	h, err := Hash(p.out.Config)
	if err != nil {
		return nil, err
	}
	p.out.Hash = h
	return p.out, nil
}

// Hash is over the JSON form, whose maps are sorted, so it does not depend on
// the order or the comments of the file. The master key is no part of it: it
// comes with the file or beside it, and is compared by itself.
func Hash(c *model.Config) (string, error) {
	content := *c
	content.General.MasterKeyHash = ""
	b, err := json.Marshal(&content)
	if err != nil {
		return "", fmt.Errorf("hash config: %w", err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// parser is one reading in progress.
type parser struct {
	sink
	env  Env
	read ReadFile
	out  *Loaded
	// Callbacks and missing variables already warned of: one warning each,
	// however often they are named.
	callbacks map[string]bool
	missing   map[string]bool
	// own are the callbacks of callback_settings that run here, by name.
	own map[string]*ownCallback
	// cache is what has been said of kept answers.
	cache caching
}

// tree parses the file and its includes and resolves references. An empty file
// is an empty map; nil means that no tree can be made.
func (p *parser) tree(name string, data []byte) *value {
	root, err := parseYAML(name, data)
	if err != nil {
		p.addError(name, err)
		return nil
	}
	if root == nil || root.kind == kindNull {
		root = &value{kind: kindMap, file: name}
	}
	if root.kind != kindMap {
		p.fault(root, "", "a configuration is a map of sections", "start with model_list:, litellm_settings: or general_settings:")
		return nil
	}
	p.include(root, map[string]bool{name: true}, 0)
	p.exports(root)
	return root
}

func (p *parser) addError(file string, err error) {
	var fs Findings
	if errors.As(err, &fs) {
		p.found = append(p.found, fs...)
		return
	}
	p.found = append(p.found, Finding{File: file, Level: Fault, Problem: err.Error()})
}

// maxIncludes bounds chains of includes.
const maxIncludes = 8

// include lays the files named under include over root: lists grow, everything
// else is replaced, as LiteLLM does it.
func (p *parser) include(root *value, seen map[string]bool, depth int) {
	v := root.take("include")
	if v == nil || v.kind == kindNull {
		return
	}
	if v.kind != kindList {
		p.fault(v, "include", "want a list of files", "write include: [models.yaml]")
		return
	}
	for i, item := range v.items {
		path := at("include", i)
		switch {
		case item.kind != kindText:
			p.fault(item, path, "want the path of a file", "")
		case p.read == nil:
			p.fault(item, path, "files cannot be included here", "put everything into one file")
		case seen[item.text]:
			p.fault(item, path, "file "+quote(item.text)+" is included twice", "remove one of the two lines")
		case depth == maxIncludes:
			p.fault(item, path, "includes are nested too deep", "include the file from the main configuration")
		default:
			seen[item.text] = true
			p.includeFile(root, item, path, seen, depth)
		}
	}
}

func (p *parser) includeFile(root, item *value, path string, seen map[string]bool, depth int) {
	data, err := p.read(item.text)
	if err != nil {
		p.fault(item, path, "file "+quote(item.text)+" cannot be read: "+err.Error(), "paths are relative to the main file's folder")
		return
	}
	inc, err := parseYAML(item.text, data)
	if err != nil {
		p.addError(item.text, err)
		return
	}
	if inc == nil || inc.kind == kindNull {
		return
	}
	if inc.kind != kindMap {
		p.fault(inc, "", "an included file is a map of sections", "")
		return
	}
	p.include(inc, seen, depth+1)
	root.faults = append(root.faults, inc.faults...)
	for _, f := range inc.fields {
		old := root.get(f.name)
		if old != nil && old.kind == kindList && f.v.kind == kindList {
			old.items = append(old.items, f.v.items...)
			continue
		}
		root.set(f)
	}
}
