"""Every order in which news may be heard, any of them twice: all permutations of all subsets.

Bookings are immutable, so the orders need not be walked one by one: what a booking has
become after some news, by whatever path, is a node, and there are few of them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from msgspec.structs import replace

from engine.domain.apply import apply
from engine.domain.booking import EXPIRING, Booking
from engine.domain.commands import Command
from engine.domain.decide import decide
from engine.domain.moves import expire_at, put
from engine.domain.outcomes import DONE
from engine.domain.state import check_fully
from tests.unit.engine.domain.given_payments import BoxOffice

Heard = frozenset[str]
#: One piece of news; more than one command where they are always told together.
News = Command | tuple[Command, ...]
#: What must be the same in the end: status, payment, money, whether it is disputed, counts.
Ending = tuple[object, ...]


def endings(
    begin: Callable[[], BoxOffice],
    news: Mapping[str, News],
    possible: Callable[[Heard], bool],
    finish: Callable[[BoxOffice, Heard], None] = lambda _sale, _heard: None,
) -> dict[Heard, set[Ending]]:
    """Return how ann's booking may end, for every set of news that Stripe may have for it.

    Args:
        begin: gives a sale in which nothing of the news is heard yet.
        news: by name; each is heard once or more often.
        possible: whether all of these can be true of one payment.
        finish: what comes after all of it.
    """
    sale = begin()
    found: dict[Heard, set[Ending]] = defaultdict(set)
    # Sets with few news come first: each only leads to one with more of them.
    layer: dict[Heard, dict[Booking, None]] = {frozenset(): {sale.booking("ann"): None}}
    while layer:
        longer: dict[Heard, dict[Booking, None]] = defaultdict(dict)
        for heard, bookings in layer.items():
            for booking in _with_repetitions(sale, bookings, [news[name] for name in heard]):
                _go_back_to(sale, booking)
                finish(sale, heard)
                found[heard].add(_ending(sale))
                for name in news.keys() - heard:
                    if possible(heard | {name}):
                        longer[heard | {name}].setdefault(_after(sale, booking, news[name]))
        layer = longer
    return found


def _with_repetitions(
    sale: BoxOffice, bookings: Iterable[Booking], heard: list[News]
) -> dict[Booking, None]:
    """Return these bookings, and what they become when some of the news is heard again."""
    found = dict.fromkeys(bookings)
    fresh = list(found)
    while fresh:
        again = {_after(sale, booking, one): None for booking in fresh for one in heard}
        fresh = [booking for booking in again if booking not in found]
        found |= again
    return found


def _after(sale: BoxOffice, booking: Booking, news: News) -> Booking:
    _go_back_to(sale, booking)
    for one in news if isinstance(news, tuple) else (news,):
        outcome, records = decide(sale.state, one, sale.now_ms)
        assert outcome == DONE, f"{outcome}: {one} was refused by {booking}"
        for record in records:
            apply(sale.state, record)
        if records:
            check_fully(sale.state)
    return _short(sale.booking("ann"))


def _go_back_to(sale: BoxOffice, booking: Booking) -> None:
    state = sale.state
    put(state, booking)
    # No move of a booking leads from an end of it to a hold that still expires.
    state.expiries.clear()
    state.expiring_at.clear()
    if booking.status in EXPIRING:
        expire_at(state, booking.expires_at_ms, booking.booking_id)


def _short(booking: Booking) -> Booking:
    """Return the booking without its way here, so that two ways may meet."""
    payment = booking.payment
    assert payment is not None
    payment = replace(payment, failures=tuple(sorted(payment.failures)))
    return replace(booking, later=(), payment=payment)


def _ending(sale: BoxOffice) -> Ending:
    disputed = sale.payment().disputed
    return sale.status(), sale.payment().state, sale.money(), disputed, sale.counts()
