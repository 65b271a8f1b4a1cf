"""The service that everything is forwarded to, and the proxies that do it.

Each proxy gets one worker, keeps its connections to the service open, verifies
its certificate, and sends it the same host and the same token. It owns their
configurations and processes; what is asked of them is no business of it.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.request

HOST = "hello-123456789012.us-central1.run.app"
SERVICE = 8443
# The same in the clear.
PLAIN = 8480
METADATA = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/identity"
ROOT = pathlib.Path(__file__).resolve().parents[2]


class Proxy:
    """A running proxy and the processor time that it has used."""

    def __init__(self, name, port, command, folder):
        self.name = name
        self.port = port
        self.log = open(folder / f"{name}.log", "wb")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        wait_for(port, self.process, self.log.name)

    def processes(self):
        """Its process and the workers below it."""
        found = [self.process.pid]
        for pid in found:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
        return found

    def pin(self, processor):
        """Keeps it on one processor: which one its peers are on decides what a
        wake-up costs, and with one connection that is most of the figure."""
        for pid in self.processes():
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), {processor})

    def cpu(self):
        """CPU seconds of all its threads so far, to the nanosecond."""
        total = 0
        for pid in self.processes():
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def sleeps(self):
        """How often its threads have had nothing to do so far."""
        total = 0
        for pid in self.processes():
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                status = (task / "status").read_text()
                total += int(status.split("\nvoluntary_ctxt_switches:")[1].split()[0])
        return total

    def resident(self):
        """Resident memory in MB, of all its processes."""
        total = 0
        for pid in self.processes():
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            total += int(status.split("VmRSS:")[1].split()[0])
        return total / 1000

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()


def wait_for(port, process, log):
    """Until it listens."""
    for _ in range(400):
        if process.poll() is not None:
            raise SystemExit(f"it ended: {pathlib.Path(log).read_text()}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"nothing listens on {port}: {pathlib.Path(log).read_text()}")


def token():
    """What runsd will send too: the work is the same for all."""
    url = f"{METADATA}?audience=https://{HOST}&format=full"
    asked = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    with urllib.request.urlopen(asked) as answer:
        return answer.read().decode()


def authority(folder):
    """A certificate for the service; it is its own authority."""
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 7"
    extras = ["-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}"]
    extras += ["-addext", "basicConstraints=critical,CA:FALSE"]
    extras += ["-keyout", folder / "key.pem", "-out", folder / "ca.pem"]
    subprocess.run([*command.split(), *extras], check=True, capture_output=True)


NGINX = """
daemon off; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.error;
events {{ worker_connections 8192; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 1h;
  client_header_timeout 1h; client_max_body_size 0; client_body_buffer_size 64k; client_body_temp_path {folder}/{name}.body;
  proxy_temp_path {folder}/{name}.proxy; fastcgi_temp_path {folder}/{name}.f;
  uwsgi_temp_path {folder}/{name}.u; scgi_temp_path {folder}/{name}.s;
  {rest}
}}
"""

SERVED = """
  http2_max_requests 1000000000; http2_max_concurrent_streams 128; sendfile on;
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=4096;
    listen 127.0.0.1:{plain} backlog=4096;
    ssl_certificate {folder}/ca.pem; ssl_certificate_key {folder}/key.pem;
    root {folder}/www;
    location = / {{ return 200 "ok"; }}
    location /put/ {{ dav_methods PUT; }}
    location = /sim.Echo/Unary {{
      default_type application/grpc; error_page 405 =200 $uri; add_trailer grpc-status 0;
    }}
  }}
"""

FORWARDED = """
  upstream service {{ server 127.0.0.1:{service}; keepalive 2048;
    keepalive_requests 1000000000; keepalive_timeout 1h; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass https://service; proxy_http_version 1.1; proxy_request_buffering off;
      proxy_max_temp_file_size 0; proxy_read_timeout 1h; proxy_set_header Connection "";
      proxy_set_header Host {host}; proxy_set_header Authorization "Bearer {token}";
      proxy_ssl_server_name on; proxy_ssl_name {host}; proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {folder}/ca.pem;
    }}
  }}
"""

HAPROXY = """
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  http-reuse always
frontend app
  bind 127.0.0.1:{port} backlog 4096
  default_backend service
backend service
  http-request set-header Host {host}
  http-request set-header Authorization "Bearer {token}"
  server one 127.0.0.1:{service} ssl verify required ca-file {folder}/ca.pem sni str({host}) verifyhost {host} alpn http/1.1
"""

CADDY = """
{{
  admin off
  auto_https off
}}
:{port} {{
  bind 127.0.0.1
  reverse_proxy https://127.0.0.1:{service} {{
    header_up Host {host}
    header_up Authorization "Bearer {token}"
    transport http {{
      tls_server_name {host}
      tls_trusted_ca_certs {folder}/ca.pem
      versions 1.1
      keepalive_idle_conns_per_host 2048
    }}
  }}
}}
"""


def envoy(port, folder, secret):
    """Its configuration: gRPC goes by HTTP/2, everything else by HTTP/1.1."""
    place = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    added = [
        {
            "header": {"key": "authorization", "value": f"Bearer {secret}"},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }
    ]

    def route(prefix, cluster):
        onward = {"cluster": cluster, "host_rewrite_literal": HOST, "timeout": "0s"}
        return {"match": {"prefix": prefix}, "route": onward, "request_headers_to_add": added}

    def cluster(name, protocol):
        trusted = {"trusted_ca": {"filename": str(folder / "ca.pem")}}
        tls = {
            "@type": typed("transport_sockets.tls.v3.UpstreamTlsContext"),
            "sni": HOST,
            "common_tls_context": {
                "validation_context": trusted,
                "alpn_protocols": ["h2" if protocol == "http2" else "http/1.1"],
            },
        }
        options = {
            "@type": typed("upstreams.http.v3.HttpProtocolOptions"),
            "explicit_http_config": {f"{protocol}_protocol_options": {}},
        }
        address = {"socket_address": {"address": "127.0.0.1", "port_value": SERVICE}}
        return {
            "name": name,
            "type": "STATIC",
            "circuit_breakers": {
                "thresholds": [{"max_connections": 4096, "max_pending_requests": 4096}]
            },
            "load_assignment": {
                "cluster_name": name,
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
            },
            "transport_socket": {"name": "tls", "typed_config": tls},
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
            },
        }

    manager = {
        "@type": typed("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "codec_type": "AUTO",
        "generate_request_id": False,
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [route("/sim.Echo", "h2"), route("/", "h1")],
                }
            ]
        },
        "http_filters": [
            {"name": "router", "typed_config": {"@type": typed("filters.http.router.v3.Router")}}
        ],
    }
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    listener = {"name": "in", "address": place, "filter_chains": [chain]}
    clusters = [cluster("h1", "http"), cluster("h2", "http2")]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def typed(name):
    return f"type.googleapis.com/envoy.extensions.{name}"


def write(path, text):
    path.write_text(text)
    return str(path)


def service(folder):
    """Starts the service: nginx with HTTP/1.1 and HTTP/2 over TLS."""
    authority(folder)
    www = folder / "www"
    (www / "put").mkdir(parents=True)
    (www / "sim.Echo").mkdir()
    (www / "sim.Echo/Unary").write_bytes(b"\0\0\0\0\x0ahello yes!")
    (www / "100k").write_bytes(b"x" * 100_000)
    (www / "10m").write_bytes(b"x" * 10_000_000)
    # Its worker is another user where the master is root.
    os.system(f"chmod -R a+rwX {folder}")
    rest = SERVED.format(port=SERVICE, plain=PLAIN, folder=folder)
    file = write(folder / "s.conf", NGINX.format(name="service", folder=folder, rest=rest))
    return Proxy("service", SERVICE, ["nginx", "-c", file], folder)


def least_service(folder):
    """Starts one for small requests that costs as little as can be."""
    authority(folder)
    command = [built("service", folder), str(SERVICE), folder / "ca.pem", folder / "key.pem"]
    return Proxy("service", SERVICE, command, folder)


def built(name, folder):
    """A program in C of this folder."""
    program = folder / f"{name}-program"
    if not program.exists():
        source = pathlib.Path(__file__).with_name(f"{name}.c")
        command = ["cc", "-O2", "-o", program, source, "-lssl", "-lcrypto"]
        subprocess.run(command, check=True)
    return program


def floor_h2(port, folder):
    """The command of the program that does the least over the HTTP/2 library,
    which floor-h2 is the source of."""
    build = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "floor-h2"
    shutil.copytree(pathlib.Path(__file__).with_name("floor-h2"), build, dirs_exist_ok=True)
    # It is runsd's own version of each library that it is to be measured with.
    shutil.copy(ROOT / "Cargo.lock", build)
    command = ["cargo", "build", "--quiet", "--release", "--offline", "--target-dir", build]
    subprocess.run([*command, "--manifest-path", build / "Cargo.toml"], check=True)
    program = [build / "release/floor-h2", str(port), str(SERVICE), HOST, token()]
    return [*program, folder / "ca.pem"]


def runsd(name, path, port, folder, *options):
    """Starts a runsd that sends everything to the service; `path` may be that
    of a program and the arguments before runsd's own."""
    program = path if isinstance(path, list) else [path]
    command = [*program, "--dns=off", f"--proxy-addr=127.0.0.1:{port}", f"--ca-file={folder}/ca.pem"]
    command += [f"--connect-to=:443:127.0.0.1:{SERVICE}", *options, "serve"]
    return Proxy(name, port, command, folder)


def peers(names, folder):
    """Starts the proxies to compare with."""
    values = {"service": SERVICE, "host": HOST, "folder": folder, "token": token()}
    started = []
    for port, name in enumerate(names, 8101):
        here = {**values, "port": port}
        if name == "nginx":
            text = NGINX.format(name=name, folder=folder, rest=FORWARDED.format(**here))
            command = ["nginx", "-c", write(folder / "n.conf", text)]
        elif name == "haproxy":
            text = HAPROXY.format(**here)
            command = ["haproxy", "-db", "-f", write(folder / "h.cfg", text)]
        elif name == "caddy":
            file = write(folder / "Caddyfile", CADDY.format(**here))
            command = ["env", "GOMAXPROCS=1", f"HOME={folder}", "caddy", "run"]
            command += ["--config", file, "--adapter", "caddyfile"]
        elif name == "envoy":
            text = json.dumps(envoy(port, folder, here["token"]))
            command = [ROOT / ".venv-bench/bin/envoy", "--concurrency", "1", "-l", "error"]
            command += ["-c", write(folder / "e.json", text)]
        elif name in ("floor", "floor-tls"):
            command = [built("floor", folder), str(port)]
            if name == "floor":
                command += [str(PLAIN), HOST, here["token"]]
            else:
                command += [str(SERVICE), HOST, here["token"], folder / "ca.pem"]
        elif name == "floor-h2":
            command = floor_h2(port, folder)
        else:
            raise SystemExit(f"no such peer: {name}")
        started.append(Proxy(name, port, command, folder))
    return started
