"""Owners that answer what a test says, when it says so."""

import asyncio
from collections.abc import Callable

from actors.contract import OwnerGone
from actors.wire import Answers, Envelope, Recovering, Reply, decode_batch, encode_reply
from engine.domain.commands import Command
from engine.domain.outcomes import DONE
from engine.domain.views import Availability, TypeCounts
from tests.unit.engine.domain.given import EVENT_ID, hold


def counts(
    sequence: int = 7, *, available: int = 0, held: int = 0, limited: bool = False
) -> Availability:
    kind = TypeCounts("ga", 10, available, held, 10 - available - held, 0, 6)
    return Availability(EVENT_ID, sequence, 0, True, limited, (kind,))


class FakeOwners:
    """Notes every batch and answers with what the test says, when the test says so.

    `reply` makes the answer of a batch; where it raises, no answer comes.
    """

    def __init__(self) -> None:
        self.batches: list[list[Envelope]] = []
        self.in_flight = 0
        self.in_flight_max = 0
        self.open = asyncio.Event()
        self.open.set()
        self.takes_seconds = 0.0
        self.availability: Availability | None = None
        self.reply: Callable[[list[Envelope]], Reply] = self.done

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]

    def done(self, batch: list[Envelope]) -> Reply:
        return Answers([DONE] * len(batch), self.availability)

    async def submit(self, event_id: str, data: bytes) -> bytes:
        assert event_id == EVENT_ID
        batch = decode_batch(data)
        self.batches.append(batch)
        self.in_flight += 1
        self.in_flight_max = max(self.in_flight_max, self.in_flight)
        try:
            await asyncio.sleep(self.takes_seconds)
            await self.open.wait()
            return encode_reply(self.reply(batch))
        finally:
            self.in_flight -= 1


def command(number: int = 0) -> Command:
    return hold("ann", key=str(number), ga=1)


def gone(_batch: list[Envelope]) -> Reply:
    raise OwnerGone("killed")


def recovering(_batch: list[Envelope]) -> Reply:
    return Recovering()


def now() -> float:
    return asyncio.get_running_loop().time()
