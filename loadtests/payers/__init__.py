"""Buyers who pay, and webhooks at a steady pace, in a process of their own.

    python -m loadtests.payers < spec.json

reads a `Buying` or a `Delivering` and tells what came of it, as `loadtests.own_process`
describes. `run_buying` and `run_delivering` do the same from Python.

Buyers speak to the service as a shop's page would, and to the Stripe sandbox as a browser.
No money moves: `Buying` works with nothing but the sandbox.
"""

from collections.abc import Callable

from loadtests.own_process import run_apart
from loadtests.payers.spec import (
    Bought,
    Buying,
    Delivered,
    Delivering,
    Paid,
    Purchase,
    Takings,
)

__all__ = [
    "Bought",
    "Buying",
    "Delivered",
    "Delivering",
    "Paid",
    "Purchase",
    "Takings",
    "run_buying",
    "run_delivering",
]

_MODULE = "loadtests.payers"


def run_buying(spec: Buying, on_progress: Callable[[int], None] | None = None) -> Takings:
    """Let buyers pay; `on_progress` is told how many have finished. Raises LoadFailed."""
    return run_apart(_MODULE, spec, Takings, on_progress)


def run_delivering(spec: Delivering, on_progress: Callable[[int], None] | None = None) -> Delivered:
    """Deliver webhooks; `on_progress` is told how many were taken. Raises LoadFailed."""
    return run_apart(_MODULE, spec, Delivered, on_progress)
