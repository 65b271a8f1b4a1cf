"""``python -m runsd``: becomes the command ``runsd`` that the wheel installed."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig


def _command() -> str | None:
    schemes = [None, *(scheme for scheme in sysconfig.get_scheme_names() if "user" in scheme)]
    for scheme in schemes:
        folder = sysconfig.get_path("scripts", scheme) if scheme else sysconfig.get_path("scripts")
        command = os.path.join(folder, "runsd")
        if os.access(command, os.X_OK):
            return command
    return None


def main() -> None:
    """Does not return where the command is installed."""
    command = _command()
    if command is None:
        sys.exit("runsd: the command is not installed with this package; use a wheel that has it")
    # Python ignores these for itself; an app that inherited that would not end
    # as others do when nobody reads what it writes.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execv(command, [command, *sys.argv[1:]])


if __name__ == "__main__":
    main()
