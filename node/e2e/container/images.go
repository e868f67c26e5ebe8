package container

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
)

// The users of the images, by number.
const postgresUser = 70

const accounts = "root:x:0:0:root:/root:/bin/sh\npostgres:x:70:70::/var/lib/postgresql:/bin/sh\nwww-data:x:33:33::/var/www:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n"
const groups = "root:x:0:\npostgres:x:70:\nwww-data:x:33:\nnogroup:x:65534:\nnobody:x:65534:\n"

func based() *rootfs {
	r := newRootfs()
	r.write("/etc/passwd", 0o644, accounts)
	r.write("/etc/group", 0o644, groups)
	r.folder("/tmp", 0o1777, 0)
	return r
}

// postgresEntry starts PostgreSQL as the official image does, as far as the
// compose files ask it to.
const postgresEntry = `#!/bin/sh
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
  initdb -D "$PGDATA" -U "$POSTGRES_USER" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C --no-sync >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=''" start >/dev/null
  createdb -U "$POSTGRES_USER" "$POSTGRES_DB" 2>/dev/null || psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c 'SELECT 1' >/dev/null
  pg_ctl -D "$PGDATA" -w -m fast stop >/dev/null
fi
exec postgres -D "$PGDATA" -c listen_addresses='*'
`

// Postgres makes an image of this machine's PostgreSQL that takes the variables
// of the official one.
func (d *Daemon) Postgres(image string) error {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		return fmt.Errorf("make the image %s: PostgreSQL is not installed: install postgresql", image)
	}
	sort.Strings(found)
	bin := filepath.Dir(found[len(found)-1])
	home := filepath.Dir(bin)
	r := based()
	for _, name := range []string{"postgres", "initdb", "pg_ctl", "psql", "createdb", "pg_isready"} {
		r.program(filepath.Join(bin, name))
	}
	r.copyAs("/bin/sh", "/bin/sh")
	r.libraries("/bin/sh")
	libs, err := filepath.Glob(home + "/lib/*.so")
	if err != nil {
		return err
	}
	for _, lib := range libs {
		if !strings.HasPrefix(filepath.Base(lib), "llvmjit") { // it would bring all of LLVM
			r.copy(lib)
		}
	}
	r.copy("/usr/share/postgresql/" + filepath.Base(home))
	r.copy("/usr/share/zoneinfo")
	r.write("/entrypoint", 0o755, postgresEntry)
	r.folder("/var/lib/postgresql/data", 0o700, postgresUser)
	r.folder("/var/run/postgresql", 0o775, postgresUser)
	return d.load(r, image, `ENTRYPOINT ["/entrypoint"]`, "USER postgres", "ENV PGDATA=/var/lib/postgresql/data",
		"ENV PATH="+bin+":/bin", "VOLUME /var/lib/postgresql/data", "EXPOSE 5432")
}

// Nginx makes an image of this machine's nginx that starts as the official one.
func (d *Daemon) Nginx(image string) error {
	bin, err := look("nginx")
	if err != nil {
		return fmt.Errorf("make the image %s: %w", image, err)
	}
	r := based()
	r.program(bin)
	r.copy("/etc/nginx/mime.types")
	for _, dir := range []string{"/var/lib/nginx", "/var/log/nginx", "/run", "/var/lock"} {
		r.folder(dir, 0o755, 0)
	}
	return d.load(r, image, `CMD ["`+bin+`", "-g", "daemon off;"]`, "EXPOSE 4000")
}

// goStandIn stands for the Go toolchain in the build of the Dockerfile: the
// program has been built already, and the image must only be put together. It
// fails as go would when the sources are not there.
const goStandIn = `#!/bin/sh
set -e
case $1 in
mod) [ -s go.mod ] && [ -s go.sum ] ;;
build)
  [ -s main.go ] && [ -s go.mod ] || { echo "no sources" >&2; exit 1; }
  while [ $# -gt 1 ]; do
    [ "$1" != -o ] || { mkdir -p "${2%/*}"; cp /prebuilt/tollgate "$2"; exit 0; }
    shift
  done
  exit 1 ;;
*) exit 1 ;;
esac
`

// Toolchain makes an image that stands for golang's in the Dockerfile: its go
// hands over a program that has been built before.
func (d *Daemon) Toolchain(image, program string) error {
	r := based()
	for _, name := range []string{"mkdir", "cp", "chmod"} {
		found, err := look(name)
		if err != nil {
			return err
		}
		r.copyAs(found, path.Join("/bin", name))
		r.libraries(found)
	}
	r.copyAs("/bin/sh", "/bin/sh")
	r.libraries("/bin/sh")
	r.write("/bin/go", 0o755, goStandIn)
	r.copyAs(program, "/prebuilt/tollgate")
	const certificates = "/etc/ssl/certs/ca-certificates.crt"
	if _, err := os.Stat(certificates); err == nil {
		r.copy(certificates)
	} else {
		r.write(certificates, 0o644, "")
	}
	return d.load(r, image, "ENV PATH=/bin")
}

// Compose runs docker-compose in a folder and returns what it printed.
func (d *Daemon) Compose(dir string, env []string, args ...string) (string, error) {
	return said(d.Command(env, dir, "docker-compose", args...))
}

// Copy takes files out of an image into a folder.
func (d *Daemon) Copy(image, from, to string) error {
	id, err := d.Docker("create", image, "none")
	if err != nil {
		return err
	}
	_, err = d.Docker("cp", id+":"+from, to)
	return err
}
