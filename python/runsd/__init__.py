"""Reach Cloud Run services by name, authenticated, from this very process.

>>> import runsd
>>> with runsd.start(mode="proxy", region="us-east1") as engine:
...     engine.env()["http_proxy"]  # doctest: +ELLIPSIS
'http://127.0.0.1:...'
"""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from . import _runsd
from .errors import BindError, ConfigError, Error, InternalError, StateError, StopTimeout

__all__ = [
    "BindError",
    "ConfigError",
    "Engine",
    "Error",
    "InternalError",
    "StateError",
    "StopReport",
    "StopTimeout",
    "__version__",
    "start",
]

__version__: str = _runsd.__version__


@dataclass(frozen=True)
class StopReport:
    """What stopping did."""

    aborted: int
    """Exchanges that were under way when the time ran out, and were cut."""


class Engine:
    """A running engine; made by :func:`start`. Any thread may use it."""

    def __init__(self, inner: _runsd.Engine) -> None:
        self._inner = inner

    @property
    def state(self) -> str:
        """``running``, ``stopping``, ``stopped`` or ``failed``."""
        return self._inner.state

    @property
    def mode(self) -> str:
        """How names reach the app: ``full``, ``proxy`` or ``off``."""
        return self._inner.mode

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

    def env(self) -> dict[str, str]:
        """The variables that tell clients of the proxy; empty but in the mode ``proxy``."""
        return dict(self._inner.env())

    def stop(self, drain: float = 5.0) -> StopReport:
        """Restores resolv.conf, lets work end for at most ``drain`` seconds, then cuts it.

        Calling it again gives the same report. Blocks without holding the GIL.
        """
        return StopReport(aborted=self._inner.stop(drain))

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def start(**settings: str) -> Engine:
    """Starts an engine; the keys are those of the JSON configuration file.

    When it returns, sockets are bound and resolv.conf is written or left on
    purpose. Blocks without holding the GIL, usually for some milliseconds.

    :raises ConfigError: a setting is wrong; the message lists every problem.
    :raises BindError: a port is taken or not permitted; the message says by whom.
    """
    return Engine(_runsd.start(list(settings.items())))
