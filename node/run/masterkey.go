package run

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
)

// masterKeyFile keeps a master key that the node made because the operator gave
// none: a gateway is never open.
const masterKeyFile = "master.key"

// masterKey is the operator's key, else the one kept in the data directory,
// else a new one. made says that it is ours to tell.
func masterKey(o Options, given string) (key, path string, err error) {
	if given != "" {
		return given, "", nil
	}
	path = o.path(masterKeyFile)
	raw, err := os.ReadFile(path)
	if err == nil {
		if key = strings.TrimSpace(string(raw)); key == "" {
			return "", "", fmt.Errorf("the kept master key in %s is empty: remove the file to have a new one made", path)
		}
		return key, path, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", "", fmt.Errorf("read the kept master key: %w", err)
	}
	var b [24]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", "", fmt.Errorf("make a master key: %w", err)
	}
	key = "sk-" + base64.RawURLEncoding.EncodeToString(b[:])
	if err := os.WriteFile(path, []byte(key+"\n"), 0o600); err != nil {
		return "", "", fmt.Errorf("keep the master key: %w", err)
	}
	return key, path, nil
}

// sampleMasterKey stands in .env.example; a node that runs with it says so.
const sampleMasterKey = "sk-your-secure-master-key-here"
