"""What one process of Locust has to work with: its share of buyers and tickets, its counts."""

import itertools
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from loadtests.locust.arrivals import Arrivals
from loadtests.locust.courses import Course, Leg
from loadtests.locust.outcomes import Answer, Kind


class NobodyFree(Exception):
    """More visitors than buyers: two would have used one token."""


@dataclass(frozen=True)
class Share:
    """What a process gets of a run. Shares of one run have no buyer or ticket in common.

    Attributes:
        event_id: that tickets are bought of.
        door_event_id: that people are let in to.
        buyers: tokens.
        codes: of tickets that nobody has shown yet.
        payments: intents that were paid, as Stripe shows them.
        number, of: which share this is.
        begins_at: when an open loop begins, Unix seconds.
        legs, peak: its course; no legs in a closed loop.
    """

    event_id: str = ""
    door_event_id: str = ""
    buyers: list[str] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    payments: list[dict[str, Any]] = field(default_factory=list)
    number: int = 0
    of: int = 1
    begins_at: float = 0.0
    legs: list[tuple[float, float, float]] = field(default_factory=list)
    peak: float = 0.0

    def dealt(self, count: int) -> "list[Share]":
        """Return this share as so many."""
        return [
            Share(
                **{
                    **asdict(self),
                    "buyers": self.buyers[number::count],
                    "codes": self.codes[number::count],
                    "number": number,
                    "of": count,
                }
            )
            for number in range(count)
        ]


class Desk:
    """Where visitors of one process get what they need, and where is counted what they got."""

    def __init__(self) -> None:
        self.take_share(Share())

    def take_share(self, share: Share) -> None:
        """Begin with this."""
        self.share = share
        self.arrivals: Arrivals | None = None
        self._buyers = deque(share.buyers)
        self._codes = deque(share.codes)
        self._numbers = itertools.count()
        self._outcomes: Counter[str] = Counter()
        self._turned_away = 0
        self._answers = 0
        self._units = 0

    def open(self, began: float, patience: float) -> None:
        """Have arrivals by the clock.

        Args:
            began: when they begin, on the clock that visitors look at.
            patience: see `Arrivals`.
        """
        share = self.share
        course = Course(tuple(Leg(*leg) for leg in share.legs), share.peak)
        mine = itertools.islice(course.moments(), share.number, None, share.of)
        self.arrivals = Arrivals((began + moment for moment in mine), patience)

    @contextmanager
    def buyer(self) -> Iterator[str]:
        """Lend a token that nobody else uses meanwhile; everybody's turn comes again.

        Raises:
            NobodyFree: there are too few.
        """
        if not self._buyers:
            raise NobodyFree
        token = self._buyers.popleft()
        try:
            yield token
        finally:
            self._buyers.append(token)

    def code(self) -> str:
        """Return a ticket's code: each once, and after the last one each again."""
        code = self._codes.popleft()
        self._codes.append(code)
        return code

    def number(self) -> str:
        """Return a name that nobody in this run has had."""
        return f"{self.share.number}-{next(self._numbers)}"

    # -- counts --------------------------------------------------------------------

    def count(self, what: str, answer: Answer) -> None:
        """Count an answer."""
        self._answers += 1
        self._turned_away += answer.kind is Kind.TURNED_AWAY
        self._outcomes[f"{what}: {answer.shown}"] += 1

    def count_units(self, units: int) -> None:
        """Count units that were granted, or given back if below zero."""
        self._units += units

    def counts(self) -> dict[str, Any]:
        """Return everything that was counted since the share was taken."""
        arrivals = self.arrivals
        return {
            "outcomes": dict(self._outcomes),
            "answers": self._answers,
            "turned_away": self._turned_away,
            "units": self._units,
            "begun": 0 if arrivals is None else arrivals.begun,
            "skipped": 0 if arrivals is None else arrivals.skipped,
        }


def total(counts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the counts of all processes together."""
    outcomes: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    for one in counts:
        outcomes.update(one["outcomes"])
        numbers.update({name: n for name, n in one.items() if name != "outcomes"})
    names = ("answers", "turned_away", "units", "begun", "skipped")
    return {"outcomes": dict(sorted(outcomes.items())), **{name: numbers[name] for name in names}}
