"""What organizers are told, over histories as they happen."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from actors.back_office import announcements
from actors.back_office.announcements import KIND_OF
from engine.domain.admission import Scanned
from engine.domain.booking import Booking, Status
from engine.domain.records import (
    DOOR_EFFECTS,
    EFFECTS,
    PAYMENT_EFFECTS,
    EventAmended,
    PassageUndone,
    PaymentFailed,
    PaymentGivenUp,
    Record,
    TicketScanned,
)
from engine.domain.tickets import ticket_id
from engine.store.webhook_contract import WebhookKind
from tests.unit.engine.domain.given import EVENT_ID, NOW_MS, ORGANIZER, amend, booking_id
from tests.unit.engine.domain.given_payments import (
    CANCEL,
    BoxOffice,
    charged,
    disputed,
    failed,
    refund,
    refund_said,
)


def told(office: BoxOffice, record: Record, booking: Booking | None = None) -> dict[str, Any]:
    """Return the body of what is told of a record."""
    assert office.state.event is not None
    one = announcements.of(office.state.event, 7, 2, record, booking)
    assert one is not None, record
    assert (one.webhook_id, one.organizer) == (f"msg_{EVENT_ID[4:]}_7_2", "acme")
    body = json.loads(one.body)
    assert body["type"] == one.kind == KIND_OF[type(record)]
    datetime.fromisoformat(body["timestamp"]).astimezone(UTC)
    assert (body["data"]["event_id"], body["data"]["sequence"]) == (EVENT_ID, 7)
    return body


def last(office: BoxOffice, kind: WebhookKind) -> dict[str, Any]:
    """Return what is told of the last turn under this kind."""
    (record,) = [one for one in office.last() if KIND_OF.get(type(one)) is kind]
    return told(office, record, office.booking("ann"))["data"]


def euros(amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": "EUR"}


# -- bookings --------------------------------------------------------------------------


def test_a_confirmed_booking_is_told_whole_and_without_a_name():
    office = BoxOffice()
    office.bought("ann", ga=2)
    data = last(office, WebhookKind.BOOKING_CONFIRMED)
    assert data["booking"] == {
        "id": booking_id("ann"),
        "customer": "ann",
        "status": "CONFIRMED",
        "items": [{"ticket_type": "ga", "quantity": 2, "seats": [], "unit_price": 4_500}],
        "total": euros(9_000),
        "paid": euros(9_000),
        "refunded": euros(0),
        "tickets": [ticket_id(booking_id("ann"), 0), ticket_id(booking_id("ann"), 1)],
    }
    assert set(data) == {"event_id", "sequence", "booking"}


def test_the_time_is_that_of_the_record():
    office = BoxOffice()
    office.wait(1_234)
    office.bought("ann", ga=2)
    (record,) = [one for one in office.last() if type(one) in KIND_OF]
    at = datetime.fromisoformat(told(office, record, office.booking("ann"))["timestamp"])
    assert at.timestamp() * 1_000 == pytest.approx(record.at_ms)
    assert record.at_ms >= NOW_MS + 1_234


def test_a_booking_that_runs_out_has_expired():
    office = BoxOffice()
    office.placed("ann", ga=2)
    office.wait(700_000)
    office.expire_due()
    data = last(office, WebhookKind.BOOKING_EXPIRED)
    assert data["booking"]["status"] == "EXPIRED"
    assert data["booking"]["paid"] == euros(0)
    assert data["booking"]["tickets"] == []


def test_a_booking_is_cancelled_only_when_the_last_card_has_failed():
    office = BoxOffice()
    office.opened("ann", ga=2)
    event = office.state.event
    while office.status() is not Status.CANCELLED:
        office.hear(failed(f"ch_{len(office.payment().failures)}"))
        (record,) = [
            one for one in office.last() if isinstance(one, PaymentFailed | PaymentGivenUp)
        ]
        one = announcements.of(event, 1, 0, record, office.booking("ann"))
        assert (one is None) is isinstance(record, PaymentFailed)
    assert last(office, WebhookKind.BOOKING_CANCELLED)["booking"]["status"] == "CANCELLED"


def test_a_refund_is_told_when_it_is_asked_for_and_when_it_is_made():
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.ask(refund("ann", ORGANIZER, ga=1))
    asked = last(office, WebhookKind.REFUND_REQUESTED)
    assert asked["refund"]["number"] == 1
    assert asked["refund"]["amount"] == euros(4_500)
    assert asked["refund"]["items"] == [{"ticket_type": "ga", "quantity": 1}]
    assert asked["booking"]["status"] == "REFUND_REQUESTED"
    assert asked["booking"]["refunded"] == euros(0)
    office.hear(refund_said("succeeded", 4_500))
    made = last(office, WebhookKind.BOOKING_REFUNDED)
    assert made["refund"] == {**asked["refund"], "reason": None}
    assert made["booking"]["refunded"] == euros(4_500)
    assert made["booking"]["status"] == "CONFIRMED"
    assert made["booking"]["items"][0]["quantity"] == 1


def test_a_refund_that_fails_is_told_with_its_reason():
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.call_off()
    office.hear(refund_said("failed", reason="expired_or_canceled_card"))
    data = last(office, WebhookKind.REFUND_FAILED)
    assert data["booking"]["status"] == "REFUND_DENIED"
    assert data["refund"]["reason"] == "expired_or_canceled_card"


def test_of_a_refund_that_is_not_the_last_only_the_sums_are_known():
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.call_off()
    office.hear(refund_said("succeeded", refund_id="re_other"))
    (record,) = [one for one in office.last() if KIND_OF.get(type(one)) is not None]
    booking = office.booking("ann")
    assert "refund" in told(office, record, booking)["data"]
    newer = replace(booking.payment.refund, number=2, refund_id="")
    later = replace(booking, payment=replace(booking.payment, refund=newer))
    data = told(office, record, later)["data"]
    assert "refund" not in data
    assert data["booking"]["refunded"] == euros(9_000)


def test_money_that_others_gave_back_is_a_refund_too():
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.hear(charged(9_000))
    data = last(office, WebhookKind.BOOKING_REFUNDED)
    assert data["booking"]["status"] == "REFUNDED"
    assert data["booking"]["refunded"] == euros(9_000)
    assert "refund" not in data


def test_a_dispute_is_told_with_its_status():
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.hear(disputed("needs_response"))
    data = last(office, WebhookKind.BOOKING_DISPUTED)
    assert data["dispute"] == {"id": "dp_1", "status": "needs_response"}


# -- events ----------------------------------------------------------------------------


def test_a_changed_event_is_told_as_it_is_from_now_on():
    office = BoxOffice()
    office.ask(amend(name="Night of Brass", capacities={"ga": 20}))
    (record,) = office.last()
    assert isinstance(record, EventAmended)
    event = told(office, record)["data"]["event"]
    assert event["name"] == "Night of Brass"
    assert event["ticket_types"] == [{"code": "ga", "name": "GA", "price": 4_500, "capacity": 20}]
    assert event["sale"] == {"opens_at": None, "closes_at": None}


def test_a_cancelled_event_is_told_with_what_is_left_to_do():
    office = BoxOffice()
    office.bought("ann", ga=2)
    office.ask(CANCEL)
    (record,) = [one for one in office.last() if KIND_OF.get(type(one)) is not None]
    data = told(office, record)["data"]
    assert data["bookings_left"] == 1
    assert data["event"]["id"] == EVENT_ID


# -- doors -----------------------------------------------------------------------------

TICKET = ticket_id(booking_id("ann"), 0)


def scanned(*, admitted: bool = True, entry: bool = True) -> TicketScanned:
    scan = Scanned("scan-1", admitted, "" if admitted else "void", TICKET, "ga", "P-1")
    return TicketScanned(scan, entry, "North", "staff-1", NOW_MS, NOW_MS + 5, offline=False)


def test_an_admission_is_told_and_not_who_stood_at_the_door():
    body = told(BoxOffice(), scanned())
    ticket = {"id": TICKET, "booking_id": booking_id("ann"), "ticket_type": "ga", "seat": "P-1"}
    assert body["data"]["ticket"] == ticket
    assert body["data"]["gate"] == "North"
    assert "staff-1" not in json.dumps(body)


@pytest.mark.parametrize("record", [scanned(admitted=False), scanned(entry=False)], ids=repr)
def test_who_is_turned_away_or_goes_home_is_not_told(record: TicketScanned):
    assert announcements.of(BoxOffice().state.event, 1, 0, record, None) is None


# -- all of them -----------------------------------------------------------------------


def test_only_effects_are_told_and_each_has_a_kind_or_a_reason():
    assert set(KIND_OF) <= EFFECTS | DOOR_EFFECTS
    silent = (EFFECTS | DOOR_EFFECTS) - set(KIND_OF)
    assert silent <= PAYMENT_EFFECTS | {PaymentFailed, PassageUndone}
    assert set(KIND_OF.values()) == set(WebhookKind)


def test_the_same_effect_is_the_same_announcement():
    office = BoxOffice()
    office.bought("ann", ga=2)
    (record,) = [one for one in office.last() if type(one) in KIND_OF]
    event, booking = office.state.event, office.booking("ann")
    first = announcements.of(event, 7, 2, record, booking)
    assert announcements.of(event, 7, 2, record, booking) == first
    names = {
        announcements.of(event, sequence, index, record, booking).webhook_id
        for sequence in (1, 11, 111)
        for index in (0, 1, 11)
    }
    assert len(names) == 9


def test_a_booking_that_is_missing_is_a_mistake():
    office = BoxOffice()
    office.bought("ann", ga=2)
    (record,) = [one for one in office.last() if type(one) in KIND_OF]
    with pytest.raises(AssertionError, match="without its booking"):
        announcements.of(office.state.event, 1, 0, record, None)


def test_a_ping_says_which_endpoint_it_is_for():
    one = announcements.ping("whe_1", "acme", "msg_ping_1", NOW_MS)
    assert json.loads(one.body) == {
        "type": "ping",
        "timestamp": "2027-01-15T08:00:00.000Z",
        "data": {"endpoint_id": "whe_1"},
    }
