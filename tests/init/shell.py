"""The lines of the story that need a person at a terminal."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import tempfile
import termios
import time

from watch import PATIENCE, Wrong, descendants, processes, same, state, until


class Shell:
    """A real bash on a terminal, alone or as an INIT's command, and a person at it."""

    def __init__(self, before):
        argv = before + ["bash", "--norc", "--noprofile", "-i"]
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ.update(PS1="PROMPT> ", TERM="dumb", HISTFILE="/dev/null")
            os.execvp(argv[0], argv)
        self.shown = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            for pid in descendants(self.pid):
                os.kill(pid, signal.SIGKILL)
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def wait_for(self, pattern):
        end = time.monotonic() + PATIENCE
        while not re.search(pattern, self.shown):
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise Wrong(f"never on the terminal: {pattern!r}; but {self.shown!r}")
            try:
                self.shown += os.read(self.fd, 4096).decode(errors="replace")
            except OSError:
                raise Wrong(f"the terminal ended: {self.shown!r}") from None
        found, self.shown = self.shown, ""
        return found

    def type_in(self, text):
        os.write(self.fd, text.encode())

    def resize(self, rows):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))

    def until_in_front(self, *names):
        """Waits until the terminal belongs to a process of one of these names."""
        leads = lambda: processes().get(os.tcgetpgrp(self.fd), (0, "", ""))[2]
        until(f"{' or '.join(names)} is in front", lambda: leads() in names)

    def code(self):
        _, status = until("it ends", lambda: (lambda r: r if r[0] else None)(
            os.waitpid(self.pid, os.WNOHANG)))
        return os.waitstatus_to_exitcode(status)


def terminal(before):
    """An interactive shell: its prompt, Ctrl-C, Ctrl-Z, fg, its exit code."""
    with Shell(before) as shell:
        first = shell.wait_for(r"PROMPT> ")
        if "job control" in first:
            raise Wrong(f"no job control: {first!r}")
        for _ in range(2):
            shell.type_in("sleep 602\n")
            shell.until_in_front("sleep")
            shell.type_in("\x03")
            shell.wait_for(r"\^C[\r\n]+.*PROMPT> ")
            shell.type_in("echo code=$?\n")
            shell.wait_for(r"code=130[\r\n]+PROMPT> ")
        shell.type_in("sleep 603\n")
        shell.until_in_front("sleep")
        shell.type_in("\x1a")
        shell.wait_for(r"Stopped[^\r\n]*sleep 603[\r\n]+PROMPT> ")
        shell.type_in("fg\n")
        shell.until_in_front("sleep")
        shell.type_in("\x03")
        shell.wait_for(r"PROMPT> ")
        shell.type_in("exit 5\n")
        same(shell.code(), 5)


def job(init):
    """INIT as a job of an interactive shell: Ctrl-Z stops both, fg and bg go on,
    Ctrl-C ends it with the code that the command alone would have."""
    with Shell([]) as shell:
        shell.wait_for(r"PROMPT> ")
        shell.type_in(" ".join([*init, "sleep", "604"]) + "\n")
        shell.until_in_front("sleep")
        stopped = r"Stopped[^\r\n]*sleep 604[\r\n]+PROMPT> "
        states = lambda: [state(pid) for pid in descendants(shell.pid)]

        shell.type_in("\x1a")
        shell.wait_for(stopped)
        same(states(), ["T", "T"])
        shell.type_in("fg\n")
        shell.until_in_front("sleep")

        shell.type_in("\x1a")
        shell.wait_for(stopped)
        same(states(), ["T", "T"])
        shell.type_in("bg\n")
        shell.wait_for(r"PROMPT> ")
        until("both go on", lambda: states() == ["S", "S"])
        # The shell tells nobody of this one: the job runs already. So it is INIT
        # that has the terminal, until the command asks for it.
        shell.type_in("fg\n")
        shell.until_in_front(os.path.basename(init[0]), "sleep")

        shell.type_in("\x1a")
        shell.wait_for(stopped)
        same(states(), ["T", "T"])
        shell.type_in("fg\n")
        shell.until_in_front("sleep")
        shell.type_in("\x03")
        shell.wait_for(r"PROMPT> ")
        shell.type_in("echo code=$?\n")
        shell.wait_for(r"code=130[\r\n]+PROMPT> ")


def reader(init):
    """A job that reads: in the background it stops, in front it has the terminal."""
    with Shell([]) as shell:
        shell.wait_for(r"PROMPT> ")
        shell.type_in(" ".join([*init, "cat"]) + "\n")
        shell.until_in_front("cat")
        shell.type_in("\x1a")
        shell.wait_for(r"Stopped[^\r\n]*cat[\r\n]+PROMPT> ")
        states = lambda: [state(pid) for pid in descendants(shell.pid)]
        shell.type_in("bg\n")
        # It may stop before the shell asks for the next command, which tells of it first.
        shell.wait_for(r"cat &[\r\n]+(\[1\]\+ +Stopped[^\r\n]*[\r\n]+)?PROMPT> ")
        until("both stop", lambda: states() == ["T", "T"])
        shell.type_in("fg\n")
        shell.until_in_front("cat")
        shell.type_in("a line\n")
        shell.wait_for(r"a line[\r\n]+a line")
        shell.type_in("\x04")
        shell.wait_for(r"PROMPT> ")
        shell.type_in("echo code=$?\n")
        shell.wait_for(r"code=0[\r\n]+PROMPT> ")


# Two processes of one job: each says which signal it gets, and ends at Ctrl-C.
CREW = """
import os, signal, sys
who = "first" if os.fork() else "second"
def say(number, _):
    os.write(1, f"{who} got {signal.Signals(number).name}\\n".encode())
    if number == signal.SIGINT:
        os._exit(3)
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH):
    signal.signal(number, say)
os.write(1, f"{who} is there\\n".encode())
while True:
    signal.pause()
"""


def crew(init):
    """A job of several processes that `fg` finds running: the shell tells nobody
    of that, and what the terminal sends reaches all of them nevertheless."""
    python = os.path.basename(sys.executable)
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script, Shell([]) as shell:
        script.write(CREW)
        script.flush()
        shell.wait_for(r"PROMPT> ")
        # In whatever order they come.
        both = lambda what: rf"(?s)(?=.*first {what})(?=.*second {what})"
        states = lambda: [state(pid) for pid in descendants(shell.pid)]
        shell.type_in(" ".join([*init, sys.executable, script.name]) + "\n")
        shell.wait_for(both("is there"))
        shell.until_in_front(python)

        def found_running():
            shell.type_in("\x1a")
            shell.wait_for(r"Stopped[^\r\n]*[\r\n]+PROMPT> ")
            # What stops INIT is that the first has stopped.
            until("all stop", lambda: states() == ["T", "T", "T"])
            shell.type_in("bg\n")
            shell.wait_for(r"PROMPT> ")
            until("all go on", lambda: states() == ["S", "S", "S"])
            shell.type_in("fg\n")
            shell.until_in_front(os.path.basename(init[0]), python)

        found_running()
        # Ctrl-Z is the first that they hear of it.
        found_running()
        shell.type_in("\x1c")
        shell.wait_for(both("got SIGQUIT"))
        shell.until_in_front(python)
        found_running()
        shell.resize(50)
        shell.wait_for(both("got SIGWINCH"))
        shell.until_in_front(python)
        found_running()
        shell.type_in("\x03")
        shell.wait_for(both("got SIGINT") + r"(?=.*PROMPT> )")
        shell.type_in("echo code=$?\n")
        shell.wait_for(r"code=3[\r\n]+PROMPT> ")
