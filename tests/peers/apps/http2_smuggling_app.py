"""Requests over HTTP/2 that a service of HTTP/1.1 would read as others, or as
two. Each must be reset or refused, and the connection, where it goes on, must
answer the next request. Prints how many there were."""

import socket

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamEnded, StreamReset
from h2.settings import SettingCodes

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: hello\r\n\r\n"
REFUSED = {b"400", b"421", b"501", b"431"}


class Client:
    def __init__(self):
        self.tcp = socket.create_connection(("127.0.0.1", 80), timeout=30)
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A smuggler's own library does not check what it sends.
        self.h2 = H2Connection(H2Configuration(
            client_side=True, header_encoding=None, validate_outbound_headers=False,
            normalize_outbound_headers=False))
        self.h2.initiate_connection()
        self.flush()

    def flush(self):
        self.tcp.sendall(self.h2.data_to_send())

    def ask(self, fields, body=b"", trailers=None):
        """How a request ends: a status, `reset` or `closed`."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, fields, end_stream=not body and not trailers)
        if body:
            self.h2.send_data(stream, body, end_stream=not trailers)
        if trailers:
            self.h2.send_headers(stream, trailers, end_stream=True)
        status = None
        try:
            self.flush()
            while received := self.tcp.recv(65536):
                for event in self.h2.receive_data(received):
                    if isinstance(event, ConnectionTerminated):
                        return "closed"
                    if getattr(event, "stream_id", None) != stream:
                        continue
                    if isinstance(event, StreamReset):
                        return "reset"
                    if isinstance(event, ResponseReceived):
                        status = dict(event.headers)[b":status"]
                    if isinstance(event, DataReceived):
                        self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                    if isinstance(event, StreamEnded):
                        return status
                self.flush()
        except ConnectionError:
            pass
        return "closed"


def head(*more, method=b"GET", path=b"/", authority=b"upload", scheme=b"http"):
    pseudo = [(b":method", method), (b":scheme", scheme), (b":authority", authority), (b":path", path)]
    return [field for field in pseudo if field[1] is not None] + list(more)


def cases():
    for value in (b"a\r\nx-b: c", b"a\nb", b"a\rb", b"a\0b", b"a\r\n\r\n" + HIDDEN):
        yield head((b"x-a", value))
        yield head(path=b"/" + value)
        yield head(method=b"GET" + value)
        yield head(authority=b"upload" + value)
        yield head(scheme=b"http" + value)
        yield head((b"x-a" + value, b"1"))
    for name in (b"X-Upper", b"x a", b"x:a", b"x-a:", b":odd", b"", b"x\x7f", b"content-length "):
        yield head((name, b"1"))
    for name, value in ((b"connection", b"x-a"), (b"transfer-encoding", b"chunked"),
                        (b"keep-alive", b"1"), (b"upgrade", b"h2c"), (b"proxy-connection", b"close")):
        yield head((name, value))
    for length in (b"4", b"6", b"+5", b"0x5", b"", b"5, 6", b"-1", b"99999999999999999999"):
        yield head((b"content-length", length), method=b"POST"), b"hello"
    yield head((b"content-length", b"5"), (b"content-length", b"6"), method=b"POST"), b"hello"
    yield head((b"content-length", b"5"), (b"content-length", b"5"), method=b"POST"), b"hello"
    yield head((b"content-length", b"5"), method=b"POST")
    yield head((b"host", b"orders"))
    yield head((b":path", b"/hidden"))
    yield head((b":authority", b"orders"))
    yield [(b"x-first", b"1")] + head()
    yield head(method=None)
    yield head(path=None)
    yield head(path=b"")
    yield head(path=b"hidden")
    yield head(path=b"*")
    yield head(path=b"*?x")
    yield head(path=b"?/hidden")
    yield head(path=b"/a b")
    yield head(path=b"/ HTTP/1.1\tx")
    yield head(path=b"http://upload/")
    yield head(authority=None)
    yield head(authority=b"")
    yield head(authority=b"user@upload")
    yield head(authority=b"upload/path")
    yield head(method=b"GET /hidden HTTP/1.1")
    yield head(method=b"")
    yield head((b"te", b"chunked"))
    yield head(method=b"POST"), b"hello", [(b":path", b"/hidden")]


count = 0
for case in cases():
    fields, body, trailers = (*case, b"", None)[:3] if isinstance(case, tuple) else (case, b"", None)
    client = Client()
    end = client.ask(fields, body, trailers)
    if fields[-1] == (b"te", b"chunked") or trailers:
        # Removed, as every coding that is offered hop by hop, and as what has
        # no place in trailers.
        assert end in ("reset", b"200"), (case, end)
    else:
        assert end in ("reset", "closed") or end in REFUSED, (case, end)
    if end != "closed":
        assert client.ask(head(authority=b"hello", path=b"/sound")) == b"200", case
    client.tcp.close()
    count += 1
print(count)
