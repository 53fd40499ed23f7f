"""Every situation in which a booking and its payment can be, each reached by commands alone."""

from collections.abc import Callable

from engine.domain.commands import NoteDelivery
from engine.limits import RETURN_ATTEMPTS_MAX
from tests.unit.engine.domain.given import ORGANIZER, TTL_MS, a_type, booking_id, expire
from tests.unit.engine.domain.given_payments import (
    AUTHORISED,
    CANCELED,
    PRICE_MINOR,
    SUCCEEDED,
    BoxOffice,
    charged,
    disputed,
    failed,
    pay,
    refund,
    refund_said,
)


def reserved() -> BoxOffice:
    sale = BoxOffice()
    sale.placed("ann", ga=2)
    return sale


def opening() -> BoxOffice:
    sale = reserved()
    sale.ask(pay())
    return sale


def opened() -> BoxOffice:
    sale = BoxOffice()
    sale.opened()
    return sale


def card_failed() -> BoxOffice:
    sale = opened()
    sale.hear(failed("ch_0"))
    return sale


def authorised() -> BoxOffice:
    sale = opened()
    sale.hear(AUTHORISED)
    return sale


def authorised_after_a_failure() -> BoxOffice:
    sale = card_failed()
    sale.hear(AUTHORISED)
    return sale


def _time_up(sale: BoxOffice) -> BoxOffice:
    sale.wait(TTL_MS)
    sale.ask(expire("ann"))
    return sale


def time_up() -> BoxOffice:
    return _time_up(opened())


def time_up_before_its_intent_was_known() -> BoxOffice:
    return _time_up(opening())


def time_up_after_a_failure() -> BoxOffice:
    return _time_up(card_failed())


def unpaid() -> BoxOffice:
    return _time_up(reserved())


def expired() -> BoxOffice:
    sale = opened()
    sale.expired()
    return sale


def expired_and_closed() -> BoxOffice:
    sale = expired()
    sale.hear(CANCELED)
    return sale


def left() -> BoxOffice:
    sale = reserved()
    sale.released()
    return sale


def released() -> BoxOffice:
    sale = opened()
    sale.released()
    return sale


def released_and_closed() -> BoxOffice:
    sale = released()
    sale.hear(CANCELED)
    return sale


def given_up() -> BoxOffice:
    sale = card_failed()
    sale.hear(failed("ch_00"), failed("ch_000"))
    return sale


def given_up_and_closed() -> BoxOffice:
    sale = given_up()
    sale.hear(CANCELED)
    return sale


def closed_at_stripe() -> BoxOffice:
    sale = opened()
    sale.hear(CANCELED)
    return sale


def confirmed() -> BoxOffice:
    sale = BoxOffice()
    sale.bought()
    return sale


def delivered() -> BoxOffice:
    sale = confirmed()
    sale.hear(NoteDelivery(booking_id("ann")))
    return sale


def free() -> BoxOffice:
    sale = BoxOffice(a_type(price_minor=0))
    sale.placed("ann", ga=2)
    sale.ask(pay())
    return sale


def in_dispute() -> BoxOffice:
    sale = confirmed()
    sale.hear(disputed())
    return sale


def refund_asked() -> BoxOffice:
    sale = confirmed()
    sale.ask(refund(caller=ORGANIZER))
    return sale


def refund_of_a_part_asked() -> BoxOffice:
    sale = confirmed()
    sale.ask(refund(caller=ORGANIZER, ga=1))
    return sale


def refunded_in_part() -> BoxOffice:
    sale = refund_of_a_part_asked()
    sale.hear(refund_said("succeeded", PRICE_MINOR // 2))
    return sale


def refund_denied() -> BoxOffice:
    sale = refund_asked()
    sale.hear(refund_said("failed", refund_id=""))
    return sale


def refunded() -> BoxOffice:
    sale = refund_asked()
    sale.hear(refund_said("succeeded"))
    return sale


def refund_bounced() -> BoxOffice:
    sale = refunded()
    sale.hear(refund_said("failed"))
    return sale


def refund_bounced_too_often() -> BoxOffice:
    sale = refund_bounced()
    for number in range(2, RETURN_ATTEMPTS_MAX + 1):
        sale.hear(refund_said("failed", number=number))
    return sale


def part_bounced() -> BoxOffice:
    sale = refunded_in_part()
    sale.hear(refund_said("failed", PRICE_MINOR // 2))
    return sale


def part_bounced_too_often() -> BoxOffice:
    sale = part_bounced()
    for number in range(2, RETURN_ATTEMPTS_MAX + 1):
        sale.hear(refund_said("failed", PRICE_MINOR // 2, number))
    return sale


def refund_bounced_before_it_was_made() -> BoxOffice:
    sale = refund_asked()
    sale.hear(refund_said("failed"))
    return sale


def taken_back() -> BoxOffice:
    sale = confirmed()
    sale.hear(charged(PRICE_MINOR))
    return sale


def _sold_to_others(sale: BoxOffice) -> BoxOffice:
    for number in range(4):
        sale.placed(f"b{number}", ga=2)
    sale.placed("b4", ga=1)
    return sale


def expired_and_sold_out() -> BoxOffice:
    return _sold_to_others(expired())


def too_late() -> BoxOffice:
    sale = expired_and_sold_out()
    sale.hear(SUCCEEDED)
    return sale


def paid_after_leaving() -> BoxOffice:
    sale = released()
    sale.hear(SUCCEEDED)
    return sale


def returned() -> BoxOffice:
    sale = paid_after_leaving()
    sale.hear(refund_said("succeeded"))
    return sale


def returned_too_late() -> BoxOffice:
    sale = too_late()
    sale.hear(refund_said("succeeded"))
    return sale


def return_bounced() -> BoxOffice:
    sale = returned()
    sale.hear(refund_said("failed"))
    return sale


def cannot_be_returned() -> BoxOffice:
    sale = paid_after_leaving()
    for number in range(1, RETURN_ATTEMPTS_MAX + 1):
        sale.hear(refund_said("failed", number=number, refund_id=""))
    return sale


SITUATIONS: dict[str, Callable[[], BoxOffice]] = {
    situation.__name__: situation
    for situation in (
        reserved,
        opening,
        opened,
        card_failed,
        authorised,
        authorised_after_a_failure,
        time_up_before_its_intent_was_known,
        time_up,
        time_up_after_a_failure,
        unpaid,
        expired,
        expired_and_closed,
        expired_and_sold_out,
        left,
        released,
        released_and_closed,
        given_up,
        given_up_and_closed,
        closed_at_stripe,
        confirmed,
        delivered,
        free,
        in_dispute,
        refund_asked,
        refund_of_a_part_asked,
        refunded_in_part,
        refund_denied,
        refunded,
        refund_bounced,
        refund_bounced_too_often,
        refund_bounced_before_it_was_made,
        part_bounced,
        part_bounced_too_often,
        taken_back,
        too_late,
        returned_too_late,
        paid_after_leaving,
        returned,
        return_bounced,
        cannot_be_returned,
    )
}
