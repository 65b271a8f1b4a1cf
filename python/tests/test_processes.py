"""Processes: forks, spawns, and a server with workers."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import conftest
import pytest

FORK = """
import os, sys, urllib.request, runsd
engine = runsd.start(mode="proxy", routes=sys.argv[1])
def fetch():
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": engine.proxy_url}))
    assert opener.open("http://hello/f", timeout=30).read() == b"hello from /f"
fetch()
child = os.fork()
if child == 0:
    assert engine.state is runsd.State.FORKED
    assert engine.owner_pid == os.getppid()
    for call in (engine.stop, engine.wait, engine.stats, lambda: runsd.start(mode="proxy")):
        try:
            call()
        except runsd.ForkError as error:
            assert error.code == 6 and str(engine.owner_pid) in str(error), error
        else:
            raise SystemExit("not refused")
    fetch()
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
fetch()
assert engine.stop().aborted == 0
"""

MULTIPROCESSING = """
import multiprocessing, os, sys, urllib.request, runsd

def fetch(url):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": url}))
    return opener.open("http://hello/m", timeout=30).read().decode()

def own_engine(routes):
    with runsd.start(mode="proxy", routes=routes) as engine:
        return fetch(engine.proxy_url)

if __name__ == "__main__":
    method, routes = sys.argv[1:]
    context = multiprocessing.get_context(method)
    with runsd.start(mode="proxy", routes=routes) as engine:
        with context.Pool(2) as pool:
            answers = pool.map(fetch, [engine.proxy_url] * 4)
            if method == "spawn":
                answers += pool.map(own_engine, [routes] * 2)
    assert set(answers) == {"hello from /m"}, answers
"""

APP = """
import os, urllib.request, runsd

engine = runsd.start(mode="proxy") if {preload} else None

def application(environ, start_response):
    global engine
    if engine is None:
        engine = runsd.start(mode="proxy")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({{"http": engine.proxy_url}}))
    body = opener.open("http://hello/g", timeout=30).read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode(), b" ", engine.state.encode(), b" ", body]
"""


def test_a_forked_child_is_refused_and_served(routes_text: str) -> None:
    conftest.run(FORK, routes_text)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing(method: str, routes_text: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(MULTIPROCESSING)
    subprocess.run(
        [sys.executable, str(program), method, routes_text],
        env=conftest.plain_environment(),
        timeout=60,
        check=True,
    )


@pytest.mark.parametrize("preload", [True, False])
def test_gunicorn_with_four_workers(preload: bool, routes_text: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP.format(preload=preload))
    command = [sys.executable, "-m", "gunicorn", "--workers=4", "--bind=127.0.0.1:0", "app"]
    if preload:
        command.append("--preload")
    environment = conftest.plain_environment(RUNSD_ROUTES=routes_text, HOME=str(tmp_path))
    server = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        url, said = listening(server)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        seen: dict[str, str] = {}
        until = time.monotonic() + 60
        while len(seen) < 4 and time.monotonic() < until:
            with direct.open(url, timeout=30) as answer:
                pid, state, body = answer.read().decode().split(" ", 2)
            assert body == "hello from /g"
            seen[pid] = state
        assert set(seen.values()) == {"forked" if preload else "running"}, (seen, said)
        assert len(seen) >= 2
    except OSError as error:
        raise AssertionError(said) from error
    finally:
        server.send_signal(signal.SIGTERM)
        ended = server.wait(60)
    assert ended == 0


def listening(server: subprocess.Popen[str]) -> tuple[str, list[str]]:
    """Where it says that it listens, and what it says, also later."""
    assert server.stderr is not None
    said: list[str] = []
    for line in server.stderr:
        said.append(line)
        if found := re.search(r"Listening at: (http://\S+)", line):
            rest = server.stderr
            threading.Thread(target=lambda: said.extend(rest), daemon=True).start()
            return found[1], said
    raise AssertionError(said)
