"""Processes: forks, spawns, and servers with workers."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

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
            assert "post_fork" in str(error) and "spawned" in str(error), error
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
import os, pathlib, time, urllib.request, runsd

engine = runsd.start(mode="proxy") if {preload} else None

def application(environ, start_response):
    global engine
    if engine is None:
        engine = runsd.start(mode="proxy")
    # Whoever has a request waits until every worker has one.
    pathlib.Path(f"at-work-{{os.getpid()}}").touch()
    while len(list(pathlib.Path().glob("at-work-*"))) < 4:
        time.sleep(0.01)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({{"http": engine.proxy_url}}))
    body = opener.open("http://hello/g", timeout=30).read()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode(), b" ", engine.state.encode(), b" ", body]
"""


ASGI = """
import contextlib, os
from fastapi import FastAPI
import aiohttp, runsd

@contextlib.asynccontextmanager
async def lifespan(app):
    async with runsd.start(mode="proxy") as engine:
        app.state.engine = engine
        yield
    # Whether the end came in order is seen in what uvicorn says.
    print("stopped:", engine.state.value, flush=True)

app = FastAPI(lifespan=lifespan)

@app.get("/")
async def root():
    async with aiohttp.ClientSession(proxy=app.state.engine.proxy_url) as session:
        async with session.get("http://hello/u") as answer:
            return {"pid": os.getpid(), "said": await answer.text()}
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
        timeout=conftest.LIMIT,
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
        url, rest = listening(server)
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))

        def ask(_: int) -> list[str]:
            with direct.open(url, timeout=conftest.LIMIT) as answer:
                text: str = answer.read().decode()
                return text.split(" ", 2)

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(ask, range(4)))
        expected = "forked" if preload else "running"
        assert len({pid for pid, _, _ in answers}) == 4, (answers, rest.lines)
        assert {(state, body) for _, state, body in answers} == {(expected, "hello from /g")}
    except OSError as error:
        raise AssertionError(rest.lines) from error
    finally:
        server.send_signal(signal.SIGTERM)
        ended = server.wait(conftest.LIMIT)
    assert ended == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_uvicorn(workers: int, routes_text: str, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(ASGI)
    # Workers share a socket that is bound before them; a single one binds its own.
    command = [sys.executable, "-m", "uvicorn", f"--workers={workers}", "--port=0", "app:app"]
    environment = conftest.plain_environment(RUNSD_ROUTES=routes_text, HOME=str(tmp_path))
    server = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        url, rest = listening(server)
        # It says so before its workers listen.
        curl = ["curl", "-sS", "--retry", "120", "--retry-delay", "1", "--retry-connrefused", url]
        answer = subprocess.run(
            curl, capture_output=True, text=True, check=True, timeout=conftest.LIMIT
        )
        assert json.loads(answer.stdout)["said"] == "hello from /u"
        # One that is still beginning would have no end in order.
        rest.until("Application startup complete", workers)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(conftest.LIMIT)
    said = "".join(rest.said())
    assert said.count("stopped: stopped") == workers, said


class Rest(threading.Thread):
    """Reads what a server says after it listens, so that it never waits for us."""

    def __init__(self, pipe: IO[str], lines: list[str]) -> None:
        super().__init__(daemon=True)
        self.lines = lines
        self._pipe = pipe
        self.start()

    def run(self) -> None:
        for line in self._pipe:
            self.lines.append(line)

    def until(self, text: str, times: int) -> None:
        """Waits until it has said this so often."""
        end = time.monotonic() + conftest.LIMIT
        while sum(text in line for line in list(self.lines)) < times:
            assert time.monotonic() < end and self.is_alive(), self.lines
            time.sleep(0.01)

    def said(self) -> list[str]:
        """Everything, once the server has ended."""
        self.join(conftest.LIMIT)
        return self.lines


def listening(server: subprocess.Popen[str]) -> tuple[str, Rest]:
    """Where it says that it listens, and what it says otherwise."""
    pipe = server.stderr or server.stdout
    assert pipe is not None
    said: list[str] = []
    for line in pipe:
        said.append(line)
        if found := re.search(r"(?:Listening at:|running on) (http://[0-9.:]+)", line):
            return found[1], Rest(pipe, said)
    raise AssertionError(said)
