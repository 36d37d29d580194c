// SPDX-License-Identifier: Apache-2.0
// Copyright The Lameduck Authors

//go:build linux

package main

import (
	"fmt"
	"strings"
)

// Each proxy notices within six seconds that a replica is not ready: HAProxy by its
// defaults, three failures two seconds apart; nginx, which has no checks of its own,
// by the same in Lua; Caddy 2.6, which takes one failure for enough, by asking every
// six seconds. None retries, and each keeps its connections to the replicas.

// haproxyConfig has HTTP/1.1 on port 80 and h2c on 81, on both sides. The idle
// connections to replicas are for every client's requests, the first of a client
// included, which HAProxy by default would not risk.
func haproxyConfig(_ string, addrs []string) string {
	var http1, http2 strings.Builder
	for i, addr := range addrs {
		fmt.Fprintf(&http1, "  server s%d %s:%s check\n", i, addr, workPort)
		fmt.Fprintf(&http2, "  server s%d %s:%s proto h2 track http1/s%[1]d\n", i, addr, workPort)
	}
	return fmt.Sprintf(haproxyTemplate, probePort, &http1, &http2)
}

const haproxyTemplate = `
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  retries 0
  http-reuse always
  option httpchk GET /readyz
  default-server port %s inter 2s fall 3 rise 2
frontend http1
  bind :80
  default_backend http1
frontend http2
  bind :81 proto h2
  default_backend http2
backend http1
%sbackend http2
%s`

// caddyConfig has HTTP/1.1 on port 80 and h2c on 81, on both sides. Its checks speak
// what it speaks for the clients, so they go where the work is done.
func caddyConfig(_ string, addrs []string) string {
	site := func(port, scheme string) string {
		var to []string
		for _, addr := range addrs {
			to = append(to, scheme+addr+":"+workPort)
		}
		return fmt.Sprintf(`
http://:%s {
	reverse_proxy %s {
		lb_policy random
		health_uri /readyz
		health_interval 6s
		health_timeout 2s
	}
}
`, port, strings.Join(to, " "))
	}
	return `{
	admin off
	auto_https off
	servers {
		protocols h1 h2c
	}
}
` + site("80", "") + site("81", "h2c://")
}

// nginxConfig has HTTP/1.1 on port 80 and h2c, for the clients only, on 81. The
// choice of a replica is Lua's, as in ingress-nginx: a reload for each change would
// close the clients' connections.
func nginxConfig(dir string, addrs []string) string {
	quoted := make([]string, len(addrs))
	for i, addr := range addrs {
		quoted[i] = fmt.Sprintf("%q", addr)
	}
	return fmt.Sprintf(nginxTemplate, dir, strings.Join(quoted, ", "), probePort, workPort)
}

const nginxTemplate = `
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr warn;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path %[1]s/body;
  proxy_temp_path %[1]s/proxy;
  fastcgi_temp_path %[1]s/fastcgi;
  uwsgi_temp_path %[1]s/uwsgi;
  scgi_temp_path %[1]s/scgi;
  lua_socket_log_errors off;
  init_worker_by_lua_block {
    replicas = {}
    for _, addr in ipairs({ %[2]s }) do
      table.insert(replicas, { addr = addr, up = false, fails = 0, passes = 0 })
    end
    local function ask(r)
      local sock = ngx.socket.tcp()
      sock:settimeout(2000)
      if not sock:connect(r.addr, %[3]s) then return false end
      sock:send("GET /readyz HTTP/1.0\r\nHost: replica\r\nUser-Agent: nginx-lua\r\n\r\n")
      local line = sock:receive()
      sock:close()
      return line ~= nil and line:find(" 200 ", 1, true) ~= nil
    end
    local function check(premature, r)
      if premature then return end
      if ask(r) then
        r.fails, r.passes = 0, r.passes + 1
        if r.passes >= 2 then r.up = true end
      else
        r.fails, r.passes = r.fails + 1, 0
        if r.fails >= 3 then r.up = false end
      end
    end
    for _, r in ipairs(replicas) do
      ngx.timer.at(0, check, r)
      ngx.timer.every(2, check, r)
    end
  }
  upstream replicas {
    server 0.0.0.1;
    balancer_by_lua_block {
      local up = {}
      for _, r in ipairs(replicas) do
        if r.up then table.insert(up, r) end
      end
      if #up == 0 then return ngx.exit(503) end
      require("ngx.balancer").set_current_peer(up[math.random(#up)].addr, %[4]s)
    }
    keepalive 64;
  }
  # After so many requests nginx ends a client's connection, that of h2c with a
  # single GOAWAY, which loses what is on its way. That is not what is looked at.
  keepalive_requests 1000000;
  server {
    listen 80;
    listen 81 http2;
    location / {
      proxy_pass http://replicas;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_next_upstream off;
    }
  }
}
`
