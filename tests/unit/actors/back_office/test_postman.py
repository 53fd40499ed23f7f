"""The postman: every message comes to its reader or to its end, whatever is away."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from itertools import pairwise

import pytest
import structlog
from msgspec.structs import replace
from structlog.testing import LogCapture

from actors.back_office import postman as module
from actors.back_office import receipts
from actors.back_office.channels import ChannelAway, Refused, TryLater
from actors.back_office.postman import Postman
from actors.consumer import RetryLater
from actors.measures import LETTER_DELAY_SECONDS, LETTERS_ENDED
from engine.back_office_limits import (
    POST_AT_ONCE_MAX,
    POST_ATTEMPTS_MAX,
    POST_LEASE_MS,
    POST_PAUSE_FACTOR,
    POST_PAUSE_SECONDS,
    POST_UNTOLD_SECONDS,
)
from engine.domain.booking import Booking, Status
from engine.domain.payment import Part, Payment, PaymentState, Refund
from engine.letters.facts import Before, Details, Reason
from engine.limits import PDF_TICKETS_MAX
from engine.store.contract import EMAIL, PUSH, MessageKind
from tests.samples import EVENT_ID, booking_id
from tests.samples import booking as sample
from tests.unit.actors.back_office.fake_books import FakeBooks, FakeChannel, FakePapers
from tests.unit.actors.given import until
from tests.unit.actors.recording_meter import RecordingMeter
from tests.virtual_time import now_ms


class World:
    def __init__(self) -> None:
        self.books = FakeBooks()
        self.mail = FakeChannel()
        self.push = FakeChannel()
        self.papers = FakePapers()
        self.told: list[tuple[str, list[str]]] = []
        self.deaf: set[str] = set()
        self.bookings: dict[str, Booking] = {}
        #: Seconds that owners do not answer for, as they say.
        self.silent_owners = 0.0
        self.running: list[asyncio.Task[None]] = []
        self.meter = RecordingMeter()

    async def tell(self, event_id: str, booking_ids: Sequence[str]) -> None:
        if event_id in self.deaf:
            raise RuntimeError("halted")
        self.told.append((event_id, list(booking_ids)))

    async def ask(self, asked_for: str) -> Booking | None:
        if self.silent_owners:
            raise RetryLater(self.silent_owners, "halted")
        return self.bookings.get(asked_for)

    def postman(self, name: str = "p1") -> Postman:
        channels = {EMAIL: self.mail, PUSH: self.push}
        postman = Postman(
            self.books,
            channels,
            self.papers,
            self.tell,
            self.ask,
            name,
            now_ms=now_ms,
            chance=lambda: 0.0,
            meter=self.meter,
        )
        self.running.append(asyncio.create_task(postman.work()))
        return postman

    async def kill(self) -> None:
        """End all postmen as if their process had died: they say nothing more to the books."""
        self.books.away = True
        for task in self.running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self.running.clear()
        self.books.away = False

    async def leave(self, postman: Postman) -> None:
        """Have one that works alone leave, as a back office whose place is no more."""
        (task,) = self.running
        task.cancel()
        await asyncio.wait([task])
        self.running.clear()
        await postman.leave()

    def ended(self) -> bool:
        return "PENDING" not in self.books.statuses()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    yield world
    await world.kill()


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    capture = LogCapture()
    for one in (module, receipts):
        monkeypatch.setattr(one, "log", structlog.wrap_logger(None, processors=[capture]))
    return capture.entries


# -- what is sent ------------------------------------------------------------------


async def test_a_confirmation_is_sent_once_with_its_tickets_and_its_owner_is_told(world, said):
    world.books.put(1, tickets=2)
    world.postman()
    await until(lambda: world.told != [])
    (letter,) = world.mail.sent
    assert letter.address == "ann1@example.org"
    assert letter.dedupe_key == f"order_confirmation:{booking_id(1)}:email"
    assert [one.name for one in letter.attachments] == ["tickets.pdf", "event.ics"]
    assert "Your 2 tickets are attached" in letter.letter.text
    assert "Tickets: 2 × General" in letter.letter.text  # noqa: RUF001
    assert world.told == [(EVENT_ID, [booking_id(1)])]
    await until(lambda: world.books.messages_by_id[1].told)
    message = world.books.messages_by_id[1]
    assert (message.status, message.provider) == ("SENT", "mx1")
    await asyncio.sleep(600)
    assert len(world.mail.sent) == 1
    assert len(world.told) == 1
    assert said == []
    assert world.meter.count(LETTERS_ENDED, "sent", "email") == 1
    (delay,) = world.meter.values(LETTER_DELAY_SECONDS)
    assert delay < 60


async def test_many_are_sent_once_each_and_noted_together(world):
    for number in range(1_000):
        world.books.put(number)
    world.postman()
    await until(world.ended)
    assert Counter(world.mail.tried) == Counter(map(booking_id, range(1_000)))
    calls = Counter(world.books.calls)
    assert calls["sent"] <= 200
    assert calls["due"] <= 1_000 // (POST_AT_ONCE_MAX // 2) * 2
    assert calls["contacts"] <= calls["due"]


async def test_two_postmen_share_the_work(world):
    for number in range(300):
        world.books.put(number)
    world.postman("p1")
    world.postman("p2")
    await until(world.ended)
    assert len(world.mail.sent) == len({one.dedupe_key for one in world.mail.sent}) == 300
    assert {holder for holder, _ in world.books.leases.values()} == {"p1", "p2"}


async def test_a_poke_is_heard_at_once_and_silence_costs_one_look_a_second(world):
    postman = world.postman()
    await asyncio.sleep(100)
    assert 90 <= world.books.calls.count("due") <= 110
    await asyncio.sleep(0.5)
    world.books.put(1)
    began = now_ms()
    postman.poke()
    await until(lambda: world.mail.sent != [])
    assert now_ms() - began < 100


@pytest.mark.parametrize(
    ("kind", "tickets", "status", "drawn"),
    [
        (MessageKind.CONFIRMATION, 1, "ACTIVE", ["pdf", "ics"]),
        (MessageKind.CONFIRMATION, PDF_TICKETS_MAX, "ACTIVE", ["pdf", "ics"]),
        (MessageKind.CONFIRMATION, PDF_TICKETS_MAX + 1, "ACTIVE", ["ics"]),
        (MessageKind.CONFIRMATION, 2, "USED", ["pdf", "ics"]),
        (MessageKind.CONFIRMATION, 2, "VOID", []),
        (MessageKind.EVENT_CHANGED, 2, "ACTIVE", ["ics"]),
        (MessageKind.EVENT_CHANGED, 2, "USED", ["ics"]),
        (MessageKind.REFUNDED, 2, "ACTIVE", []),
        (MessageKind.PAYMENT_FAILED, 0, "", []),
    ],
)
async def test_only_what_the_letter_speaks_of_is_attached(world, kind, tickets, status, drawn):
    world.books.put(1, kind, tickets=tickets, status=status)
    world.postman()
    await until(world.ended)
    (letter,) = world.mail.sent
    assert [name for name, _ in world.papers.drawn] == drawn
    assert len(letter.attachments) == len(drawn)
    assert ("attached" in letter.letter.text) == bool(drawn)
    if kind is not MessageKind.CONFIRMATION:
        assert world.told == []


@pytest.mark.parametrize("kind", [MessageKind.CONFIRMATION, MessageKind.REFUNDED])
async def test_a_ticket_that_somebody_has_been_let_in_with_is_as_valid_as_before(world, kind):
    """It may be shown again, where people come and go; what is void is not sent."""
    world.books.put(1, kind, tickets=3)
    rows = world.books.tickets_of[booking_id(1)]
    worth = zip(rows, ("USED", "ACTIVE", "VOID"), strict=True)
    world.books.tickets_of[booking_id(1)] = [replace(row, status=one) for row, one in worth]
    world.postman()
    await until(world.ended)
    said = world.mail.sent[0].letter.text
    assert "no longer valid" not in said
    if kind is MessageKind.CONFIRMATION:
        assert world.papers.drawn == [("pdf", 2), ("ics", 2)]
        assert "Your 2 tickets are attached" in said
        assert "K7QX-0000, K7QX-0001\n" in said
    else:
        assert "2 tickets of this booking stay valid" in said


async def test_push_carries_no_files(world):
    world.books.put(1, channel=PUSH)
    world.postman()
    await until(world.ended)
    assert world.push.sent[0].attachments == ()
    assert world.papers.drawn == []


async def test_a_short_message_brings_no_tickets_and_no_owner_is_told_that_it_did(world):
    pushed = world.books.put(1, channel=PUSH)
    world.mail.always = ChannelAway(60.0, "away")
    world.books.put(1)
    world.postman()
    await until(lambda: world.push.sent != [])
    await asyncio.sleep(2 * POST_UNTOLD_SECONDS)
    assert world.books.messages_by_id[pushed].status == "SENT"
    assert world.told == []
    assert world.meter.count(LETTERS_ENDED, "sent", "push") == 1
    assert world.meter.values(LETTER_DELAY_SECONDS) == []
    world.mail.always = None
    await until(lambda: world.told != [])
    assert world.told == [(EVENT_ID, [booking_id(1)])]
    assert len(world.meter.values(LETTER_DELAY_SECONDS)) == 1


async def test_a_change_is_not_told_to_whom_it_does_not_concern_any_more(world, said):
    details = Details(before=Before(name="Day"))
    world.books.put(1, MessageKind.EVENT_CHANGED, details=details, status="VOID")
    world.postman()
    await until(world.ended)
    assert world.mail.sent == []
    message = world.books.messages_by_id[1]
    assert (message.status, message.error) == ("NOT_NEEDED", "none of its tickets is valid")
    assert message.attempts == 0
    assert [one["log_level"] for one in said] == ["info"]


# -- an event that was called off --------------------------------------------------


def called_off(world: World, number: int = 1) -> None:
    """Have an event be called off a minute after a booking was paid."""
    details = Details(reason=Reason.EVENT_CANCELLED)
    world.books.put(number, MessageKind.EVENT_CANCELLED, details=details, status="VOID")
    paid = Payment(PaymentState.CAPTURED, 18_900, 0, captured_minor=18_900)
    bought = replace(sample(number), payment=paid)
    world.bookings[bought.booking_id] = bought.moved(Status.CONFIRMED, now_ms() - 60_000)


async def test_who_has_paid_reads_how_much_comes_back(world):
    called_off(world)
    world.postman()
    await until(world.ended)
    said = world.mail.sent[0].letter.text
    assert "You get €189.00 back" in said
    assert "Money back: €189.00" in said


async def test_who_had_given_all_back_before_is_not_told_that_their_tickets_are_void(world):
    called_off(world)
    sold = world.bookings[booking_id(1)]
    parts = tuple(Part(line.ticket_type, line.quantity) for line in sold.lines)
    asked = sold.refunding(Refund(1, 18_900, parts), now_ms() - 1_000)
    world.bookings[booking_id(1)] = asked.refunded("re_1", now_ms() + 1_000)
    world.postman()
    await until(world.ended)
    assert world.mail.sent == []
    message = world.books.messages_by_id[1]
    assert message.status == "NOT_NEEDED"
    assert message.error == "none of its tickets was valid when the event was called off"


async def test_an_owner_that_does_not_answer_is_waited_for_and_in_the_end_done_without(world):
    called_off(world)
    called_off(world, 2)
    world.silent_owners = 5.0
    world.postman()
    await until(lambda: world.books.messages_by_id[1].attempts == 1)
    assert world.books.messages_by_id[1].error == "its owner does not answer"
    world.silent_owners = 0.0
    await until(lambda: len(world.mail.sent) == 2)
    assert all("€189.00 back" in one.letter.text for one in world.mail.sent)
    world.silent_owners = 5.0
    called_off(world, 3)
    await until(world.ended)
    assert world.books.statuses() == ["SENT"] * 3
    assert "back" not in world.mail.sent[2].letter.text


# -- what goes wrong ---------------------------------------------------------------


async def test_no_address_ends_a_message(world):
    world.books.put(1)
    world.books.people.clear()
    world.postman()
    await until(world.ended)
    message = world.books.messages_by_id[1]
    assert (message.status, message.error) == ("NOT_NEEDED", "no address")
    assert world.meter.count(LETTERS_ENDED, "given_up", "email") == 0
    assert world.meter.count(LETTERS_ENDED, "not_needed", "email") == 1
    assert world.told == []


async def test_a_refusal_is_final_at_once_and_an_operator_is_told(world, said):
    world.books.put(1)
    world.mail.troubles[booking_id(1)] = Refused("550 5.1.1")
    world.postman()
    await until(world.ended)
    message = world.books.messages_by_id[1]
    assert (message.status, message.error) == ("PERMANENTLY_FAILED", "550 5.1.1")
    assert len(world.mail.tried) == 1
    (alarm,) = [one for one in said if one["log_level"] == "critical"]
    assert alarm["event"] == "message_given_up"
    assert "@" not in str(said)
    assert world.meter.count(LETTERS_ENDED, "given_up", "email") == 1
    assert world.meter.values(LETTER_DELAY_SECONDS) == []


async def test_a_letter_that_is_put_off_is_tried_three_times_with_growing_pauses(world, said):
    world.books.put(1)
    times = []

    async def note() -> None:
        times.append(now_ms())
        raise TryLater(None, "450 4.2.0")

    world.mail.troubles[booking_id(1)] = note
    world.postman()
    await until(world.ended)
    assert len(times) == POST_ATTEMPTS_MAX == 3
    first, second = (later - sooner for sooner, later in pairwise(times))
    assert first == pytest.approx(POST_PAUSE_SECONDS * 1_000, abs=1_500)
    assert second == pytest.approx(POST_PAUSE_SECONDS * POST_PAUSE_FACTOR * 1_000, abs=1_500)
    assert world.books.messages_by_id[1].status == "PERMANENTLY_FAILED"
    assert [one["event"] for one in said].count("message_given_up") == 1


async def test_a_server_that_names_a_longer_pause_gets_it(world):
    world.books.put(1)
    world.mail.troubles[booking_id(1)] = [TryLater(900.0, "450")]
    began = now_ms()
    world.postman()
    await until(world.ended)
    assert world.books.statuses() == ["SENT"]
    assert now_ms() - began >= 900_000


async def test_an_outage_of_hours_loses_nothing_and_counts_as_no_attempt(world, said):
    for number in range(200):
        world.books.put(number)
    world.mail.always = ChannelAway(30.0, "no provider can be reached")
    world.postman()
    await asyncio.sleep(4 * 3_600)
    assert world.books.statuses() == ["PENDING"] * 200
    assert {message.attempts for message in world.books.messages_by_id.values()} == {0}
    assert len(world.mail.tried) <= POST_AT_ONCE_MAX + 4 * 120
    world.mail.always = None
    await until(world.ended)
    assert world.books.statuses() == ["SENT"] * 200
    assert len(world.mail.sent) == 200
    assert not [one for one in said if one["log_level"] == "critical"]


async def test_a_channel_that_is_away_does_not_hold_up_another(world):
    for number in range(300):
        world.books.put(number)
    for number in range(300, 310):
        world.books.put(number, channel=PUSH)
    world.mail.always = ChannelAway(60.0, "away")
    world.postman()
    await until(lambda: len(world.push.sent) == 10)
    assert world.mail.sent == []


async def test_a_channel_that_is_slow_keeps_mails_from_nothing(world):
    """It is not away: it just does not answer, and all that is its own is older."""
    for number in range(2_000):
        world.books.put(number, channel=PUSH)
    for number in range(300):
        world.books.put(number)
    world.push.always = asyncio.Event().wait
    began = now_ms()
    world.postman()
    await until(lambda: len(world.mail.sent) == 300)
    assert now_ms() - began < 5_000
    assert len(world.push.tried) == POST_AT_ONCE_MAX
    await asyncio.sleep(100)
    assert len(world.push.tried) == POST_AT_ONCE_MAX
    assert world.books.calls.count("due") < 300, "it asks for what it has no places for"


async def test_a_channel_that_was_away_is_tried_with_one_letter_at_a_time(world):
    for number in range(200):
        world.books.put(number, channel=PUSH)
    world.push.always = ChannelAway(10.0, "no service answers")
    world.postman()
    await until(lambda: len(world.push.tried) == POST_AT_ONCE_MAX)
    answer = asyncio.Event()
    world.push.always = answer.wait
    await asyncio.sleep(100)
    assert len(world.push.tried) == POST_AT_ONCE_MAX + 1
    answer.set()
    await until(world.ended)
    assert len(world.push.sent) == 200


async def test_a_mistake_in_one_message_does_not_stop_the_others(world, said):
    for number in range(20):
        world.books.put(number)
    world.books.tickets_of[booking_id(3)] = []
    world.books.unreadable.add(booking_id(4))
    world.mail.troubles[booking_id(5)] = KeyError("ann5@example.org")
    world.postman()
    await until(world.ended)
    failed = [
        message.booking_id
        for message in world.books.messages_by_id.values()
        if message.status == "PERMANENTLY_FAILED"
    ]
    assert failed == [booking_id(number) for number in (3, 4, 5)]
    assert len(world.mail.sent) == 17
    assert world.mail.tried.count(booking_id(5)) == POST_ATTEMPTS_MAX
    assert world.books.messages_by_id[6].error.startswith("KeyError at fake_books.py:")
    assert "@" not in str(said)
    assert "@" not in str([message.error for message in world.books.messages_by_id.values()])


async def test_an_event_that_is_not_in_the_books_yet_is_waited_for(world):
    world.books.put(1)
    event = world.books.events.pop(EVENT_ID)
    world.postman()
    await asyncio.sleep(5)
    world.books.events[EVENT_ID] = event
    await until(world.ended)
    assert world.books.statuses() == ["SENT"]
    assert world.books.messages_by_id[1].attempts == 1


async def test_a_channel_that_is_not_set_ends_a_message(world):
    world.books.put(1, channel="fax")
    world.postman()
    await until(world.ended)
    assert world.books.messages_by_id[1].error == "there is no channel fax"
    world.books.put(2, channel="fax")
    await until(world.ended)
    assert world.books.messages_by_id[2].error == "there is no channel fax"


# -- the books are away ------------------------------------------------------------


@pytest.mark.parametrize("name", ["due", "contacts", "event", "tickets", "sent", "failed", "told"])
async def test_books_that_are_away_are_waited_for_and_nothing_is_sent_twice(world, name):
    for number in range(40):
        world.books.put(number)
    world.mail.troubles[booking_id(7)] = Refused("550")
    world.books.stuck.add(name)
    world.postman()
    await asyncio.sleep(120)
    assert world.books.calls.count(name) <= 121 * POST_AT_ONCE_MAX
    world.books.stuck.clear()
    await until(lambda: world.ended() and len(world.mail.sent) == 39)
    await asyncio.sleep(2 * POST_UNTOLD_SECONDS)
    assert Counter(world.mail.tried).most_common(1)[0][1] == 1
    assert sum(message.told for message in world.books.messages_by_id.values()) == 39


async def test_who_dies_before_noting_sends_again_under_the_same_name(world):
    world.books.put(1)
    world.books.stuck.add("sent")
    world.postman()
    await until(lambda: "sent" in world.books.calls)
    await world.kill()
    world.books.stuck.clear()
    world.postman()
    await until(world.ended)
    first, second = world.mail.sent
    assert first.dedupe_key == second.dedupe_key
    assert first.at_ms == second.at_ms


async def test_another_postman_takes_over_when_the_lease_has_ended(world):
    world.books.put(1)
    forever = asyncio.Event()
    world.mail.troubles[booking_id(1)] = forever.wait
    world.postman("p1")
    await until(lambda: world.mail.tried != [])
    await world.kill()
    world.mail.troubles.clear()
    began = now_ms()
    world.postman("p2")
    await until(world.ended)
    assert now_ms() - began == pytest.approx(POST_LEASE_MS, abs=2_000)


async def test_what_somebody_who_leaves_has_taken_is_for_the_others_at_once(world):
    world.books.put(1)
    world.mail.troubles[booking_id(1)] = asyncio.Event().wait
    postman = world.postman("p1")
    await until(lambda: world.mail.tried != [])
    await world.leave(postman)
    world.mail.troubles.clear()
    began = now_ms()
    world.postman("p2")
    await until(world.ended)
    assert now_ms() - began < POST_LEASE_MS / 10


async def test_who_is_cancelled_notes_what_was_taken(world):
    world.books.put(1)
    task_of = world.running
    world.postman()
    await until(lambda: world.mail.sent != [])
    task = task_of.pop()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert world.books.statuses() == ["SENT"]


# -- owners ------------------------------------------------------------------------


async def test_owners_are_told_what_somebody_died_over(world):
    message_id = world.books.put(1)
    await world.books.sent([message_id], "mx1", now_ms())
    world.postman()
    await until(lambda: world.books.messages_by_id[message_id].told)
    assert world.told == [(EVENT_ID, [booking_id(1)])]
    assert world.mail.sent == []


async def test_an_owner_that_does_not_answer_is_told_later_and_holds_up_nobody(world):
    other = "evt_0000000000bb"
    world.books.events[other] = world.books.events[EVENT_ID]
    world.books.put(1)
    message_id = world.books.put(2)
    world.books._change(message_id, event_id=other)
    world.deaf.add(EVENT_ID)
    world.postman()
    await until(lambda: world.books.messages_by_id[2].told)
    assert world.told == [(other, [booking_id(2)])]
    assert not world.books.messages_by_id[1].told
    world.deaf.clear()
    await until(lambda: world.books.messages_by_id[1].told)
