"""Stops one thread of another process while its other threads go on: a deadlock to order.

    python -m tests.end_to_end.one_thread THREAD

Says `stopped` once it is, and keeps it stopped until its process, or this one, is killed.
Traced by a process of its own, because only the tracer's wait lets a killed thread go, and
with it its process.
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_SEIZE, _INTERRUPT = 0x4206, 0x4207
#: waitpid: for threads, too.
_ALL = 0x40000000


def cpu_ticks(pid: int) -> dict[int, int]:
    """Return how long each thread of a process has run, by its id, in ticks of the clock."""
    found = {}
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        fields = stat.read_text().rpartition(")")[2].split()
        found[int(stat.parent.name)] = int(fields[11]) + int(fields[12])
    return found


def busiest(before: dict[int, int], after: dict[int, int]) -> int:
    """Return the thread that ran longest between two looks; under load, that of the loop."""
    return max(after, key=lambda thread: after[thread] - before.get(thread, 0))


class NotPermitted(Exception):
    """The machine lets nobody trace. Argument: what it said."""


@asynccontextmanager
async def stopped(thread: int) -> AsyncIterator[None]:
    """Keep a thread stopped for the length of a block, unless it is killed.

    Raises:
        NotPermitted: see there.
    """
    tracer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.end_to_end.one_thread", str(thread)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert tracer.stdout is not None
    assert tracer.stderr is not None
    try:
        if await tracer.stdout.readline() != b"stopped\n":
            raise NotPermitted((await tracer.stderr.read()).decode())
        yield
    finally:
        if tracer.returncode is None:
            tracer.kill()
        await tracer.wait()


def _trace(request: int, thread: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    if libc.ptrace(request, thread, None, None) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main(thread: int) -> None:
    """Stop the thread, and wait for its end."""
    _trace(_SEIZE, thread)
    _trace(_INTERRUPT, thread)
    _, status = os.waitpid(thread, _ALL)
    assert os.WIFSTOPPED(status)
    sys.stdout.write("stopped\n")
    sys.stdout.flush()
    while os.WIFSTOPPED(status):
        _, status = os.waitpid(thread, _ALL)


if __name__ == "__main__":
    main(int(sys.argv[1]))
