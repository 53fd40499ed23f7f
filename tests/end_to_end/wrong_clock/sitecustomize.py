"""Python imports this at the start of every process that has its directory on the path.

Gateways get a wrong clock: the first one to start is ten minutes ahead, the others ten behind.
Nothing else of the service is touched, whose owners are right.
"""

import os
import sys
import time
from pathlib import Path

_SECONDS = 600


def _is_first() -> bool:
    try:
        Path(os.environ["ONSALE_WRONG_CLOCK_TAKEN"]).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _set_wrong(seconds: int) -> None:
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + seconds
    time.time_ns = lambda: right_ns() + seconds * 1_000_000_000


if "gateway.server" in sys.orig_argv:
    _set_wrong(_SECONDS if _is_first() else -_SECONDS)
