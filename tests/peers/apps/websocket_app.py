"""The library `websockets` against the service `ws`; prints each check it passed."""

import os
import threading

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

OPEN = {"max_size": None, "proxy": None, "open_timeout": 30, "close_timeout": 30}
PLAIN = {**OPEN, "compression": None}


def passed(check):
    print(check, flush=True)


with connect("ws://ws/", **PLAIN) as ws:
    for message in ("", "text", "\u00e9\U0001f600", b"", bytes(range(256)), "x" * 125, "x" * 126,
                    "x" * 65535, b"x" * 65536):
        ws.send(message)
        assert ws.recv(timeout=30) == message
passed("echo")

with connect("ws://ws/?greet", subprotocols=["chat.v2", "chat.v1"], **PLAIN) as ws:
    assert ws.recv(timeout=30) == "hello"
    assert ws.subprotocol == "chat.v2"
passed("greeting with the handshake")

with connect("ws://ws/", **PLAIN) as ws:
    pongs = []

    def pieces():
        for number in range(10):
            pongs.append(ws.ping(f"ping {number}"))
            yield f"piece {number} "

    ws.send(pieces())
    received = list(ws.recv_streaming())
    assert received[:10] == [f"piece {number} " for number in range(10)], received
    assert all(pong.wait(30) for pong in pongs)
passed("pings amid fragments")

large = os.urandom(16 << 20)
with connect("ws://ws/", **PLAIN) as ws:
    ws.send(large)
    assert ws.recv(timeout=60) == large
passed("16 MiB")

with connect("ws://ws/?deflate", **OPEN) as ws:
    assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
    for message in ("again and " * 1000, "again and " * 1000, os.urandom(100_000)):
        ws.send(message)
        assert ws.recv(timeout=30) == message
passed("compression")

for code, reason in ((1000, ""), (1001, "going"), (1008, "x" * 123), (3000, ""), (4999, "\u00e9")):
    with connect("ws://ws/", **PLAIN) as ws:
        ws.close(code, reason)
        assert (ws.close_code, ws.close_reason) == (code, reason)
passed("close codes")

with connect("ws://ws/?how=drop", **PLAIN) as ws:
    try:
        ws.recv(timeout=30)
        raise AssertionError("the service has left")
    except ConnectionClosed as closed:
        assert closed.rcvd is None
passed("a service that leaves")

try:
    connect("ws://ws/?how=refuse", **PLAIN)
    raise AssertionError("the service refuses")
except InvalidStatus as refused:
    assert refused.response.status_code == 403
    assert refused.response.body == b"refused as asked\n"
passed("refusal")

with connect("ws://ws/", **PLAIN) as ws:
    # Small ones: this library cannot receive while it waits to send.
    sender = threading.Thread(target=lambda: [ws.send(large[:1000]) for _ in range(200)])
    sender.start()
    assert all(ws.recv(timeout=30) == large[:1000] for _ in range(200))
    sender.join()
passed("both directions at once")
