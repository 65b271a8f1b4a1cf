"""Engines, and how they are started."""

from __future__ import annotations

import asyncio
import atexit
import os
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from types import TracebackType
from typing import Literal

from ._logging import Bridge
from ._runsd import Engine as NativeEngine
from ._runsd import Logs
from ._runsd import start as native_start
from ._settings import Route, Value, texts
from .errors import ForkError, StopTimeout

_FORKED = 6
_TIMEOUT = 7


class State(str, Enum):
    """Where an engine is in its life."""

    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    FORKED = "forked"
    """Seen in a process that was forked from the engine's own."""


@dataclass(frozen=True)
class StopReport:
    """What stopping did."""

    aborted: int
    """Exchanges that were under way when the time ran out, and were cut."""


@dataclass(frozen=True)
class Stats:
    """Counts since an engine's start."""

    dns_queries: int
    dns_forwarded: int
    dns_failed: int
    proxy_connections: int
    proxy_requests: int
    proxy_errors: int
    upstream_connections: int
    upstream_reused: int
    token_fetches: int
    token_failures: int
    panics: int


class Installed:
    """Proxy variables in ``os.environ``, until :meth:`uninstall` or the end of a ``with``."""

    def __init__(self, variables: dict[str, str]) -> None:
        self._variables = variables
        self._before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)

    def uninstall(self) -> None:
        """Puts back what was there, but for what somebody else has changed since."""
        for name, value in self._variables.items():
            before = self._before[name]
            if os.environ.get(name) != value:
                continue
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before
        self._variables = {}

    def __enter__(self) -> Installed:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.uninstall()


class Engine:
    """A running engine; made by :func:`start`. Any thread may use it.

    In a process that was forked from the engine's own it serves on, but is no
    longer this process's: every method that would change it, or wait, raises
    :class:`ForkError`.
    """

    def __init__(self, inner: NativeEngine, logs: Logs) -> None:
        self._inner = inner
        self._bridge = Bridge(logs)
        self._owner_pid = os.getpid()
        _running.add(self)

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return State(self._inner.state)

    @property
    def mode(self) -> str:
        """How names reach the app: ``full``, ``proxy`` or ``off``."""
        return self._inner.mode

    @property
    def owner_pid(self) -> int:
        """The process whose threads it runs on."""
        return self._owner_pid

    @property
    def proxy_url(self) -> str | None:
        """The URL of the proxy; ``None`` in the mode ``off``."""
        for host, port in self._inner.proxy_addrs:
            shown = f"[{host}]" if ":" in host else host
            return f"http://{shown}:{port}"
        return None

    @property
    def dns_addr(self) -> tuple[str, int] | None:
        """Where DNS is answered; ``None`` but in the mode ``full``."""
        addresses = self._inner.dns_addrs
        return addresses[0] if addresses else None

    @property
    def admin_addr(self) -> tuple[str, int] | None:
        """Where the admin endpoint is; ``None`` unless ``admin_addr`` asks for one."""
        return self._inner.admin_addr

    def env(self) -> dict[str, str]:
        """The variables that tell clients of the proxy; empty but in the mode ``proxy``."""
        return dict(self._inner.env())

    def install(self) -> Installed:
        """Puts :meth:`env` into ``os.environ``, where ``requests``, ``httpx``,
        ``urllib`` and child processes find it. Clients that exist already may
        have read it before."""
        return Installed(self.env())

    def stats(self) -> Stats:
        """Counts since the start."""
        self._check_process()
        return Stats(*self._inner.stats())

    def stop(self, drain: float = 5.0, *, strict: bool = False) -> StopReport:
        """Restores resolv.conf, lets work end for at most ``drain`` seconds, then cuts it.

        Calling it again, or from several threads, gives the same report; the least
        ``drain`` counts. Blocks without holding the GIL. Ctrl-C is heard while it
        waits; the engine goes on stopping then.

        :raises StopTimeout: with ``strict``, if something had to be cut.
        :raises ForkError: in a child process.
        """
        self._check_process()
        try:
            report = StopReport(aborted=self._inner.stop(drain))
        finally:
            if self.state in (State.STOPPED, State.FAILED):
                self._bridge.end()
        if strict and report.aborted:
            text = f"{report.aborted} exchanges were cut, because they took over {drain} s"
            raise StopTimeout(text, _TIMEOUT)
        return report

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it has stopped, at most ``timeout`` seconds; whether it has.

        Blocks without holding the GIL, and hears Ctrl-C.

        :raises InternalError: it failed; the message says why.
        :raises ForkError: in a child process.
        """
        self._check_process()
        return self._inner.wait(timeout)

    async def astop(self, drain: float = 5.0) -> StopReport:
        """As :meth:`stop`, without blocking the event loop. It goes on if cancelled."""
        return await asyncio.get_running_loop().run_in_executor(None, self.stop, drain)

    def _check_process(self) -> None:
        if os.getpid() != self._owner_pid:
            raise ForkError(
                f"this engine was started in process {self._owner_pid}, from which this process "
                "was forked: it goes on serving both, and ends there. Start one of this process's "
                "own only where the parent has none: after the fork (gunicorn: in post_fork, "
                "without --preload), or in a process that is spawned instead",
                _FORKED,
            )

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A forked child leaves the block too, and the engine is its parent's.
        if os.getpid() == self._owner_pid:
            self.stop()

    async def __aenter__(self) -> Engine:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if os.getpid() == self._owner_pid:
            await self.astop()

    def __repr__(self) -> str:
        return f"<runsd.Engine {self.state.value}, mode {self.mode}, proxy {self.proxy_url}>"


_running: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _end() -> None:
    """Stops what still runs: resolv.conf is put back, and no thread is left that
    would meet an interpreter which is no more."""
    for engine in list(_running):
        if engine.owner_pid == os.getpid():
            try:
                engine.stop(0)
            except Exception:
                # It is over, and nobody is left to tell.
                pass


def start(
    *,
    config: str | None = None,
    mode: Literal["auto", "full", "proxy", "off"] | None = None,
    dns: bool | None = None,
    platform_names: bool | None = None,
    proxy: bool | None = None,
    strict: bool | None = None,
    region: str | None = None,
    project: str | None = None,
    project_hash: str | None = None,
    allow_projects: str | Iterable[str] | None = None,
    routes: str | Iterable[Route] | None = None,
    allow: str | Iterable[str] | None = None,
    upstream_http: Literal["auto", "1", "2"] | None = None,
    rewrite_redirects: bool | None = None,
    domain: str | None = None,
    ndots: int | None = None,
    nameservers: str | Iterable[str] | None = None,
    resolv_conf: str | None = None,
    resolv_conf_mode: Literal["rewrite", "leave"] | None = None,
    dns_addrs: str | Iterable[str] | None = None,
    proxy_addrs: str | Iterable[str] | None = None,
    admin_addr: str | None = None,
    allow_remote: bool | None = None,
    ca_file: str | None = None,
    connect_to: str | Iterable[str] | None = None,
    metadata_host: str | None = None,
    threads: int | None = None,
    log_level: Literal["error", "warn", "info", "debug", "trace"] | None = None,
    access_log: bool | None = None,
    **options: str,
) -> Engine:
    """Starts an engine; the keys are those of the JSON configuration file, which
    ``config`` names, and ``options`` are further ones.

    When it returns, sockets are bound and resolv.conf is written or left on
    purpose. Blocks without holding the GIL, usually for some milliseconds. The log
    goes to ``logging.getLogger("runsd")``; ``log_level`` says what is worth a
    record.

    :raises ConfigError: a setting is wrong; the message lists every problem.
    :raises BindError: a port is taken or not permitted; the message says by whom.
    :raises ForkError: this process was forked from one that had an engine.
    """
    # Before anything else has a name: these are the parameters.
    given: dict[str, Value] = dict(locals())
    del given["options"]
    return Engine(*native_start(texts({**given, **options})))
