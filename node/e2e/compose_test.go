package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"

	"tollgate/node/e2e/container"
	"tollgate/node/e2e/network"
)

// Images of these tests. Nothing is pulled: they are made of this machine's files.
const (
	imageTollgate = "tollgate-e2e/tollgate:1"
	imageBuild    = "tollgate-e2e/build:1"
	imagePostgres = "tollgate-e2e/postgres:1"
	imageNginx    = "tollgate-e2e/nginx:1"
)

// docker starts a daemon and makes the images, or says why there can be none and
// returns nil. Missing packages are a failure in CI; a kernel that cannot is not.
func docker(t *testing.T) *container.Daemon {
	t.Helper()
	if missing := container.Missing(); len(missing) > 0 || os.Getuid() != 0 {
		why := fmt.Sprintf("run as root and install (names of Debian): %s", strings.Join(missing, " "))
		if os.Getenv("CI") != "" && len(missing) > 0 {
			t.Fatal("the containers cannot be tested: " + why)
		}
		t.Log("NOT SHOWN HERE, there are no containers: " + why)
		return nil
	}
	wire := network.New(t, 1)
	if wire == nil {
		return nil
	}
	d, err := container.Start(t, wire.Host("docker"))
	if err != nil {
		// Everything that can be installed is there.
		t.Logf("NOT SHOWN HERE, the Docker daemon does not run on this kernel: %v", err)
		return nil
	}
	for _, build := range []func() error{
		func() error { return d.Postgres(imagePostgres) },
		func() error { return d.Nginx(imageNginx) },
		func() error { return d.Toolchain(imageBuild, binary(t)) },
	} {
		if err := build(); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

// composition is a working copy of what the compose files read, and its commands.
type composition struct {
	t    *testing.T
	d    *container.Daemon
	dir  string
	file string
	env  []string
	http *http.Client
}

func compose(t *testing.T, d *container.Daemon, file string) *composition {
	t.Helper()
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, "deploy/nginx.conf", "config/config.yaml"} {
		text, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	example, err := os.ReadFile(filepath.Join(root, ".env.example"))
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.Replace(string(example), "LITELLM_MASTER_KEY=sk-your-secure-master-key-here", "LITELLM_MASTER_KEY="+masterKey, 1)
	if !strings.Contains(filled, masterKey) {
		t.Fatal(".env.example does not set LITELLM_MASTER_KEY")
	}
	if err := os.WriteFile(filepath.Join(dir, ".env"), []byte(filled), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &composition{t: t, d: d, dir: dir, file: file, http: d.Host().Client(30 * time.Second),
		env: []string{"TOLLGATE_IMAGE=" + imageTollgate, "POSTGRES_IMAGE=" + imagePostgres, "NGINX_IMAGE=" + imageNginx}}
	t.Cleanup(func() {
		c.http.CloseIdleConnections()
		if t.Failed() {
			out, err := c.try("logs", "--no-color", "--tail", "40")
			t.Logf("logs of the containers (%v):\n%s", err, out)
		}
		if out, err := c.try("down", "--volumes", "--timeout", "1"); err != nil {
			t.Errorf("take down %s: %v %s", file, err, out)
		}
	})
	return c
}

// try runs docker-compose.
func (c *composition) try(args ...string) (string, error) {
	return c.d.Compose(c.dir, c.env, append([]string{"-f", c.file}, args...)...)
}

func (c *composition) run(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// request asks the gateway behind the published port.
func (c *composition) request(method, path, key, body string) (answer, error) {
	req, err := http.NewRequest(method, "http://127.0.0.1:4000"+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(raw)}, err
}

func (c *composition) ask(method, path, key, body string) answer {
	c.t.Helper()
	a, err := c.request(method, path, key, body)
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

func (c *composition) waitReady(within time.Duration) {
	c.t.Helper()
	eventually(c.t, within, "the gateway is ready", func() error {
		a, err := c.request("GET", "/health/readiness", "", "")
		if err == nil && a.status != 200 {
			err = fmt.Errorf("%d %s", a.status, tail(a.body, 200))
		}
		return err
	})
}

// TestContainers shares one daemon among its claims: each is a line that an
// operator types.
func TestContainers(t *testing.T) {
	d := docker(t)
	if d == nil {
		return
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := d.Docker("build", "--quiet", "--build-arg", "BUILD_IMAGE="+imageBuild, "-t", imageTollgate, root); err != nil {
		t.Fatal(err, out)
	}
	t.Run("the build's context holds all that the program is made of", func(t *testing.T) { contextIsWhole(t, d, root) })
	t.Run("the image is small and runs as nobody", func(t *testing.T) { imageIsSmall(t, d) })
	t.Run("one node under the seed's names", func(t *testing.T) { seedLinesWork(t, d) })
	t.Run("three regions behind nginx", func(t *testing.T) { threeRegionsWork(t, d) })
}

// contextIsWhole builds the program from what the Dockerfile copies, with this
// machine's toolchain: a line too many in .dockerignore shows here.
func contextIsWhole(t *testing.T, d *container.Daemon, root string) {
	const stage = "tollgate-e2e/stage:1"
	if _, err := d.Docker("build", "--quiet", "--build-arg", "BUILD_IMAGE="+imageBuild, "--target", "build", "-t", stage, root); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "src")
	if err := d.Copy(stage, "/src", dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, ".env")); err == nil {
		t.Error("secrets of .env get into the build")
	}
	// As the Dockerfile does; cached packages make it quick.
	cmd := exec.Command("go", "build", "-trimpath", "-pgo", "bench/node.pgo", "-o", filepath.Join(t.TempDir(), "tollgate"), ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func imageIsSmall(t *testing.T, d *container.Daemon) {
	out, err := d.Docker("run", "--rm", "--network", "none", imageTollgate, "version")
	if err != nil || !strings.HasPrefix(out, "tollgate ") {
		t.Errorf("%q %v", out, err)
	}
	inspect, err := d.Docker("inspect", imageTollgate)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Stat(binary(t))
	if err != nil {
		t.Fatal(err)
	}
	image := gjson.Get(inspect, "0")
	if size := image.Get("Size").Int(); size > program.Size()+2<<20 {
		t.Errorf("the image has %d bytes, the program %d", size, program.Size())
	}
	if user := image.Get("Config.User").String(); user != "65532:65532" {
		t.Errorf("it runs as %q", user)
	}
}

// seedLinesWork runs what the documentation of the sample set-up tells its users.
func seedLinesWork(t *testing.T, d *container.Daemon) {
	c := compose(t, d, "docker-compose.yml")
	c.run("up", "-d")
	c.waitReady(60 * time.Second)
	if a := c.ask("GET", "/health", "", ""); a.status != 200 {
		t.Errorf("/health: %d %s", a.status, a.body)
	}
	eventually(t, soon, "the engine calls the container healthy", func() error {
		out, err := d.Docker("inspect", "-f", "{{.State.Health.Status}}", "litellm-proxy")
		if err == nil && out != "healthy" {
			err = fmt.Errorf("%q", out)
		}
		return err
	})
	if a := c.ask("GET", "/v1/models", masterKey, ""); !strings.Contains(a.body, "gpt-4o-mini") {
		t.Errorf("/v1/models: %d %s", a.status, a.body)
	}
	if a := c.ask("POST", "/v1/chat/completions", masterKey, chatBody("gpt-4o", "hi", "")); !strings.Contains(a.body, "sample answer of gpt-4o") {
		t.Errorf("a chat: %d %s", a.status, a.body)
	}
	if out := c.run("logs", "litellm-proxy"); !strings.Contains(out, "litellm-proxy") {
		t.Errorf("no logs: %q", out)
	}
	eventually(t, 60*time.Second, "the database answers", func() error {
		out, err := d.Docker("exec", "litellm-db", "psql", "-U", "litellm", "-d", "litellm", "-c", "SELECT 1")
		if err == nil && !strings.Contains(out, "1 row") {
			err = fmt.Errorf("%q", out)
		}
		return err
	})
	if out, err := d.Docker("exec", "litellm-db", "psql", "-U", "litellm", "-d", "litellm", "-c", `\dt`); err != nil {
		t.Errorf("\\dt: %v %s", err, out)
	}
	// A stop in order, and the keys are there after it.
	key := c.ask("POST", "/key/generate", masterKey, "{}").get("key").String()
	c.run("restart", "litellm-proxy")
	c.waitReady(60 * time.Second)
	if a := c.ask("POST", "/v1/chat/completions", key, chatBody("gpt-4o", "hi", "")); a.status != 200 {
		t.Errorf("after a restart: %d %s", a.status, a.body)
	}
	code, err := d.Docker("inspect", "-f", "{{.RestartCount}}", "litellm-proxy")
	if err != nil || code != "0" {
		t.Errorf("it was restarted by itself %s times (%v)", code, err)
	}
}

// threeRegionsWork starts the cluster with one command, adds a node with the join
// command and kills a container under load.
func threeRegionsWork(t *testing.T, d *container.Daemon) {
	c := compose(t, d, "docker-compose.cluster.yml")
	at := time.Now()
	c.run("up", "-d")
	if word := strings.TrimSpace(c.run("exec", "-T", "node-eu", "tollgate", "status", "--ready")); word != "ready" {
		t.Errorf("nginx was started and the node that it waits for is %q", word)
	}
	c.waitReady(90 * time.Second)
	c.waitAlive("node-eu", 3)
	t.Logf("up and whole after %s", time.Since(at))
	if a := c.ask("POST", "/v1/chat/completions", masterKey, chatBody("gpt-4o", "hi", "")); !strings.Contains(a.body, "sample answer of gpt-4o") {
		t.Errorf("a chat through nginx: %d %s", a.status, a.body)
	}
	regions := map[string]bool{}
	for _, m := range c.members("node-eu") {
		regions[m.Get("region").String()] = true
	}
	for _, want := range []string{"eu-west", "us-east", "ap-south"} {
		if !regions[want] {
			t.Errorf("nobody is in %s: %v", want, regions)
		}
	}

	// The fourth node, as the file's first lines say.
	lines := strings.Split(c.run("exec", "-T", "node-eu", "tollgate", "token", "create"), "\n")
	token := strings.TrimSpace(lines[len(lines)-1])
	if out, err := d.Docker("run", "-d", "--name", "node-sa", "--hostname", "node-sa", "--network", "tollgate", "--env-file", filepath.Join(c.dir, ".env"),
		"-e", "PORT=4000", imageTollgate, "join", "node-eu:7946", "--token", token, "--advertise", "node-sa:7946", "--name", "node-sa", "--region", "sa-east"); err != nil {
		t.Fatal(err, out)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of node-sa:\n%s", d.Logs("node-sa"))
		}
		if out, err := d.Docker("rm", "-f", "node-sa"); err != nil {
			t.Error(err, out)
		}
	})
	c.waitAlive("node-ap", 4)
	eventually(t, soon, "the fourth node serves", func() error {
		out, err := d.Docker("exec", "node-sa", "tollgate", "status", "--output", "json")
		if err == nil && !gjson.Get(out, "ready").Bool() {
			err = fmt.Errorf("%s", out)
		}
		return err
	})
	if out, err := d.Docker("exec", "node-sa", "tollgate", "key", "create", "--alias", "made-on-the-fourth"); err != nil || !strings.Contains(out, "sk-") {
		t.Errorf("a key made on the fourth node: %v %s", err, out)
	}

	// A container dies under load. What was in flight on it may fail and nothing else.
	const callers = 8
	load := c.traffic(callers)
	load.moves(t, 200, 0)
	victim := c.run("ps", "-q", "node-us")
	if out, err := d.Docker("kill", victim); err != nil {
		t.Fatal(err, out)
	}
	after := time.Now()
	load.moves(t, 400, 0)
	if out, err := d.Docker("start", victim); err != nil {
		t.Fatal(err, out)
	}
	c.waitAlive("node-eu", 4)
	load.moves(t, 100, 0)
	load.end()
	if failed := load.wrong(after); len(failed) > 0 {
		t.Errorf("%d calls failed that were sent after the kill, first: %+v", len(failed), failed[0])
	}
	if failed := load.wrong(time.Time{}); len(failed) > callers {
		t.Errorf("%d failed and only %d were in flight, first: %+v", len(failed), callers, failed[0])
	}
}

// traffic is a load of short calls through the published port.
func (c *composition) traffic(callers int) *traffic {
	n := &node{t: c.t, url: "http://127.0.0.1:4000", o: options{host: c.d.Host()}}
	return trafficFor(c.t, n, masterKey, "gpt-4o", callers, 0, 0)
}

// members is how the cluster seems from one of its containers.
func (c *composition) members(service string) []gjson.Result {
	c.t.Helper()
	return gjson.Get(c.run("exec", "-T", service, "tollgate", "members", "--output", "json"), "members").Array()
}

func (c *composition) waitAlive(service string, count int) {
	c.t.Helper()
	eventually(c.t, 60*time.Second, fmt.Sprintf("%s sees %d nodes alive", service, count), func() error {
		out, err := c.try("exec", "-T", service, "tollgate", "members", "--output", "json")
		if err != nil {
			return err
		}
		alive := 0
		for _, m := range gjson.Get(out, "members").Array() {
			if m.Get("state").String() == "alive" {
				alive++
			}
		}
		if alive != count {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
}
