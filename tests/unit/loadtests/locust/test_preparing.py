"""What is made ready before the clock starts, and what is said if it cannot be."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from loadtests.locust import preparing
from loadtests.locust.preparing import NotReady, Service, Wanted, audit, prepare
from tests.unit.loadtests.locust.small_shop import SmallShop, open_shop


@contextmanager
def asked_by_an_organizer(shop: SmallShop) -> Iterator[Service]:
    with open_shop(shop), closing(Service(shop.url, "org")) as service:
        yield service


@contextmanager
def nowhere() -> Iterator[Service]:
    with closing(Service("http://127.0.0.1:9")) as service:
        yield service


SALE = Wanted("", capacity=7, price=100, tickets=0, payments=0)


def test_an_event_is_made_and_its_owner_woken_with_nothing_left_held():
    shop = SmallShop()
    with asked_by_an_organizer(shop) as service, nowhere() as sandbox:
        share = prepare(service, sandbox, SALE, ["ann", "bob"])
        found = audit(service, share.event_id)
    assert (share.event_id, share.buyers) == ("evt_0", ["ann", "bob"])
    assert (found.committed, found.capacity, found.oversold) == (0, 7, 0)
    assert shop.tokens[:3] == ["org", "ann", "ann"]


def test_an_event_that_is_given_is_not_touched():
    shop = SmallShop()
    given = Wanted("evt_x", capacity=7, price=100, tickets=0, payments=0)
    with asked_by_an_organizer(shop) as service, nowhere() as sandbox:
        assert prepare(service, sandbox, given, ["ann"]).event_id == "evt_x"
    assert shop.asked == []


def test_what_is_not_possible_now_is_asked_for_again(monkeypatch):
    monkeypatch.setattr(preparing, "_PAUSE_SECONDS", 0.01)
    shop = SmallShop(busy=2)
    with asked_by_an_organizer(shop) as service, nowhere() as sandbox:
        prepare(service, sandbox, SALE, ["ann"])
    assert shop.asked.count("POST /api/v1/events/evt_0/holds") == 3


def test_a_refusal_is_told_with_its_question():
    with (
        asked_by_an_organizer(SmallShop()) as service,
        pytest.raises(NotReady, match=r"GET .*/nothing was answered 404 .*not_found"),
    ):
        service.ask("GET", "/nothing")


def test_nobody_there_is_told(monkeypatch):
    monkeypatch.setattr(preparing, "_PATIENCE_SECONDS", 0.0)
    with nowhere() as service, pytest.raises(NotReady, match="ConnectionRefused"):
        service.ask("GET", "/x")


def test_too_few_buyers_for_tickets_are_told():
    wanted = Wanted("evt_x", capacity=7, price=100, tickets=11, payments=0)
    with (
        asked_by_an_organizer(SmallShop()) as service,
        nowhere() as sandbox,
        pytest.raises(NotReady, match="2 buyers are needed beforehand, and there are 1"),
    ):
        prepare(service, sandbox, wanted, ["ann"])


def test_an_audit_that_cannot_be_read_is_told(monkeypatch):
    monkeypatch.setattr(Service, "ask", lambda *_: {"event_id": "evt_x"})
    with nowhere() as service, pytest.raises(NotReady, match="evt_x cannot be read"):
        audit(service, "evt_x")
