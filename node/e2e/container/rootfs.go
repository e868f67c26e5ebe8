package container

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// rootfs collects the files of an image: copies of this machine's, with links
// followed, and some written here.
type rootfs struct {
	entries map[string]entry
	errs    []error
}

type entry struct {
	from string // a file of this machine
	text string // or what the file says
	mode int64
	dir  bool
	uid  int
}

func newRootfs() *rootfs { return &rootfs{entries: map[string]entry{}} }

// write adds a file with a text.
func (r *rootfs) write(name string, mode int64, text string) {
	r.entries[name] = entry{text: text, mode: mode}
}

// folder adds an empty folder that belongs to a user.
func (r *rootfs) folder(name string, mode int64, uid int) {
	r.entries[name] = entry{dir: true, mode: mode, uid: uid}
}

// copy adds a file of this machine, or a folder with all that is in it.
func (r *rootfs) copy(name string) { r.copyAs(name, name) }

func (r *rootfs) copyAs(from, name string) {
	info, err := os.Stat(from) // follows links
	if err != nil {
		r.errs = append(r.errs, err)
		return
	}
	if !info.IsDir() {
		r.entries[name] = entry{from: from, mode: int64(info.Mode().Perm())}
		return
	}
	list, err := os.ReadDir(from)
	if err != nil {
		r.errs = append(r.errs, err)
		return
	}
	for _, e := range list {
		r.copyAs(filepath.Join(from, e.Name()), path.Join(name, e.Name()))
	}
}

// program adds a program of this machine under its own path, with its libraries.
func (r *rootfs) program(names ...string) {
	for _, name := range names {
		if !strings.Contains(name, "/") {
			found, err := look(name)
			if err != nil {
				r.errs = append(r.errs, err)
				continue
			}
			name = found
		}
		r.copy(name)
		r.libraries(name)
	}
}

// libraries adds what the dynamic linker would load for a program.
func (r *rootfs) libraries(name string) {
	out, err := exec.Command("ldd", name).Output()
	if err != nil {
		return // linked statically, or a script
	}
	for line := range strings.SplitSeq(string(out), "\n") {
		for _, word := range strings.Fields(line) {
			if strings.HasPrefix(word, "/") {
				r.copy(word)
			}
		}
	}
}

// tar writes the files in an order in which folders come before what they hold.
func (r *rootfs) tar(to io.Writer) error {
	if err := errors.Join(r.errs...); err != nil {
		return err
	}
	for name := range r.entries {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if _, ok := r.entries[dir]; !ok {
				r.entries[dir] = entry{dir: true, mode: 0o755}
			}
		}
	}
	names := make([]string, 0, len(r.entries))
	for name := range r.entries {
		names = append(names, name)
	}
	sort.Strings(names)
	w := tar.NewWriter(to)
	for _, name := range names {
		if err := r.entries[name].writeTo(w, strings.TrimPrefix(name, "/")); err != nil {
			return fmt.Errorf("pack %s: %w", name, err)
		}
	}
	return w.Close()
}

func (e entry) writeTo(w *tar.Writer, name string) error {
	h := &tar.Header{Name: name, Mode: e.mode, Uid: e.uid, Gid: e.uid, Typeflag: tar.TypeReg, Size: int64(len(e.text))}
	if e.dir {
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		return w.WriteHeader(h)
	}
	if e.from == "" {
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err := io.WriteString(w, e.text)
		return err
	}
	f, err := os.Open(e.from)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	h.Size = info.Size()
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

// load gives the files to the daemon as an image of one layer.
func (d *Daemon) load(r *rootfs, image string, changes ...string) error {
	args := []string{"import"}
	for _, c := range changes {
		args = append(args, "--change", c)
	}
	cmd := d.Command(nil, d.dir, "docker", append(args, "-", image)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	packed := make(chan error, 1)
	go func() { packed <- errors.Join(r.tar(in), in.Close()) }()
	_, err = said(cmd)
	if err := errors.Join(err, <-packed); err != nil {
		return fmt.Errorf("make the image %s: %w", image, err)
	}
	return nil
}
