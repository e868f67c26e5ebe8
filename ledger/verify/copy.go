package verify

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Copy makes a copy of a ledger that no process uses, so that it can be opened
// without a mark on the original: opening books what the last run left. Files
// that are never changed again are shared with it, so it takes little room where
// both directories are on one disk.
func Copy(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("copy the ledger: %w", err)
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return fmt.Errorf("copy the ledger: %w", err)
		}
		target := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			err = os.MkdirAll(target, 0o700)
		case rel == "ballast" || d.Name() == "LOCK" || !d.Type().IsRegular():
		case strings.HasSuffix(rel, ".sst"):
			if err = os.Link(path, target); err != nil {
				err = copyFile(path, target)
			}
		default:
			err = copyFile(path, target)
		}
		if err != nil {
			return fmt.Errorf("copy the ledger: %w", err)
		}
		return nil
	})
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}
