"""Parking: Ray's thread of an owner's process sleeps while batches come past it.

That thread, the process' main one, looks for signals a hundred times a second, in every process
and for ever; Ray has no setting for it. One owner does not notice. Sixty-four that share two
cores lose a tenth of the machine to it, and more to caches that are cold when their turn comes:
a quarter of the holds. While batches come over the shortcut, Ray's thread has nothing else to do.

What comes by Ray meanwhile (an audit, a gateway that asks for the way) waits a little.
"""

import math
import signal
import threading
import time
from types import FrameType

from engine.limits import (
    PARKED_SECONDS,
    PARKING_LASTS_SECONDS,
    PARKING_PAUSE_SECONDS,
    PARKING_QUIET_SECONDS,
)

#: Neither Ray nor anything else uses it or its timer. It reaches the thread where it looks for
#: signals.
_SIGNAL, _TIMER = signal.SIGALRM, signal.ITIMER_REAL


class Parking:
    """Parks the thread that makes it, when another one says so: it must be the main thread.

    Raises:
        ValueError: it is not.
    """

    def __init__(self) -> None:
        signal.signal(_SIGNAL, self._park)
        self._thread = threading.get_ident()
        self._parked = False
        self._last_batch = -math.inf
        self._quiet_until = -math.inf

    def batch_past_ray(self) -> None:
        """Take note of a batch that came past Ray: its thread may be parked from now on."""
        self._last_batch = time.monotonic()
        if not self._parked and self._last_batch >= self._quiet_until:
            self._parked = True
            signal.pthread_kill(self._thread, _SIGNAL)

    def batch_by_ray(self) -> None:
        """Take note of a batch that came by Ray: more of them will, and must not wait."""
        self._quiet_until = time.monotonic() + PARKING_QUIET_SECONDS

    def end(self) -> None:
        """Park the thread never again, and have no timer left: the process is about to end."""
        self._quiet_until = math.inf
        signal.setitimer(_TIMER, 0)

    def _park(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._parked:
            return  # somebody else's signal
        if self._wanted():
            time.sleep(PARKED_SECONDS)
        self._parked = self._wanted()
        if self._parked:
            signal.setitimer(_TIMER, PARKING_PAUSE_SECONDS)

    def _wanted(self) -> bool:
        now = time.monotonic()
        return self._quiet_until <= now < self._last_batch + PARKING_LASTS_SECONDS
