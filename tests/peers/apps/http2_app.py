"""An HTTP/2 client that decides for itself when to read and when to give up;
says `done` at the end."""

import socket
import sys

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (DataReceived, ResponseReceived, StreamEnded, StreamReset,
                       ConnectionTerminated, WindowUpdated)

PIECE = bytes(16 << 10)


class Client:
    def __init__(self):
        self.tcp = socket.create_connection(("127.0.0.1", 80), timeout=30)
        self.tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.h2 = H2Connection(H2Configuration(client_side=True))
        self.h2.initiate_connection()
        # Siblings of a stalled stream need room in the connection's window.
        self.h2.increment_flow_control_window(64 << 20)
        self.flush()

    def flush(self):
        self.tcp.sendall(self.h2.data_to_send())

    def request(self, host, path, method="GET", end=True):
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [
            (":method", method), (":scheme", "http"), (":authority", host), (":path", path)], end)
        self.flush()
        return stream

    def send(self, stream, size, shut):
        """Sends a body of `size` bytes; calls `shut` while the windows are shut."""
        sent = 0
        while sent < size:
            room = min(self.h2.local_flow_control_window(stream), len(PIECE), size - sent)
            if room > 0:
                self.h2.send_data(stream, PIECE[:room])
                self.flush()
                sent += room
            else:
                shut()
        self.h2.end_stream(stream)
        self.flush()

    def events(self):
        received = self.tcp.recv(1 << 20)
        assert received, "the proxy has left"
        for event in self.h2.receive_data(received):
            assert not isinstance(event, ConnectionTerminated), event
            yield event
        self.flush()

    def wait(self, kind, stream):
        """Waits for an event of the kind on the stream; data goes by unread."""
        while True:
            for event in list(self.events()):
                if getattr(event, "stream_id", None) == stream:
                    assert not isinstance(event, StreamReset), event
                    if isinstance(event, kind):
                        return event

    def sibling(self):
        self.wait(StreamEnded, self.request("hello", "/sibling"))

    def read(self, stream, size):
        """Reads the rest of a stream of which `size` bytes have come unread."""
        total = size
        self.h2.acknowledge_received_data(size, stream)
        self.flush()
        while True:
            for event in list(self.events()):
                if getattr(event, "stream_id", None) != stream:
                    continue
                if isinstance(event, DataReceived):
                    total += len(event.data)
                    self.h2.acknowledge_received_data(event.flow_controlled_length, stream)
                elif isinstance(event, StreamEnded):
                    return total
                assert not isinstance(event, StreamReset), event
            self.flush()


def stalled_reader(size):
    client = Client()
    stream = client.request("download", f"/?bytes={size}")
    window, unread = min(size, 65535), 0
    while unread < window:
        for event in list(client.events()):
            if isinstance(event, DataReceived):
                unread += len(event.data)
    for _ in range(100):
        client.sibling()
    if size > window:
        assert client.read(stream, unread) == size


def stalled_service(size):
    client = Client()
    stream = client.request("upload", "/?gate=stream", "POST", end=False)
    opened = False

    def shut():
        nonlocal opened
        if opened:
            list(client.events())
        elif quiet(client):
            # For this stream alone.
            for _ in range(20):
                client.sibling()
            client.request("gate", "/?id=stream")
            opened = True

    client.send(stream, size, shut)
    if not opened:
        client.request("gate", "/?id=stream")
    body = b""
    while True:
        for event in list(client.events()):
            if getattr(event, "stream_id", None) == stream:
                if isinstance(event, DataReceived):
                    body += event.data
                if isinstance(event, StreamEnded):
                    assert b'"bytes":%d' % size in body, body
                    return


def quiet(client):
    """Whether half a second passes without an event."""
    client.tcp.settimeout(0.5)
    try:
        list(client.events())
        return False
    except TimeoutError:
        return True
    finally:
        client.tcp.settimeout(30)


def cancelled(count):
    """Each stream is given up once its answer has begun."""
    client = Client()
    for _ in range(count):
        stream = client.request("sse", "/?n=2&gate=never")
        client.wait(ResponseReceived, stream)
        client.h2.reset_stream(stream, 8)
        client.flush()
    client.sibling()


def uploaded(size):
    """A connection on which an upload has come and gone."""
    client = Client()
    stream = client.request("upload", "/", "POST", end=False)
    client.send(stream, size, lambda: list(client.events()))
    client.wait(StreamEnded, stream)
    return client


def idle(proxy):
    """Connections that are kept after bulk cost what others cost, but for a
    little: less than the room of 32 KiB that they were read into."""
    def resident():
        with open(f"/proc/{proxy}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))

    kept = [uploaded(1) for _ in range(100)]
    sizes = [resident()]
    for size in (1, 256 << 10):
        kept += [uploaded(size) for _ in range(200)]
        sizes.append(resident())
    small, large = ((after - before) / 200 for before, after in zip(sizes, sizes[1:]))
    print(f"{small:.1f} KiB a connection, {large:.1f} after bulk", file=sys.stderr)
    assert large - small < 24, sizes


what, count = sys.argv[1:]
{"stalled-reader": stalled_reader, "stalled-service": stalled_service, "cancelled": cancelled,
 "idle": idle}[what](int(count))
print("done")
