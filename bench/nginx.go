package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// nginxConfig is a bare reverse proxy in one process, with kept connections on
// both sides and without a log.
const nginxConfig = `daemon off;
master_process off;
pid DIR/nginx.pid;
error_log DIR/nginx.log;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path DIR/body;
  proxy_temp_path DIR/proxy;
  fastcgi_temp_path DIR/fastcgi;
  uwsgi_temp_path DIR/uwsgi;
  scgi_temp_path DIR/scgi;
  upstream provider { server PROVIDER; keepalive 256; keepalive_requests 100000000; }
  server {
    listen LISTEN;
    keepalive_requests 100000000;
    location / { proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`

func (s *stage) startNginx() (target, error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		return target{}, fmt.Errorf("nginx is measured beside the nodes: %w", err)
	}
	listen := freeAddr()
	file := filepath.Join(s.dir, "nginx.conf")
	text := strings.NewReplacer("DIR", s.dir, "PROVIDER", strings.TrimPrefix(s.mockURL, "http://"), "LISTEN", listen).Replace(nginxConfig)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return target{}, err
	}
	cmd := exec.Command(path, "-c", file, "-p", s.dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return target{}, fmt.Errorf("start nginx: %w", err)
	}
	t := target{name: "nginx", url: "http://" + listen, key: "sk", group: oneDeployment, cmd: cmd}
	return t, waitFor(t.url + "/ready")
}
