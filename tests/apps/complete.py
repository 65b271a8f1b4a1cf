"""A person at a shell who types part of a line and presses Tab.

    complete.py bash|zsh RUNSD [LINE WANTED]...

Loads the shell's completion script of RUNSD as its documentation has it, then
types each LINE, its Tabs included, until the regular expression WANTED matches what
the terminal shows. Says what it showed instead where that never happens.
"""

import os
import pty
import re
import select
import signal
import sys
import time

PATIENCE = 30.0
SHELL, RUNSD, *TYPED = sys.argv[1:]
ARGV = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[SHELL]
LOAD = {
    "bash": f"source <({RUNSD} completions bash)",
    "zsh": f"autoload -Uz compinit; compinit -u -D; source <({RUNSD} completions zsh)",
}[SHELL]
# What a terminal would do and not show.
CODES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[=>])|[\x00\x07\x08\r]")

pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(PS1="READY> ", PROMPT="READY> ", TERM="dumb", HISTFILE="/dev/null")
    os.execvp(ARGV[0], ARGV)


def wait_for(wanted):
    shown, end = "", time.monotonic() + PATIENCE
    while not re.search(wanted, CODES.sub("", shown)):
        if not select.select([terminal], [], [], max(0.0, end - time.monotonic()))[0]:
            sys.exit(f"never {wanted!r}, but {shown!r}")
        shown += os.read(terminal, 4096).decode(errors="replace")


def type_in(text):
    os.write(terminal, text.encode())


try:
    wait_for("READY> ")
    # The word is put together by the shell, so that its echo is not its output.
    type_in(f"{LOAD}; echo loa''ded\n")
    wait_for(r"loaded\s[^>]*READY> ")
    for line, wanted in zip(TYPED[::2], TYPED[1::2]):
        type_in(line)
        wait_for(wanted)
        # The line is taken back. Ctrl-C would do, but may meet a completion at work.
        type_in("\x15\n")
        wait_for("READY> ")
finally:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
