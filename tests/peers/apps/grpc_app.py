"""gRPC's own Python client against the service `grpc`; prints each check it passed."""

import os
import sys
import threading

import grpc

MEGABYTE = 1 << 20
LIMITS = [
    ("grpc.max_receive_message_length", 16 * MEGABYTE),
    ("grpc.max_send_message_length", 16 * MEGABYTE),
    ("grpc.max_metadata_size", 256 << 10),
]
METADATA = (("x-text", "two  words"), ("x-odd-bin", bytes(range(256))))
TIMEOUT = 30


def passed(check):
    print(check, flush=True)


def kinds(channel):
    unary = channel.unary_unary("/sim.Echo/Unary")
    assert unary(b"one", timeout=TIMEOUT) == b"one"
    assert unary(b"", timeout=TIMEOUT) == b""
    passed("unary")
    server = channel.unary_stream("/sim.Echo/ServerStream")
    assert list(server(b"\x05x", timeout=TIMEOUT)) == [b"\x05x"] * 5
    passed("server stream")
    client = channel.stream_unary("/sim.Echo/ClientStream")
    assert client(iter([b"a", b"b", b"c"]), timeout=TIMEOUT) == b"c"
    passed("client stream")
    conversation(channel)
    passed("bidirectional stream")


def conversation(channel):
    """Each message is sent when the answer to the one before it has come."""
    answered = threading.Semaphore()

    def questions():
        for number in range(20):
            answered.acquire()
            yield b"%d" % number

    answers = channel.stream_stream("/sim.Echo/Bidi")(questions(), timeout=TIMEOUT)
    for number, answer in enumerate(answers):
        assert answer == b"%d" % number
        answered.release()
    assert number == 19


def metadata(channel):
    unary = channel.unary_unary("/sim.Echo/Unary")
    _, call = unary.with_call(b"x", metadata=METADATA, timeout=TIMEOUT)
    for received in (call.initial_metadata(), call.trailing_metadata()):
        received = dict(received)
        for name, value in METADATA:
            assert received[name] == value, received
    passed("metadata")


def status_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error.code().value[0], error.details()
    raise AssertionError("it must fail")


def errors(channel):
    fail = channel.unary_unary("/sim.Echo/Fail")
    for code in range(1, 17):
        found = status_of(lambda: fail(b"", metadata=[("x-sim-status", str(code))], timeout=TIMEOUT))
        assert found == (code, "failed as asked"), found
    unknown = channel.unary_unary("/sim.Echo/Missing")
    assert status_of(lambda: unknown(b"", timeout=TIMEOUT)) == (12, "unknown method")
    passed("trailers-only errors")


def sizes(channel):
    large = os.urandom(9 * MEGABYTE)
    assert channel.unary_unary("/sim.Echo/Unary")(large, timeout=TIMEOUT) == large
    piece = b"\x03" + large[: 5 * MEGABYTE]
    assert list(channel.unary_stream("/sim.Echo/ServerStream")(piece, timeout=TIMEOUT)) == [piece] * 3
    passed("large messages")
    trailers = channel.unary_stream("/sim.Echo/Trailers")
    call = trailers(b"", metadata=[("x-sim-bytes", "65536")], timeout=TIMEOUT)
    assert list(call) == []
    assert len(dict(call.trailing_metadata())["x-sim-large"]) == 65536
    passed("large trailers")
    many = channel.stream_stream("/sim.Echo/Bidi")(iter([b"."] * 20_000), timeout=60)
    assert sum(1 for _ in many) == 20_000
    passed("many small messages")


def ends(channel):
    hang = channel.unary_stream("/sim.Echo/Hang")
    found, _ = status_of(lambda: list(hang(b"", timeout=0.3)))
    assert found == 4, found
    passed("deadline")
    call = hang(b"", metadata=[("x-cancelled", "yes")])
    call.initial_metadata()
    call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED
    # The library tells the peer on its own time; the next call is behind it.
    assert channel.unary_unary("/sim.Echo/Unary")(b"next", timeout=TIMEOUT) == b"next"
    passed("cancellation")


def all_of(channel):
    for part in (kinds, metadata, errors, sizes, ends):
        part(channel)


def only_status(channel):
    """What the proxy itself says to a call."""
    print(*status_of(lambda: channel.unary_unary("/sim.Echo/Unary")(b"x", timeout=TIMEOUT)))


target, what = sys.argv[1:]
with grpc.insecure_channel(target, options=LIMITS) as channel:
    {"all": all_of, "status": only_status}[what](channel)
