"""Frames of every kind, good and bad, sent to the service `ws` twice: straight to
it over TLS, and by way of runsd. What comes back and how it ends must be the
same to the byte, because a WebSocket is none of the proxy's business."""

import contextlib
import itertools
import os
import socket
import ssl
import struct
import sys
import urllib.parse
import urllib.request

HOST = sys.argv[1]
METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/"
MASK = b"\x37\xfa\x21\x3d"


def token():
    url = METADATA + "identity?audience=" + urllib.parse.quote(f"https://{HOST}", safe="")
    request = urllib.request.Request(url, headers={"Metadata-Flavor": "Google"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return response.read().decode()


class Tls:
    """TLS whose directions end one by one, which `ssl.SSLSocket` cannot do."""

    def __init__(self, tcp, host):
        self.tcp, self.inbox, self.outbox = tcp, ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context()
        self.tls = context.wrap_bio(self.inbox, self.outbox, server_hostname=host)
        self.step(self.tls.do_handshake)

    def step(self, action, *arguments):
        while True:
            try:
                result = action(*arguments)
                self.tcp.sendall(self.outbox.read())
                return result
            except ssl.SSLWantReadError:
                self.tcp.sendall(self.outbox.read())
                if action == self.tls.unwrap:
                    return None
                received = self.tcp.recv(65536)
                # An end that TLS did not announce is none in order.
                self.inbox.write(received) if received else self.inbox.write_eof()

    def sendall(self, data):
        self.step(self.tls.write, data)

    def recv(self, size):
        try:
            return self.step(self.tls.read, size)
        except ssl.SSLZeroReturnError:
            return b""

    def shutdown(self, _how):
        self.step(self.tls.unwrap)

    def close(self):
        self.tcp.close()


def straight():
    tcp = socket.create_connection((HOST, 443), timeout=30)
    return Tls(tcp, HOST), f"Host: {HOST}\r\nAuthorization: Bearer {TOKEN}\r\n"


def by_runsd():
    return socket.create_connection(("ws", 80), timeout=30), "Host: ws\r\n"


def mask(payload):
    key = MASK * (len(payload) // 4 + 1)
    return bytes(a ^ b for a, b in zip(payload, key)) if len(payload) < 4096 else masked_fast(payload)


def masked_fast(payload):
    key = int.from_bytes((MASK * (len(payload) // 4 + 1))[: len(payload)], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(len(payload), "big")


def frame(opcode, payload=b"", fin=True, reserved=0, is_masked=True, size=None, form=None):
    """`size` lies about the length; `form` forces its 0-, 2- or 8-byte form."""
    size = len(payload) if size is None else size
    form = form if form is not None else 0 if size < 126 else 2 if size < 65536 else 8
    length = {0: size, 2: 126, 8: 127}[form]
    long = {0: b"", 2: struct.pack("!H", size & 0xFFFF), 8: struct.pack("!Q", size)}[form]
    head = bytes([(fin << 7) | (reserved << 4) | opcode, (is_masked << 7) | length]) + long
    return head + (MASK + mask(payload) if is_masked else payload)


GOODBYE = frame(8, struct.pack("!H", 1000))


def cases():
    """Names, and the pieces that are written one by one."""
    for opcode in range(16):
        yield f"opcode {opcode}", [frame(opcode, b"payload"), GOODBYE]
        yield f"opcode {opcode}, empty", [frame(opcode), GOODBYE]
        yield f"opcode {opcode}, in fragments", [
            frame(opcode, b"a", fin=False), frame(9, b"p"), frame(0, b"b"), GOODBYE]
    for reserved in range(1, 8):
        yield f"reserved bits {reserved}", [frame(1, b"x", reserved=reserved), GOODBYE]
    for size in (1, 125, 126, 127, 65535, 65536, 1 << 20):
        yield f"{size} bytes", [frame(2, os.urandom(size)), GOODBYE]
    for form in (2, 8):
        yield f"a length in a form too long, {form}", [frame(1, b"short", form=form), GOODBYE]
    for code in (0, 1, 999, 1000, 1004, 1005, 1006, 1015, 1016, 2999, 3000, 4999, 5000, 65535):
        yield f"close {code}", [frame(8, struct.pack("!H", code) + b"why")]
    yield "close with one byte", [frame(8, b"\x03")]
    yield "close with broken text", [frame(8, struct.pack("!H", 1000) + b"\xff\xfe")]
    yield "close twice", [GOODBYE + GOODBYE]
    yield "data after close", [GOODBYE + frame(1, b"late")]
    yield "broken text", [frame(1, b"\xc0\xaf\xed\xa0\x80"), GOODBYE]
    yield "a large ping", [frame(9, b"x" * 1000), GOODBYE]
    yield "a ping in fragments", [frame(9, b"x", fin=False), frame(0, b"y"), GOODBYE]
    yield "no mask", [frame(1, b"bare", is_masked=False)]
    for size in (1 << 25, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1):
        yield f"a frame said to be {size} long", [frame(2, b"x", size=size, form=8)]
    whole = frame(1, b"byte by byte") + frame(9, b"p") + GOODBYE
    yield "byte by byte", [bytes([byte]) for byte in whole]
    yield "all at once", [b"".join(frame(1, b"%d" % n) for n in range(500)) + GOODBYE]
    yield "no frames", [b"GET / HTTP/1.1\r\nHost: ws\r\n\r\n"]
    yield "an end without goodbye", [frame(1, b"x")]
    yield "an end within a frame", [frame(1, b"hello")[:-2]]
    yield "silence", []


def transcript(connect, pieces):
    """The handshake's lines, what came after it, and whether the end was orderly."""
    peer, fields = connect()
    with contextlib.closing(peer):
        peer.sendall(
            f"GET / HTTP/1.1\r\n{fields}Connection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            answer += peer.recv(65536)
        head, _, received = answer.partition(b"\r\n\r\n")
        orderly = True
        try:
            for piece in pieces:
                peer.sendall(piece)
            if not any(len(piece) > 1 and GOODBYE in piece for piece in pieces):
                # Nothing more will come, but there may be something to read.
                peer.shutdown(socket.SHUT_WR)
            while piece := peer.recv(65536):
                received += piece
        except OSError:  # ssl.SSLError is one
            orderly = False
        return sorted(head.lower().split(b"\r\n")), received, orderly


TOKEN = token()
count = 0
for name, pieces in cases():
    one, other = transcript(straight, pieces), transcript(by_runsd, pieces)
    for part, mine, its in itertools.zip_longest(("head", "frames", "end"), one, other):
        assert mine == its, f"{name}: {part}: straight {mine!r:.300}, by runsd {its!r:.300}"
    count += 1
print(count)
