"""I7 by the other side: what the Stripe sandbox says it took and gave back, against the journal.

That the journal agrees with itself (captured - refunded - kept is the price of what is sold)
is the audit's; here captured and refunded are compared with books that know nothing of it.
"""

import asyncio
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from actors.recovery import rebuild
from engine.domain.booking import Booking
from engine.domain.ids import event_of_booking, is_booking_id
from engine.domain.payment import DISPUTE_LOST, Payment
from engine.journal.connect import connect
from engine.journal.contract import EpochStray, SequenceGap, Unavailable
from engine.journal.entry import CorruptEntry
from engine.journal.redis import RedisJournal
from engine.limits import AUDIT_NEWS_SECONDS

_POLL_SECONDS = 0.5
_ANSWER_SECONDS_MAX = 30


class BooksUnread(Exception):
    """One of the two sides could not be read. Argument: which, and why."""


class Account(Struct):
    """One PaymentIntent as the sandbox's books have it; amounts in minor units.

    `disputed` is what banks have taken back, or would if they decided now.
    """

    id: str
    metadata: dict[str, str]
    captured: int
    refunded: int
    disputed: int

    @property
    def booking_id(self) -> str:
        """The booking that it names, '' if none."""
        return self.metadata.get("booking", "")

    def is_of(self, event_id: str) -> bool:
        """Tell whether it names this event, or a booking of it."""
        booking_id = self.booking_id
        named = is_booking_id(booking_id) and event_of_booking(booking_id) == event_id
        return named or self.metadata.get("event") == event_id


class _Books(Struct):
    intents: list[Account]


def compare_with_sandbox(redis_url: str, sandbox_url: str, event_id: str) -> dict[str, Any]:
    """Compare an event's journal with the sandbox's books.

    News takes a moment to arrive: what differs is looked at again, and is a violation if it
    still differs after AUDIT_NEWS_SECONDS. Payments that wait for Stripe are only counted.

    Returns:
        `intents`, `captured` and `refunded` by the books, how many payments are `under_way`,
        and the `violations`.

    Raises:
        BooksUnread: there is nothing to compare.
    """
    deadline = time.monotonic() + AUDIT_NEWS_SECONDS
    lasting: dict[str, str] | None = None
    while True:
        accounts = [one for one in _accounts(sandbox_url) if one.is_of(event_id)]
        bookings = asyncio.run(_bookings(redis_url, event_id))
        differing = differences(bookings, accounts)
        if lasting is None:
            lasting = differing
        lasting = {name: differing[name] for name in lasting if name in differing}
        if not lasting or time.monotonic() >= deadline:
            break
        time.sleep(_POLL_SECONDS)
    return {
        "intents": len(accounts),
        "captured": sum(account.captured for account in accounts),
        "refunded": sum(account.refunded for account in accounts),
        "under_way": sum(_under_way(booking) for booking in bookings.values()),
        "violations": [f"I7: {sentence}" for sentence in lasting.values()],
    }


def differences(bookings: Mapping[str, Booking], accounts: Iterable[Account]) -> dict[str, str]:
    """Return what differs, by the booking (or the intent) that it is about.

    Args:
        bookings: of one event, as its journal has them.
        accounts: all of the same event.
    """
    found: dict[str, str] = {}
    of_booking: dict[str, list[Account]] = defaultdict(list)
    for account in accounts:
        if account.booking_id in bookings:
            of_booking[account.booking_id].append(account)
        elif account.captured:
            found[account.id] = f"{account.id} took {account.captured} for no booking"
    for booking_id, booking in bookings.items():
        difference = _difference(booking, of_booking[booking_id])
        if difference is not None:
            found[booking_id] = f"{booking_id} ({booking.status}) {difference}"
    return found


def _difference(booking: Booking, accounts: Sequence[Account]) -> str | None:
    """Return what differs about one booking, None if nothing does or it is under way."""
    taken = [account for account in accounts if account.captured]
    if len(taken) > 1:
        return f"was paid {len(taken)} times: {', '.join(account.id for account in taken)}"
    if _under_way(booking):
        return None
    payment = booking.payment
    if payment is None or not payment.captured_minor:
        return None if not taken else f"took no money, Stripe {taken[0].captured}"
    if not taken:
        return f"took {payment.captured_minor}, Stripe nothing"
    account = taken[0]
    if account.id != payment.intent_id:
        return f"was paid by {payment.intent_id}, at Stripe by {account.id}"
    if account.captured != payment.captured_minor:
        return f"took {payment.captured_minor}, Stripe {account.captured}"
    gone_minor = _gone(account, payment)
    if gone_minor != payment.refunded_minor:
        return f"gave {payment.refunded_minor} back, Stripe {gone_minor}"
    return None


def _under_way(booking: Booking) -> bool:
    payment = booking.payment
    return payment is not None and payment.unsettled and not payment.stuck


def _gone(account: Account, payment: Payment) -> int:
    """Return what went back, by refunds and by disputes that were lost."""
    lost = any(status == DISPUTE_LOST for _, status in payment.disputes)
    return min(account.captured, account.refunded + (account.disputed if lost else 0))


def _accounts(sandbox_url: str) -> list[Account]:
    try:
        with urllib.request.urlopen(  # noqa: S310 - our own sandbox
            f"{sandbox_url}/_sandbox/books", timeout=_ANSWER_SECONDS_MAX
        ) as answer:
            return msgspec.json.decode(answer.read(), type=_Books).intents
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        reason = f"the Stripe sandbox at {sandbox_url} does not answer: {error}"
        raise BooksUnread(reason) from error


async def _bookings(redis_url: str, event_id: str) -> dict[str, Booking]:
    client = connect(redis_url)
    try:
        recovered = await rebuild(RedisJournal(client, event_id))
    except (Unavailable, RedisError) as error:
        raise BooksUnread(f"the store does not answer: {error}") from error
    except (CorruptEntry, SequenceGap, EpochStray, AssertionError) as error:
        raise BooksUnread(f"the journal cannot be replayed: {error}") from error
    finally:
        await client.aclose()
    return recovered.state.bookings
