"""The engine's log in :mod:`logging`."""

from __future__ import annotations

import logging

import conftest
import pytest

import runsd


def test_records_reach_loggers_by_their_room(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "runsd"):
        runsd.start(mode="proxy", log_level="debug").stop()
    records = [record for record in caplog.records if record.name == "runsd.engine"]
    assert any("proxy mode" in record.getMessage() for record in records), caplog.text
    assert all(record.created > 1.6e9 for record in records)


def test_nothing_comes_after_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "runsd"):
        engine = runsd.start(mode="proxy", log_level="trace")
        engine.stop()
        count = len(caplog.records)
        engine.stop()
    assert len(caplog.records) == count > 0


def test_what_a_slow_handler_misses_is_counted() -> None:
    program = """
import logging, socket, threading, runsd
from concurrent.futures import ThreadPoolExecutor
go_on, began, told = threading.Event(), threading.Event(), []
class Slow(logging.Handler):
    def emit(self, record):
        began.set()
        go_on.wait()
        told.append(record.getMessage())
logger = logging.getLogger("runsd")
logger.addHandler(Slow())
logger.setLevel(1)
logger.propagate = False
engine = runsd.start(mode="proxy", log_level="trace")
port = int(engine.proxy_url.rsplit(":", 1)[1])
began.wait()
def ask(number):
    with socket.create_connection(("127.0.0.1", port)) as app:
        # Names of their own: the log counts what only repeats.
        host = f"a_{number}"
        app.sendall(f"GET http://{host}/ HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n".encode())
        assert app.recv(1000)
# Each of these is worth a record or more, and 1024 may wait.
with ThreadPoolExecutor(32) as pool:
    list(pool.map(ask, range(1300)))
go_on.set()
engine.stop()
lost = [text for text in told if "log records were lost" in text]
assert len(lost) == 1, lost
assert len(told) < 1300, len(told)
"""
    conftest.run(program)


def test_a_handler_may_stop_the_engine() -> None:
    program = """
import logging, queue, runsd
engines = queue.Queue()
class Stopping(logging.Handler):
    def emit(self, record):
        if not engines.empty():
            engines.get().stop(0)
logging.getLogger("runsd").addHandler(Stopping())
logging.getLogger("runsd").setLevel(logging.DEBUG)
engine = runsd.start(mode="proxy", log_level="debug")
engines.put(engine)
import socket
port = int(engine.proxy_url.rsplit(":", 1)[1])
while engine.state is not runsd.State.STOPPED:
    try:
        with socket.create_connection(("127.0.0.1", port)) as app:
            app.sendall(b"GET http://a_b/ HTTP/1.1\\r\\nHost: a_b\\r\\n\\r\\n")
            app.recv(1000)
    except OSError:
        pass
"""
    conftest.run(program)


@pytest.mark.parametrize("ending", ["", "import sys; sys.exit(0)", "raise KeyboardInterrupt"])
def test_an_interpreter_ends_in_order_while_everything_logs(ending: str) -> None:
    program = f"""
import logging, threading, socket, runsd
logging.basicConfig(level=logging.DEBUG)
engine = runsd.start(mode="proxy", log_level="trace")
port = int(engine.proxy_url.rsplit(":", 1)[1])
def load():
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as app:
                app.sendall(b"GET http://a_b/ HTTP/1.1\\r\\nHost: a_b\\r\\n\\r\\n")
                app.recv(1000)
        except OSError:
            return
for _ in range(4):
    threading.Thread(target=load, daemon=True).start()
while engine.stats().proxy_requests < 20:
    pass
try:
    {ending or "pass"}
except KeyboardInterrupt:
    pass
"""
    done = conftest.run(program)
    assert "Fatal" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert "proxy mode" in done.stderr


def test_a_stopped_engine_leaves_no_thread() -> None:
    program = """
import os, time, runsd
def threads():
    return len(os.listdir("/proc/self/task"))
for _ in range(20):
    runsd.start(mode="proxy").stop()
# The kernel lists a thread for a moment after it was joined.
until = time.monotonic() + 30
while threads() > 2 and time.monotonic() < until:
    time.sleep(0.01)
assert threads() == 2, "Python's own, and the reactor's"
"""
    conftest.run(program)


def test_an_engine_that_nobody_holds_is_stopped() -> None:
    program = """
import gc, socket, runsd
engine = runsd.start(mode="proxy")
port = int(engine.proxy_url.rsplit(":", 1)[1])
del engine
gc.collect()
try:
    socket.create_connection(("127.0.0.1", port))
except ConnectionRefusedError:
    pass
else:
    raise SystemExit("still listening")
"""
    conftest.run(program)
