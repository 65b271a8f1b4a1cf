"""What an entrypoint process must do, as one story for all of them: runsd, tini
and dumb-init, as PID 1 of a PID namespace and as an ordinary child.

    story.py pid1|child [--group FLAG] [--without LINE]... -- INIT...

INIT is run with a command behind it; with FLAG it forwards signals to the
command's whole group; a LINE that is known to wait in vain is left out. Prints one
JSON object: for each line of the story "ok", or what happened instead.
"""

import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time

import shell
from watch import PATIENCE, Wrong, children, descendants, processes, same, state, until

parser = argparse.ArgumentParser()
parser.add_argument("place", choices=["pid1", "child"])
parser.add_argument("--group")
parser.add_argument("--without", action="append", default=[])
parser.add_argument("init", nargs="+")
arguments = parser.parse_args()
PLACE, INIT = arguments.place, arguments.init
UNSHARE = ["unshare", "-p", "-f", "--mount-proc", "--kill-child"]
# The story begins as at a terminal, whoever has begun it: behind nohup or `&` these
# are ignored, and a command inherits that.
for number in [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT]:
    signal.signal(number, signal.SIG_DFL)

RESOLV_CONF = "/etc/resolv.conf"


class Run:
    """An INIT with a command, and how to reach both."""

    def __init__(self, command, group=False, init=None):
        argv = list(INIT if init is None else init)
        if group:
            argv[1:1] = [arguments.group] if arguments.group else []
        prefix = UNSHARE if PLACE == "pid1" else []
        # A group of its own with a parent outside it: the kernel stops nobody in
        # an orphaned group, which is what ours may be.
        self.popen = subprocess.Popen(
            prefix + argv + command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, process_group=0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Whoever is left over would hold the pipes open.
        for pid in descendants(self.popen.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.popen.kill()
        self.popen.wait()
        self.popen.stdout.close()
        self.popen.stderr.close()

    @property
    def init(self):
        """The pid of INIT itself."""
        if PLACE == "child":
            return self.popen.pid

        def begun():
            # Between fork and exec it still is unshare.
            for pid in children(self.popen.pid):
                if processes().get(pid, (0, "", "unshare"))[2] != "unshare":
                    return pid
            return None
        return until("INIT runs", begun)

    def child(self):
        return until("the command runs", lambda: children(self.init))[0]

    def line(self):
        ready = select.select([self.popen.stdout], [], [], PATIENCE)[0]
        if not ready:
            raise Wrong("the command says nothing")
        return self.popen.stdout.readline().strip()

    def code(self):
        try:
            return self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Wrong("it does not end") from None


def python(script):
    return [sys.executable, "-u", "-c", script]


def exit_code(number):
    def line():
        with Run(["sh", "-c", f"exit {number}"]) as run:
            same(run.code(), number)
    return line


def killed_by(number):
    def line():
        with Run(["sh", "-c", f"kill -{number} $$; sleep 600"]) as run:
            same(run.code(), 128 + number)
    return line


def not_found():
    with Run(["/no/such/program"]) as run:
        same(run.code(), 127)


def not_executable():
    with Run(["/etc/passwd"]) as run:
        same(run.code(), 126)


LISTENER = """
import os, signal
for number in {numbers}:
    signal.signal(number, lambda number, _: os.write(1, b"%d\\n" % number))
os.write(1, b"ready\\n")
while True:
    signal.pause()
"""


def signals(numbers):
    def line():
        with Run(python(LISTENER.format(numbers=numbers))) as run:
            same(run.line(), "ready")
            for number in numbers:
                os.kill(run.init, number)
                same(run.line(), str(number))
            os.kill(run.child(), signal.SIGKILL)
            same(run.code(), 137)
    return line


ORPHANS = """
import os, time
for _ in range(1000):
    if os.fork() == 0:
        os.fork()
        os._exit(0)
    os.wait()
print("ready")
time.sleep(600)
"""


def orphans():
    """A thousand processes whose parent has gone end; none stays a zombie."""
    with Run(python(ORPHANS)) as run:
        same(run.line(), "ready")
        init = run.init

        def reaped():
            own = [state for parent, state, _ in processes().values() if parent == init]
            return own.count("Z") == 0 and len(own) == 1
        until("every orphan is reaped", reaped)
        os.kill(run.child(), signal.SIGKILL)
        same(run.code(), 137)


ADOPTED = """
import os, time
reading, writing = os.pipe()
middle = os.fork()
if middle == 0:
    middle = os.getpid()
    if os.fork() == 0:
        while os.getppid() == middle:
            time.sleep(0.001)
        os.write(writing, b"%d" % os.getppid())
    os._exit(0)
os.waitpid(middle, 0)
print("adopted" if int(os.read(reading, 20)) == os.getppid() else "lost")
"""


def adoption():
    """An orphan becomes INIT's child, so that it is reaped wherever this runs."""
    with Run(python(ADOPTED)) as run:
        same(run.line(), "adopted")
        same(run.code(), 0)


def stop_and_continue():
    ticking = "import time\nprint('ready')\nwhile True: time.sleep(0.01)"
    with Run(python(ticking)) as run:
        same(run.line(), "ready")
        child = run.child()
        os.kill(run.init, signal.SIGTSTP)
        until("the command stops", lambda: state(child) == "T")
        os.kill(run.init, signal.SIGCONT)
        until("the command goes on", lambda: state(child) in ("S", "R"))
        os.kill(run.init, signal.SIGTERM)
        same(run.code(), 143)


def term_while_starting():
    """Ten times TERM, from the first moment on: it ends, and so does the command."""
    before = open(RESOLV_CONF, "rb").read()
    for attempt in range(10):
        with Run(["sleep", "600"]) as run:
            init = run.init
            time.sleep(attempt * 0.001)
            for _ in range(10):
                try:
                    os.kill(init, signal.SIGTERM)
                except ProcessLookupError:
                    break
            # As PID 1 the kernel drops what comes before INIT is prepared.
            end = time.monotonic() + PATIENCE
            while run.popen.poll() is None and time.monotonic() < end:
                if PLACE == "pid1":
                    try:
                        os.kill(init, signal.SIGTERM)
                    except ProcessLookupError:
                        pass
                time.sleep(0.005)
            if run.code() not in (143, -15):
                raise Wrong(f"attempt {attempt}: {run.code()}")
            until("INIT is gone", lambda: init not in processes())
    same(open(RESOLV_CONF, "rb").read(), before)


def killed_and_restarted():
    """kill -9 takes the command along, and the next one begins as if new."""
    with Run(["sleep", "600"]) as run:
        child = run.child()
        until("it is sleep", lambda: processes().get(child, (0, "", ""))[2] == "sleep")
        os.kill(run.init, signal.SIGKILL)
        run.code()
        try:
            until("the command is gone", lambda: state(child) in (None, "Z"))
        except Wrong:
            os.kill(child, signal.SIGKILL)
            raise
    with Run(["sh", "-c", "exit 9"]) as run:
        same(run.code(), 9)


def group():
    """A signal reaches what the command has started too, where that is wanted."""
    script = "sleep 601 & echo ready; wait"
    with Run(["sh", "-c", script], group=True) as run:
        same(run.line(), "ready")
        shell = run.child()
        grandchild = until("sleep runs", lambda: children(shell))[0]
        os.kill(run.init, signal.SIGTERM)
        same(run.code(), 143)
        until("the grandchild is gone", lambda: state(grandchild) in (None, "Z"))


STATUS = """
import os
keep = ("SigBlk", "SigIgn", "SigCgt", "ShdPnd", "Umask")
with open("/proc/self/status") as file:
    print([line.split() for line in file if line.split(":")[0] in keep])
print(sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1])
import resource
print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_STACK))
"""


def inheritance():
    """Signal mask and dispositions, limits and descriptors are what INIT got."""
    with Run(python(STATUS)) as run:
        inside = run.popen.stdout.read()
    with Run(python(STATUS), init=[]) as run:
        same(inside, run.popen.stdout.read())


def stopped():
    """INIT itself is stopped, which nobody can refuse: afterwards all is as before."""
    with Run(["sleep", "600"]) as run:
        run.child()
        os.kill(run.init, signal.SIGSTOP)
        until("INIT stops", lambda: state(run.init) == "T")
        os.kill(run.init, signal.SIGTERM)
        os.kill(run.init, signal.SIGCONT)
        same(run.code(), 143)


DAEMON = """
import os
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import time
        time.sleep(600)
    os._exit(0)
os.wait()
os._exit(4)
"""


def daemon():
    """A command that puts itself into the background has ended: so has INIT."""
    with Run(python(DAEMON)) as run:
        same(run.popen.wait(PATIENCE), 4)


def closed():
    """Nothing open at all: the command begins, and its code counts."""
    script = 'exec "$@" <&- >&- 2>&-'
    with Run(["sh", "-c", "exit 6"], init=["sh", "-c", script, "sh", *INIT]) as run:
        same(run.code(), 6)


STORY = {
    "exit 0": exit_code(0),
    "exit 3": exit_code(3),
    "exit 143": exit_code(143),
    "killed by KILL": killed_by(9),
    "killed by TERM": killed_by(15),
    "killed by SEGV": killed_by(11),
    "not found": not_found,
    "not executable": not_executable,
    "signals": signals([1, 2, 3, 10, 12, 14, 15, 28]),
    "signals twice": signals([10, 10, 1, 1, 15, 15]),
    "real-time signals": signals([34, 40, 64]),
    "1,000 orphans": orphans,
    "adoption": adoption,
    "stop and continue": stop_and_continue,
    "TERM while starting": term_while_starting,
    "killed and restarted": killed_and_restarted,
    "group": group,
    "inheritance": inheritance,
    "terminal": lambda: shell.terminal((UNSHARE if PLACE == "pid1" else []) + INIT),
    "stopped and continued": stopped,
    "daemon": daemon,
    "closed descriptors": closed,
}
if PLACE == "child":
    # A process of another PID namespace is no job that a shell could stop.
    STORY["job"] = lambda: shell.job(INIT)
    STORY["job that reads"] = lambda: shell.reader(INIT)
    STORY["job of several"] = lambda: shell.crew(INIT)


def main():
    results = {}
    for name, line in STORY.items():
        if name in arguments.without:
            continue
        try:
            line()
            results[name] = "ok"
        except Wrong as wrong:
            results[name] = str(wrong)
    print(json.dumps(results))


main()
