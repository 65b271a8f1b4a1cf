"""What can go wrong. Every class can be pickled."""

from __future__ import annotations


class Error(Exception):
    """Why a call failed: a sentence for people, and ``code``, the C interface's number."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message, code)
        self.code = code

    def __str__(self) -> str:
        return str(self.args[0])


class ConfigError(Error, ValueError):
    """A setting is wrong."""


class BindError(Error, OSError):
    """A socket or resolv.conf could not be had."""

    def __init__(self, message: str, code: int) -> None:
        Error.__init__(self, message, code)


class StateError(Error, RuntimeError):
    """The call does not fit the engine's state, or another engine has what it needs."""


class StopTimeout(Error, TimeoutError):
    """It took too long."""

    def __init__(self, message: str, code: int) -> None:
        Error.__init__(self, message, code)


class InternalError(Error):
    """Everything else, defects of runsd included."""
