"""Draws tickets in a process of its own, in such time as nobody else has a use for.

    python -m engine.tickets.draftsman

reads what is to be drawn on its standard input and writes papers to its output, until the
input ends. `Draftsman` runs it.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import IO

import msgspec
from msgspec import Struct

from engine.courtesy import Courtesy
from engine.domain.event import Event
from engine.limits import DRAWING_SECONDS_MAX
from engine.tickets.sheet import Sheet

_LENGTH_BYTES = 4
#: The lowest there is.
_NICENESS = 19


class NotDrawn(Exception):
    """There is no paper. Argument: why."""


class _Wanted(Struct, frozen=True, array_like=True):
    """The arguments of `paper.draw`."""

    event: Event
    sheets: tuple[Sheet, ...]
    issued_at_ms: int


class _Drawn(Struct, frozen=True, array_like=True):
    """A paper, or what went wrong."""

    paper: bytes
    mistake: str = ""


class Draftsman:
    """Whoever draws papers, one at a time; calls block.

    Python draws with its lock held, and at the lowest priority that takes long on a full
    machine: in the same process, whatever must answer in time would wait for it.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._starting = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._said: IO[bytes] | None = None
        self._last_words = ""
        self._closed = False

    def draw(self, event: Event, sheets: tuple[Sheet, ...], issued_at_ms: int) -> bytes:
        """Return what `paper.draw` makes of these.

        Raises:
            NotDrawn: that has raised something, takes longer than DRAWING_SECONDS_MAX, or
                the process has ended over it twice; or `close` was called.
        """
        wanted = msgspec.msgpack.encode(_Wanted(event, sheets, issued_at_ms))
        with self._turn:
            answer = self._ask(wanted)
            if answer is None:
                # Killed by somebody: for want of memory, say. Once, that may be by chance.
                answer = self._ask(wanted)
            if answer is None:
                raise NotDrawn(f"the process that draws has ended twice: {self._last_words}")
        drawn = msgspec.msgpack.decode(answer, type=_Drawn)
        if drawn.mistake:
            raise NotDrawn(drawn.mistake)
        return drawn.paper

    def close(self) -> None:
        """End the process, and whatever is being drawn. Waits for that."""
        with self._starting:
            self._closed = True
            if self._process is not None:
                self._process.kill()
        with self._turn:
            self._end()

    def _ask(self, wanted: bytes) -> bytes | None:
        """Return the process's answer, None if it has ended instead."""
        with self._starting:
            if self._closed:
                raise NotDrawn("nothing is drawn any more")
            if self._process is None:
                # Not a pipe: that may be full, and nobody reads it before the end.
                self._said = tempfile.TemporaryFile()  # noqa: SIM115 - see `_end`
                self._process = _start(self._said)
            process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        # One that has stopped must not stop whoever waits for it.
        give_up = time.monotonic() + DRAWING_SECONDS_MAX
        patience = threading.Timer(DRAWING_SECONDS_MAX, process.kill)
        patience.start()
        try:
            _write(process.stdin, wanted)
            answer = _read(process.stdout)
        except (EOFError, BrokenPipeError):
            answer = None
        except BaseException:
            self._end()  # or the next one would get this one's paper
            raise
        finally:
            patience.cancel()
        if answer is None:
            self._end()
            if time.monotonic() >= give_up:
                raise NotDrawn(f"it takes longer than {DRAWING_SECONDS_MAX} seconds")
        return answer

    def _end(self) -> None:
        process, self._process = self._process, None
        said, self._said = self._said, None
        if process is not None:
            process.kill()
            process.communicate()
        if said is not None:
            with said:
                said.seek(0)
                self._last_words = "".join(said.read().decode(errors="replace").splitlines()[-1:])


def _start(said: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "engine.tickets.draftsman"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
    )


def _write(file: IO[bytes], message: bytes) -> None:
    file.write(len(message).to_bytes(_LENGTH_BYTES) + message)
    file.flush()


def _read(file: IO[bytes]) -> bytes | None:
    """Return the next message, None at the end.

    Raises:
        EOFError: it ends in the middle of one.
    """
    head = file.read(_LENGTH_BYTES)
    if not head:
        return None
    length = int.from_bytes(head)
    message = file.read(length)
    if len(head) < _LENGTH_BYTES or len(message) < length:
        raise EOFError
    return message


def main() -> None:
    """Draw until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever has started us
    # Only here: whoever has a `Draftsman` needs none of it.
    from engine.tickets import paper  # noqa: PLC0415

    # What libraries have to say about names is nobody's business.
    logging.disable()
    # Whatever is printed must not get among the papers.
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    courtesy = Courtesy()
    while (message := _read(asked)) is not None:
        wanted = msgspec.msgpack.decode(message, type=_Wanted)
        try:
            drawn = _Drawn(paper.draw(wanted.event, wanted.sheets, wanted.issued_at_ms))
        except Exception as error:  # noqa: BLE001 - told to whoever wants the paper
            # What it says may name somebody: only where it happened is told.
            where = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{Path(where.filename).name}:{where.lineno}"
            drawn = _Drawn(b"", f"{type(error).__name__} at {place}")
        _write(answers, msgspec.msgpack.encode(drawn))
        time.sleep(courtesy.due())


if __name__ == "__main__":
    with contextlib.suppress(EOFError, BrokenPipeError):  # whoever has asked is gone
        main()
