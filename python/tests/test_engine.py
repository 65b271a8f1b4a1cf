"""The Python face, in the mode that needs no privileges."""

from __future__ import annotations

import pickle
import socket
import threading

import pytest

import runsd

ROUTE = '[{"name": "hello", "url": "http://127.0.0.1:9"}]'


def test_the_version_is_one() -> None:
    assert runsd.__version__.count(".") == 2


def test_an_engine_starts_serves_and_stops() -> None:
    with runsd.start(mode="proxy", routes=ROUTE) as engine:
        assert (engine.state, engine.mode) == ("running", "proxy")
        assert engine.proxy_url is not None
        assert engine.env()["http_proxy"] == engine.proxy_url
        host, port = engine.proxy_url.removeprefix("http://").rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=10) as app:
            app.sendall(b"GET http://hello/ HTTP/1.1\r\nHost: hello\r\n\r\n")
            answer = app.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 502 "), answer
        assert b"127.0.0.1:9" in answer
    assert engine.state == "stopped"
    assert engine.stop() == runsd.StopReport(aborted=0)


def test_mistakes_are_told_all_at_once() -> None:
    with pytest.raises(runsd.ConfigError) as caught:
        runsd.start(mode="nonsense", regoin="us-east1")
    text = str(caught.value)
    assert "nonsense" in text and "regoin" in text, text
    assert caught.value.code == 3
    assert isinstance(caught.value, ValueError)


def test_a_taken_port_is_an_os_error_that_names_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(runsd.BindError, match="is taken") as caught:
            runsd.start(mode="proxy", routes=ROUTE, proxy_addr=address)
        assert isinstance(caught.value, OSError)


@pytest.mark.parametrize(
    "error",
    [runsd.ConfigError("a", 3), runsd.BindError("b", 8), runsd.StopTimeout("c", 7)],
)
def test_exceptions_can_be_pickled(error: runsd.Error) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code) == (type(error), str(error), error.code)


def test_stopping_from_many_threads_gives_one_report() -> None:
    engine = runsd.start(mode="proxy", routes=ROUTE)
    reports: list[runsd.StopReport] = []
    threads = [threading.Thread(target=lambda: reports.append(engine.stop(0))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reports == [runsd.StopReport(aborted=0)] * 8
