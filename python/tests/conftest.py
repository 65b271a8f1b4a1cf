"""What the tests share: a service, and Python programs in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import runsd

PACKAGE = Path(runsd.__file__).resolve().parent.parent
"""Where the package that is tested is, in a checkout or installed."""

# In the background of a script a shell has it ignored, and programs inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

LIMIT = 180
"""No program here takes so many seconds, whatever else the machine does."""


class Service(BaseHTTPRequestHandler):
    """Says the path, and waits before it does if the path says so."""

    release = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.release.wait(30)
        body = f"hello from {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: tests are quiet."""


@pytest.fixture
def service() -> Iterator[str]:
    """The URL of a running service."""
    Service.release.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}"
        Service.release.set()
        server.shutdown()
        serving.join()


@pytest.fixture
def routes(service: str) -> list[dict[str, str]]:
    """``hello`` leads to the service."""
    return [{"name": "hello", "url": service}]


def plain_environment(**more: str) -> dict[str, str]:
    """An environment without this machine's ideas of proxies and settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, "PYTHONPATH": str(PACKAGE), **more}


def run(
    program: str, *arguments: str, timeout: float = LIMIT, **more: str
) -> subprocess.CompletedProcess[str]:
    """Runs a Python program that must succeed."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program, *arguments],
        env=plain_environment(**more),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done


@pytest.fixture
def routes_text(routes: list[dict[str, str]]) -> str:
    """The routes as the environment variable has them."""
    return json.dumps(routes)
