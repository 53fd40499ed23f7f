"""Sales, payments and doors go on while the database is away, and it is caught up later."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from engine.back_office_limits import STORE_DEADLINE_SECONDS
from engine.domain.records import TicketScanned
from engine.store.contract import ADMITTED
from tests.contract.store_rigs import PostgresRig
from tests.end_to_end.office import Counter, Office, counter_of, is_postgres
from tests.end_to_end.till import Purchase

_Answer = TypeVar("_Answer")

#: Longer than this nobody may wait for an answer, whatever is away.
_DEADLINE_SECONDS = 5.0
_BUYERS = 4
#: Bookings a second that are at least caught up, with two cores: ten thousand in ten
#: minutes, and a little less beside the other drills.
_CAUGHT_UP_PER_SECOND = 15.0
#: And so long whatever there is: where others keep both cores busy, whoever draws waits for a
#: second after each paper (`engine.courtesy`).
_CAUGHT_UP_SECONDS = 120.0
#: Between the purchases of one buyer: people, not a rush.
_PAUSE_SECONDS = 0.3


class Watch:
    """How long things took, by what they were."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    async def timed(self, what: str, answer: Awaitable[_Answer]) -> _Answer:
        began = time.monotonic()
        found = await answer
        self.seconds.setdefault(what, []).append(time.monotonic() - began)
        return found

    def report(self, when: str) -> None:
        """Say what was observed."""
        for what, seconds in sorted(self.seconds.items()):
            ordered = sorted(seconds)
            median, late = ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]
            logging.getLogger(__name__).warning(
                "%s, %s: %d times, median %.0f ms, p99 %.0f ms, longest %.0f ms",
                when, what, len(ordered), median * 1e3, late * 1e3, ordered[-1] * 1e3,
            )  # fmt: skip


async def _one_of_each(counter: Counter, watch: Watch, customer: str) -> Purchase:
    """Hold, pay, go in and out of the door, as one buyer does."""
    booking_id = await watch.timed("hold", counter.held(customer))
    one = await watch.timed("payment", counter.opened(customer, booking_id=booking_id))
    counter.sandbox.pay(one.intent_id)
    await watch.timed("confirmation", counter.has_tickets(one))
    (code,) = await watch.timed("tickets", counter.codes(one))
    said = await watch.timed("scan", counter.gates.scan("North", code))
    assert said["result"] == "admitted"
    said = await watch.timed("scan", counter.gates.scan("South", code))
    assert (said["result"], said["reason"]) == ("refused", "already_used")
    return one


async def _going_on(counter: Counter, watch: Watch, name: str, seconds: float) -> list[Purchase]:
    """Let a few people buy and go in for so long, one after the other."""
    until = time.monotonic() + seconds

    async def buy(number: int) -> list[Purchase]:
        bought: list[Purchase] = []
        while time.monotonic() < until or not bought:
            customer = f"{name}-{number}-{len(bought)}"
            bought.append(await _one_of_each(counter, watch, customer))
            await asyncio.sleep(_PAUSE_SECONDS)
        return bought

    lanes = await asyncio.gather(*(buy(number) for number in range(_BUYERS)))
    return [one for lane in lanes for one in lane]


@contextmanager
def _away(office: Office, how: str) -> Iterator[None]:
    """Have no answer from the database for the length of a block."""
    if how == "frozen":
        assert isinstance(office.rig, PostgresRig)
        office.rig.server.freeze()
        try:
            yield
        finally:
            office.rig.server.thaw()
        return
    office.rig.go_away()
    try:
        yield
    finally:
        office.rig.come_back()


@pytest.mark.parametrize(
    ("how", "away_seconds"),
    [
        ("killed", 7.0),
        pytest.param("killed", 300.0, marks=pytest.mark.drill),
        pytest.param("frozen", 60.0, marks=pytest.mark.drill),
    ],
)
async def test_while_the_database_is_away_everybody_is_served_and_then_it_is_caught_up(
    office: Office, how: str, away_seconds: float
):
    """Whoever asks what only the books know is told that they are away; a frozen server says
    nothing, and is waited for.
    """
    if how == "frozen" and not is_postgres(office):
        pytest.skip("nobody can freeze a file")
    async with counter_of(office, 100_000) as counter:
        before, meanwhile = Watch(), Watch()
        first = await _going_on(counter, before, "before", 1.0)
        before.report("before")
        with _away(office, how):
            going_on = asyncio.create_task(_going_on(counter, meanwhile, "later", away_seconds))
            while not going_on.done():
                answer = await meanwhile.timed("notifications", counter.notifications(first[0]))
                if is_postgres(office):
                    assert answer.status_code == 503, answer.text
                    assert answer.json()["code"] == "back_office_unavailable"
                else:
                    # Whoever keeps the file of SQLite to himself keeps nobody from reading.
                    assert answer.status_code == 200, answer.text
                await asyncio.sleep(0.5)
            bought = await going_on
        meanwhile.report("meanwhile")
        for what in ("hold", "payment", "tickets", "scan"):
            assert max(meanwhile.seconds[what]) < _DEADLINE_SECONDS, what
        assert max(meanwhile.seconds["notifications"]) < STORE_DEADLINE_SECONDS + 1.0
        assert counter.broken == []
        back_at = time.monotonic()
        await counter.settled(_CAUGHT_UP_SECONDS + len(bought) / _CAUGHT_UP_PER_SECOND)
        logging.getLogger(__name__).warning(
            "%d bookings were caught up in %.1f s", len(bought), time.monotonic() - back_at
        )
        await counter.delivered(*first, *bought)
        scans = (await office.books(counter.event_id)).scans
        assert len(scans) == len(await counter.records(TicketScanned)) == 2 * len(first + bought)
        assert sum(scan.result == ADMITTED for scan in scans) == len(first + bought)
