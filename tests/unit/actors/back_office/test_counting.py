"""Operators see how many messages wait and how many nobody will get."""

import asyncio

from actors.back_office.counting import LetterCounter
from actors.measures import LETTERS
from engine.back_office_limits import LETTERS_COUNTED_EVERY_SECONDS
from engine.store.contract import MessageKind, MessageStatus, StoreAway, Tally
from tests.unit.actors.recording_meter import RecordingMeter


class Books:
    def __init__(self) -> None:
        self.away = False
        self.tallies = [
            Tally(MessageKind.CONFIRMATION, "email", MessageStatus.PENDING, 3),
            Tally(MessageKind.REFUNDED, "email", MessageStatus.PENDING, 2),
            Tally(MessageKind.CONFIRMATION, "email", MessageStatus.SENT, 100),
            Tally(MessageKind.EVENT_CHANGED, "email", MessageStatus.NOT_NEEDED, 40),
        ]

    async def statistics(self, organizer: str | None) -> list[Tally]:
        assert organizer is None
        if self.away:
            raise StoreAway("gone")
        return self.tallies


async def test_what_waits_and_what_failed_is_counted_and_nothing_is_shown_as_zero() -> None:
    books, meter = Books(), RecordingMeter()
    await LetterCounter(books, meter).count()
    assert meter.shown == {(LETTERS.name, "pending"): 5, (LETTERS.name, "permanently_failed"): 0}


async def test_it_counts_again_after_an_outage() -> None:
    books, meter = Books(), RecordingMeter()
    books.away = True
    counting = asyncio.create_task(LetterCounter(books, meter).work())
    await asyncio.sleep(2.5 * LETTERS_COUNTED_EVERY_SECONDS)
    assert meter.shown == {}
    books.away = False
    await asyncio.sleep(LETTERS_COUNTED_EVERY_SECONDS)
    assert meter.shown[(LETTERS.name, "pending")] == 5
    assert not counting.done()
    counting.cancel()
