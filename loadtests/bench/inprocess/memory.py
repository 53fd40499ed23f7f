"""Memory that a booking costs its owner."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtests.bench.inprocess.given import filled


def measure(progress: Callable[[float], None], *, quick: bool) -> dict[str, Any]:
    """Compare the resident set of this process before and after it holds bookings.

    Everything is in it: the booking, its strings, the tables, the heap of expiries and
    what the allocator wastes.
    """
    count = 100_000 if quick else 300_000
    filled(1_000)
    before = _resident_bytes()
    state = filled(count)
    after = _resident_bytes()
    progress(1.0)
    return {
        "bookings": len(state.bookings),
        "bytes_per_booking": round((after - before) / count),
        "how": "resident set",
    }


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
