"""Decisions per second with few and with many bookings held."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from engine.domain.state import EventState
from loadtests.bench.inprocess.given import BATCH, TURN_MS, batches, filled, take_turn

#: Turns timed in a row before the next size has its turn.
_RUN = 8


def measure(progress: Callable[[float], None], *, quick: bool) -> dict[str, Any]:
    """Time decide + apply + the checks of a turn, batch by batch, the sizes taking turns.

    Each batch is decoded just before its turn, as it is in an owner, and outside the timed
    part. The smallest state is made anew for every run, so that it stays about as small
    as it is said to be.

    What a larger state costs is looking up ids that are not in a large table: the memory
    of the machine, not a step of ours (see `fetch_ahead`).
    """
    sizes = (1_000, 10_000, 100_000) if quick else (1_000, 100_000, 1_000_000)
    runs = 10 if quick else 40
    states: dict[int, EventState] = {}
    for size in sizes[1:]:
        states[size] = filled(size)
        progress(0.4 * len(states) / (len(sizes) - 1))
    took_ns: dict[int, list[int]] = {size: [] for size in sizes}
    for run in range(runs):
        states[sizes[0]] = filled(sizes[0])
        for size in sizes:
            took_ns[size] += _time(states[size])
        progress(0.4 + 0.6 * (run + 1) / runs)
    rates = {str(size): round(BATCH / (median(took_ns[size]) / 1e9)) for size in sizes}
    return {
        "batch": BATCH,
        "turns_timed": runs * _RUN,
        "per_second": rates,
        "largest_to_smallest": round(rates[str(sizes[-1])] / rates[str(sizes[0])], 3),
        # A table that grows by half is copied in one step: the slowest turn shows it.
        "slowest_turn_ms": {str(size): round(max(took_ns[size]) / 1e6, 2) for size in sizes},
    }


def _time(state: EventState) -> list[int]:
    now_ms = state.now_ms
    took_ns = []
    for commands in batches(len(state.bookings), _RUN * BATCH):
        now_ms += TURN_MS
        began = time.perf_counter_ns()
        take_turn(state, commands, now_ms)
        took_ns.append(time.perf_counter_ns() - began)
    return took_ns
