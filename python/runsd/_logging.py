"""From the engine's log to ``logging.getLogger("runsd")``.

One thread for each engine takes records from a queue with a bound and hands them
to :mod:`logging`. It is Python's own, so that handlers may do what they like, and
it ends before the interpreter shuts down.
"""

from __future__ import annotations

import logging
import threading
import traceback

from ._runsd import Logs

_logger = logging.getLogger("runsd")


class Bridge:
    """Hands the records of one engine over until they end."""

    def __init__(self, logs: Logs) -> None:
        self._logs = logs
        # A daemon, because the interpreter waits for others before it lets
        # anybody end them.
        self._thread = threading.Thread(
            target=_hand_over, args=(logs,), name="runsd-logging", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        """Returns when every record has been handed over; takes no more."""
        self._logs.close()
        if self._thread is not threading.current_thread():
            self._thread.join()


def _hand_over(logs: Logs) -> None:
    while True:
        records, lost = logs.take()
        for level, room, message, time in records:
            _handle(level, f"runsd.{room}", message, time)
        if lost:
            _logger.warning("%d log records were lost, because logging is slow", lost)
        if not records:
            return


def _handle(level: int, name: str, message: str, time: float) -> None:
    logger = logging.getLogger(name)
    if not logger.isEnabledFor(level):
        return
    record = logger.makeRecord(name, level, "runsd", 0, message, (), None)
    record.created = time
    record.msecs = time % 1 * 1000
    try:
        logger.handle(record)
    except Exception:
        # What a handler raises must not end the records after it; told as
        # logging tells of handlers that fail.
        if logging.raiseExceptions:
            traceback.print_exc()
