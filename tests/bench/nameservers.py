"""The upstream nameserver, and those that answer and forward before it.

Each of them gets one thread, the same local zone, the same upstream and a
cache. It owns their configurations and the upstream that counts; what is asked
of them is no business of it.
"""

import contextlib
import pathlib
import socket
import struct
import threading
import time

import proxies

UPSTREAM = 5300
COUNTING = 5390
# The names under it have an address, whatever they are.
ZONE = "bench.example"
# What runsd answers itself, and the others from their configuration.
SERVICES = [f"svc{number}.us-central1.run.internal" for number in range(64)]

NSD = """
server:
  ip-address: 127.0.0.1
  port: {port}
  server-count: 1
  username: ""
  chroot: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: ""
  zonelistfile: "{folder}/zone.list"
  xfrdfile: "{folder}/xfrd.state"
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  minimal-responses: yes
remote-control:
  control-enable: no
zone:
  name: {zone}
  zonefile: {folder}/zone
zone:
  name: run.app
  zonefile: {folder}/run.app
"""

RECORDS = """
$ORIGIN {zone}.
$TTL 300
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A 127.0.0.1
* A {address}
"""

# Without DNSSEC, which neither of the others checks.
UNBOUND = """
server:
  interface: 127.0.0.1
  port: {port}
  num-threads: 1
  module-config: "iterator"
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  do-ip6: no
  do-not-query-localhost: no
  so-rcvbuf: 1m
  minimal-responses: yes
  local-zone: "run.internal." static
{data}
remote-control:
  control-enable: no
forward-zone:
  name: "."
  forward-addr: 127.0.0.1@{upstream}
"""

# It would forward no more than 150 at once. Its cache stays as small as it is by
# default, 150 names: when a larger one is full of what has not expired, each new
# answer searches all of it, which makes forwarding several times as expensive.
DNSMASQ = """
keep-in-foreground
user=root
pid-file=
no-resolv
no-hosts
no-poll
listen-address=127.0.0.1
bind-interfaces
port={port}
dns-forward-max=1024
local-ttl=60
local=/run.internal/
server=127.0.0.1#{upstream}
{data}
"""


def upstream(folder):
    """Starts the nameserver that everything is forwarded to."""
    proxies.write(folder / "zone", RECORDS.format(zone=ZONE, address="192.0.2.1"))
    # A service that is looked up gets its first connection: let there be one.
    address = socket.gethostbyname(proxies.HOST)
    proxies.write(folder / "run.app", RECORDS.format(zone="run.app", address=address))
    text = NSD.format(port=UPSTREAM, folder=folder, zone=ZONE)
    file = proxies.write(folder / "nsd.conf", text)
    return proxies.Proxy("nsd", UPSTREAM, ["nsd", "-d", "-c", file], folder)


def start(name, port, folder, commands, asked=UPSTREAM):
    """Starts one of them; `commands` are the paths of runsd by name."""
    if name in commands:
        command = [commands[name], f"--dns-addr=127.0.0.1:{port}", "--resolv-conf-mode=leave"]
        command += [f"--nameserver=127.0.0.1:{asked}", f"--proxy-addr=127.0.0.1:{port + 1000}"]
        command += ["--threads=1", "serve"]
    elif name == "unbound":
        data = "\n".join(f'  local-data: "{name}. 60 IN A 127.0.0.1"' for name in SERVICES)
        text = UNBOUND.format(port=port, folder=folder, upstream=asked, data=data)
        command = ["unbound", "-d", "-c", proxies.write(folder / f"u{port}.conf", text)]
    elif name == "dnsmasq":
        data = "\n".join(f"host-record={name},127.0.0.1" for name in SERVICES)
        text = DNSMASQ.format(port=port, upstream=asked, data=data)
        command = ["dnsmasq", "-C", proxies.write(folder / f"d{port}.conf", text)]
    else:
        raise SystemExit(f"no such nameserver: {name}")
    return proxies.Proxy(name, port, command, folder)


def overflowed(port):
    """Queries that found the receive buffer of its socket full."""
    rows = pathlib.Path("/proc/net/udp").read_text().splitlines()[1:]
    return sum(int(row.split()[-1]) for row in rows if row.split()[1].endswith(f":{port:04X}"))


def question(name, number):
    """A query for the address of `name`."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", number, 0x0100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1"


class Counting:
    """An upstream that counts what it is asked and answers half a second later."""

    def __init__(self):
        self.asked = 0
        self.listener = socket.create_server(("127.0.0.1", COUNTING))
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.bind(("127.0.0.1", COUNTING))
        self.thread = threading.Thread(target=self.receive, daemon=True)
        self.thread.start()

    def receive(self):
        while True:
            packet, peer = self.socket.recvfrom(4096)
            if packet == b"stop":
                return
            self.asked += 1
            threading.Timer(0.5, self.answer, (packet, peer)).start()

    def answer(self, packet, peer):
        end = packet.index(0, 12) + 5
        header = packet[:2] + struct.pack("!5H", 0x8580, 1, 1, 0, 0)
        record = struct.pack("!HHHIH4B", 0xC00C, 1, 1, 300, 4, 192, 0, 2, 1)
        # Nobody may be left to hear it.
        with contextlib.suppress(OSError):
            self.socket.sendto(header + packet[12:end] + record, peer)

    def stop(self):
        self.socket.sendto(b"stop", ("127.0.0.1", COUNTING))
        self.thread.join()
        self.socket.close()
        self.listener.close()


def ask_at_once(port, name, count, patience):
    """Sends the same query from 20 sockets; counts the replies by their code."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        one.connect(("127.0.0.1", port))
        one.setblocking(False)
    began = time.monotonic()
    for number in range(count):
        sockets[number % len(sockets)].send(question(name, number))
        # A datagram that finds the server's buffer full is lost without a word.
        if number % 100 == 99:
            time.sleep(0.002)
    figures = {"sent_s": time.monotonic() - began, "codes": {}}
    while sum(figures["codes"].values()) < count and time.monotonic() < began + patience:
        for one in sockets:
            try:
                while True:
                    code = one.recv(4096)[3] & 15
                    figures["codes"][code] = figures["codes"].get(code, 0) + 1
            except BlockingIOError:
                pass
        time.sleep(0.001)
    for one in sockets:
        one.close()
    return figures
