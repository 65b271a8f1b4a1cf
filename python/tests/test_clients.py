"""HTTP clients that are told of the proxy by ``os.environ``."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import aiohttp
import conftest
import httpx
import pytest
import requests

import runsd

CALL = "import urllib.request as u; print(u.urlopen('http://hello/child', timeout=30).read())"


@pytest.fixture(autouse=True)
def no_other_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def test_clients_find_the_installed_proxy(routes: list[dict[str, str]]) -> None:
    with runsd.start(mode="proxy", routes=routes) as engine, engine.install():
        assert requests.get("http://hello/r", timeout=30).text == "hello from /r"
        assert httpx.get("http://hello/h", timeout=30).text == "hello from /h"
        # urlopen() keeps the proxies of its first call for good.
        with urllib.request.build_opener().open("http://hello/u", timeout=30) as answer:
            assert answer.read() == b"hello from /u"
        child = subprocess.run([sys.executable, "-c", CALL], capture_output=True, check=True)
        assert b"hello from /child" in child.stdout


def test_aiohttp_finds_it_if_it_trusts_the_environment(routes: list[dict[str, str]]) -> None:
    async def fetch() -> str:
        async with aiohttp.ClientSession(trust_env=True) as session:
            async with session.get("http://hello/a") as answer:
                return await answer.text()

    with runsd.start(mode="proxy", routes=routes) as engine, engine.install():
        assert asyncio.run(fetch()) == "hello from /a"


def test_clients_need_no_environment(routes: list[dict[str, str]]) -> None:
    with runsd.start(mode="proxy", routes=routes) as engine:
        assert engine.proxy_url is not None
        proxies = {"http": engine.proxy_url}
        assert requests.get("http://hello/r", proxies=proxies, timeout=30).status_code == 200
        with httpx.Client(proxy=engine.proxy_url, timeout=30) as client:
            assert client.get("http://hello/h").status_code == 200


def test_the_environment_is_given_back() -> None:
    os.environ["no_proxy"] = "example.com"
    try:
        with runsd.start(mode="proxy") as engine:
            installed = engine.install()
            assert os.environ["http_proxy"] == engine.proxy_url
            assert os.environ["no_proxy"].startswith("example.com,")
            os.environ["HTTP_PROXY"] = "http://somebody.else"
            installed.uninstall()
            installed.uninstall()
        assert os.environ["no_proxy"] == "example.com"
        assert os.environ.pop("HTTP_PROXY") == "http://somebody.else"
        assert "http_proxy" not in os.environ
    finally:
        del os.environ["no_proxy"]


def test_the_example_of_the_readme_runs(routes_text: str) -> None:
    readme = Path(__file__, "../../../README.md").resolve().read_text(encoding="utf-8")
    examples = re.findall(r"^```python\n(.*?)^```", readme, re.M | re.S)
    assert examples
    for example in examples:
        conftest.run(example, RUNSD_ROUTES=routes_text)
