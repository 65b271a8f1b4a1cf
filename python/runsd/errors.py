"""What can go wrong. Every class can be pickled."""

from __future__ import annotations


class Error(Exception):
    """Why a call failed: a sentence for people, and ``code``, the C interface's number."""

    code: int
    """The number of this kind of failure, which is never used for another."""

    def __init__(self, message: str, code: int = 99, errno: int = 0) -> None:
        super().__init__(message)
        self._message = message
        self.code = code
        # A slot of the operating system's errors, an attribute of the others.
        self.errno = errno or None

    def __str__(self) -> str:
        return self._message

    def __reduce__(self) -> tuple[type[Error], tuple[str, int, int]]:
        return type(self), (self._message, self.code, self.errno or 0)


class ConfigError(Error, ValueError):
    """A setting is wrong; the message lists every problem."""


class BindError(Error, OSError):
    """A socket or resolv.conf could not be had; ``errno`` is the system's number."""


class StateError(Error, RuntimeError):
    """The call does not fit the engine's state, or another engine has what it needs."""


class ForkError(Error, RuntimeError):
    """The engine belongs to the process from which this one was forked."""


class StopTimeout(Error, TimeoutError):
    """It took too long."""


class InternalError(Error, RuntimeError):
    """Everything else: no metadata server where there must be one, and defects of runsd."""
