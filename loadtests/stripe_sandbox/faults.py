"""Faults on demand: what goes wrong, how often, and in what order, from one seed."""

import random
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

Kind = Literal[
    "latency",
    "timeout_before_commit",
    "timeout_after_commit",
    "rate_limit",
    "server_error_before_commit",
    "server_error_after_commit",
    "success_after_cancel_race",
    "outage",
    "webhook_duplicate",
    "webhook_delay",
    "webhook_reorder",
    "webhook_drop",
]
Seconds = Annotated[float, Meta(ge=0)]


class Fault(Struct, frozen=True, forbid_unknown_fields=True):
    """A fault, and whom it strikes.

    Attributes:
        kind: what goes wrong.

            - `latency`: `seconds_min` to `seconds_max` pass before the operation.
            - `timeout_before_commit`, `timeout_after_commit`: nothing is done, or all of it,
              and no answer comes; the connection is closed after `seconds`.
            - `rate_limit`: 429, nothing is done.
            - `server_error_before_commit`, `server_error_after_commit`: 500, nothing is done,
              or all of it. An idempotency key remembers the 500.
            - `success_after_cancel_race`: a cancellation is held for up to `seconds`, until a
              confirmation that arrives meanwhile has won.
            - `outage`: no request is answered and no webhook sent, for `seconds` or for good.
            - `webhook_duplicate`: sent `copies` times more.
            - `webhook_delay`: the first attempt comes `seconds_min` to `seconds_max` late,
              so that later events overtake it.
            - `webhook_reorder`: held until the next one has arrived at the same endpoint, so that
              the two change places; for `seconds` if none comes.
            - `webhook_drop`: never sent.
        only: the operations ("payment_intents.create"), or for webhooks the event types,
            that it strikes; `*` stands for anything.
        probability: of striking one that it may strike.
        times: how often it strikes; None: without end.
    """

    kind: Kind
    only: str = "*"
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    times: Annotated[int, Meta(ge=1)] | None = None
    copies: Annotated[int, Meta(ge=1, le=1_000)] = 1
    seconds: Seconds | None = None
    seconds_min: Seconds = 0.0
    seconds_max: Seconds = 0.0


class Active(Struct):
    """A fault that was asked for: its number, when it began, how often it struck."""

    id: int
    fault: Fault
    began: float
    struck: int = 0


class Strike(Struct, frozen=True):
    """A fault that strikes now; `wait` is a time drawn between its bounds, seconds."""

    fault: Fault
    wait: float


class Faults:
    """All faults that were asked for.

    Args:
        seed: of all chance. The same requests in the same order meet the same faults.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - to be repeatable is the point
        self._active: dict[int, Active] = {}
        self._last = 0

    def add(self, faults: Iterable[Fault], now: float) -> list[Active]:
        """Begin with these; `now` is of a clock that does not go back, seconds."""
        made = []
        for fault in faults:
            self._last += 1
            self._active[self._last] = Active(self._last, fault, now)
            made.append(self._active[self._last])
        return made

    def clear(self, fault_id: int | None = None) -> None:
        """End one fault, or all of them."""
        if fault_id is None:
            self._active.clear()
        else:
            self._active.pop(fault_id, None)

    def shown(self) -> list[dict[str, object]]:
        """Return all that have not ended, and how often each struck."""
        return [
            {"id": active.id, **structs.asdict(active.fault), "struck": active.struck}
            for active in self._active.values()
        ]

    def outage(self, now: float) -> bool:
        """Return whether the sandbox is away."""
        for active in list(self._active.values()):
            if active.fault.kind == "outage":
                seconds = active.fault.seconds
                if seconds is None or now < active.began + seconds:
                    return True
                del self._active[active.id]
        return False

    def draw(self, name: str, *kinds: Kind) -> dict[Kind, Strike]:
        """Draw which faults of these kinds strike an operation or an event, by kind."""
        strikes: dict[Kind, Strike] = {}
        for active in list(self._active.values()):
            fault = active.fault
            if fault.kind not in kinds or not fnmatchcase(name, fault.only):
                continue
            if self._chance.random() >= fault.probability:
                continue
            active.struck += 1
            if active.struck == fault.times:
                del self._active[active.id]
            wait = self._chance.uniform(fault.seconds_min, fault.seconds_max)
            strikes[fault.kind] = Strike(fault, wait)
        return strikes
