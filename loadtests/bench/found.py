"""Everything that one run of the benchmark has found."""

from typing import Any

from msgspec import Struct

from loadtests.bench import doors, growth, offered, payments
from loadtests.bench.doors import Round
from loadtests.bench.growth import AtOnce
from loadtests.bench.offered import Offered
from loadtests.bench.payments import Payments
from loadtests.bench.rounds import Measured
from loadtests.bench.sellout import SellOut


class Found(Struct, frozen=True):
    """What was measured.

    Attributes:
        durability: what the service's store promises.
        absent: the peers that were not measured, and why.
        sold_out: an event of each was sold out.
        rounds: requests, of everybody in turn.
        payments: buyers who pay.
        doors: tickets that are scanned.
        offered: holds that come by the clock.
        growth: holds in many events at once.
        in_process: the parts, by name.
    """

    durability: str
    absent: dict[str, str]
    sold_out: list[SellOut]
    rounds: list[Measured]
    payments: Payments
    doors: list[Round]
    offered: Offered
    growth: list[AtOnce]
    in_process: dict[str, dict[str, Any]]

    def of(self, contender: str, connections: int) -> list[Measured]:
        """Return the rounds of a contender."""
        asked = (contender, connections)
        return [item for item in self.rounds if (item.contender, item.connections) == asked]

    @property
    def faults(self) -> list[str]:
        """What makes measurements some of something else; empty if nothing does."""
        found = {f"{item.contender}: {item.fault}" for item in self.rounds if item.fault}
        found |= {f"{one.contender}, sell-out: {one.fault}" for one in self.sold_out if one.fault}
        return [
            *sorted(found),
            *payments.faults(self.payments),
            *doors.faults(self.doors),
            *offered.faults(self.offered),
            *growth.faults(self.growth),
        ]
