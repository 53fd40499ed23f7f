"""Keeps every process that a command starts, however it was left behind.

    python -m tests.end_to_end.keeper COMMAND ARGUMENT…

Orphans of the command become children of this process instead of the machine's first one,
so that they can be found as its descendants. It says the command's process id on its
standard output, later the status with which it ended, and kills everything that is left
when its standard input is closed: by the test, or because the test was killed.
"""

import ctypes
import json
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.02


def descendants(ancestor: int) -> list[int]:
    """Return the ids of all processes below `ancestor` that have not ended, oldest first."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue  # it has ended meanwhile
        if state != "Z":
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found = []
    generation = [ancestor]
    while generation:
        generation = sorted(child for parent in generation for child in children.get(parent, ()))
        found += generation
    return found


def kill_all(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _say(**what: int) -> None:
    try:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()
    except OSError:
        return  # nobody listens any more


def _reap(command: int) -> bool:
    """Take note of everything that has ended; tell whether anything is still there."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        if pid == command:
            _say(status=os.waitstatus_to_exitcode(status))


def main(arguments: list[str]) -> None:
    # What most machines give to a process that does not ask for more.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1_024, hard), hard))
    # Ctrl-C in the terminal is for the test, which then closes our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A file-size limit stands for a full disk: the write fails, and nobody is killed for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGXFSZ])
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    command = os.posix_spawnp(
        arguments[0],
        arguments,
        os.environ,
        file_actions=[
            (os.POSIX_SPAWN_DUP2, nothing, 0),
            (os.POSIX_SPAWN_DUP2, 2, 1),
        ],
        setsid=True,
        setsigdef=[signal.SIGINT],
    )
    _say(pid=command)
    ending = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ending.set()), daemon=True).start()
    while _reap(command) or not ending.is_set():
        if ending.is_set():
            kill_all(descendants(os.getpid()))
        time.sleep(_POLL_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1:])
