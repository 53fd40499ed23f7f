"""Parking: Ray's thread of an owner's process sleeps while batches come past it.

That thread, the process' main one, looks for signals a hundred times a second, in every process
and for ever; Ray has no setting for it. One owner does not notice. Sixty-four that share two
cores lose a tenth of the machine to it, and more to caches that are cold when their turn comes:
a quarter of the holds. While batches come over the shortcut, Ray's thread has nothing else to do.

What comes by Ray meanwhile (an audit, a gateway that asks for the way) waits a little.
"""

import signal
import threading
import time
from types import FrameType

from engine.limits import PARKED_SECONDS, PARKING_PAUSE_SECONDS, PARKING_QUIET_SECONDS

#: Ray does not use it. It reaches the thread where it looks for signals.
_SIGNAL = signal.SIGUSR2


class Parking:
    """Parks the thread that makes it, when another one says so: it must be the main thread.

    Raises:
        ValueError: it is not.
    """

    def __init__(self) -> None:
        signal.signal(_SIGNAL, self._park)
        self._thread = threading.get_ident()
        self._parked = False
        self._free_until = 0.0
        self._quiet_until = 0.0

    def batch_past_ray(self) -> None:
        """Take note of a batch that came past Ray: its thread may be parked now."""
        now = time.monotonic()
        if not self._parked and now >= self._free_until and now >= self._quiet_until:
            self._parked = True
            signal.pthread_kill(self._thread, _SIGNAL)

    def batch_by_ray(self) -> None:
        """Take note of a batch that came by Ray: more of them will, and must not wait."""
        self._quiet_until = time.monotonic() + PARKING_QUIET_SECONDS

    def _park(self, _signal: int, _frame: FrameType | None) -> None:
        if not self._parked:
            return  # somebody else's signal
        time.sleep(PARKED_SECONDS)
        self._free_until = time.monotonic() + PARKING_PAUSE_SECONDS
        self._parked = False
