"""Reach Cloud Run services by name, authenticated, from this very process.

>>> import runsd
>>> with runsd.start(mode="proxy", region="us-east1") as engine:
...     engine.env()["http_proxy"]  # doctest: +ELLIPSIS
'http://127.0.0.1:...'
"""

from __future__ import annotations

from ._engine import Engine, Installed, State, Stats, StopReport, start
from ._runsd import __version__ as __version__
from .errors import (
    BindError,
    ConfigError,
    Error,
    ForkError,
    InternalError,
    StateError,
    StopTimeout,
)

__all__ = [
    "BindError",
    "ConfigError",
    "Engine",
    "Error",
    "ForkError",
    "Installed",
    "InternalError",
    "State",
    "StateError",
    "Stats",
    "StopReport",
    "StopTimeout",
    "__version__",
    "start",
]
