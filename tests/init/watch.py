"""What the lines of the story watch: the processes of this PID namespace."""

import os
import time

# Longer than a loaded machine takes for anything here.
PATIENCE = 30.0


class Wrong(Exception):
    """A line of the story did not go as it should."""


def until(what, condition):
    """Waits for a condition, and gives its value; a bound, not a rhythm."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.002)
    raise Wrong(f"never: {what}")


def processes():
    """pid → (parent, state, name) of everything there is."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                    text = file.read()
            except OSError:
                continue
            name, rest = text.split("(", 1)[1].rsplit(") ", 1)
            state, parent = rest.split()[:2]
            found[int(entry)] = (int(parent), state, name)
    return found


def children(pid):
    return [one for one, (parent, _, _) in processes().items() if parent == pid]


def descendants(pid):
    return [two for one in children(pid) for two in [one, *descendants(one)]]


def state(pid):
    found = processes().get(pid)
    return found[1] if found else None


def same(found, expected):
    if found != expected:
        raise Wrong(f"{found!r} instead of {expected!r}")
