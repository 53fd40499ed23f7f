"""Lists are cut, filtered and turned as Stripe's are."""

import itertools

import pytest

from loadtests.stripe_sandbox.collection import Collection
from loadtests.stripe_sandbox.errors import StripeError
from loadtests.stripe_sandbox.params import Created, Listing


@pytest.fixture
def twenty() -> Collection:
    """Things 0 to 19, two created in each second from 100 on; every third is of intent `pi_a`."""
    collection = Collection("thing")
    for number in range(20):
        intent = "pi_a" if number % 3 == 0 else None
        collection.put({"id": f"t{number}", "created": 100 + number // 2, "payment_intent": intent})
    return collection


def ids(page) -> list[int]:
    assert (page["object"], page["url"]) == ("list", "/v1/things")
    return [int(thing["id"][1:]) for thing in page["data"]]


def test_newest_first(twenty):
    page = twenty.page(Listing(), "/v1/things")
    assert ids(page) == list(range(19, 9, -1))
    assert page["has_more"]


def test_an_object_that_is_replaced_keeps_its_place(twenty):
    twenty.put({"id": "t15", "created": 107, "payment_intent": "pi_a", "new": True})
    page = twenty.page(Listing(limit=5), "/v1/things")
    assert ids(page) == [19, 18, 17, 16, 15]
    assert page["data"][-1]["new"]
    assert len(twenty.of_intent("pi_a")) == 7


@pytest.mark.parametrize("limit", [1, 3, 7, 10, 20, 100])
def test_pages_forward_and_backward_are_all_there_is(twenty, limit):
    forward, cursor = [], None
    while True:
        page = twenty.page(Listing(limit=limit, starting_after=cursor), "/v1/things")
        forward += ids(page)
        cursor = page["data"][-1]["id"]
        if not page["has_more"]:
            break
    assert forward == list(range(19, -1, -1))
    backward, cursor = [], "t0"
    while True:
        page = twenty.page(Listing(limit=limit, ending_before=cursor), "/v1/things")
        backward = ids(page) + backward
        cursor = page["data"][0]["id"]
        if not page["has_more"]:
            break
    assert backward == list(range(19, 0, -1))


BOUNDS = [None, 99, 100, 104, 109, 110]


@pytest.mark.parametrize(("gt", "gte"), list(itertools.product(BOUNDS, BOUNDS)))
def test_times_bound_a_list(twenty, gt, gte):
    for lt, lte in itertools.product(BOUNDS, BOUNDS):
        created = Created(gt=gt, gte=gte, lt=lt, lte=lte)
        page = twenty.page(Listing(created=created, limit=100), "/v1/things")
        assert ids(page) == [
            number
            for number in range(19, -1, -1)
            for at in [100 + number // 2]
            if (gt is None or at > gt)
            and (gte is None or at >= gte)
            and (lt is None or at < lt)
            and (lte is None or at <= lte)
        ], created


def test_one_second(twenty):
    assert ids(twenty.page(Listing(created=103), "/v1/things")) == [7, 6]


def test_of_one_intent(twenty):
    page = twenty.page(Listing(limit=3), "/v1/things", intent_id="pi_a")
    assert ids(page) == [18, 15, 12]
    assert page["has_more"]
    listing = Listing(starting_after="t12", limit=3)
    assert ids(twenty.page(listing, "/v1/things", intent_id="pi_a")) == [9, 6, 3]
    assert ids(twenty.page(Listing(), "/v1/things", intent_id="pi_b")) == []


def test_only_what_is_wanted_counts(twenty):
    page = twenty.page(Listing(limit=2), "/v1/things", lambda thing: thing["created"] == 100)
    assert ids(page) == [1, 0]
    assert not page["has_more"]


def test_what_was_removed_is_nowhere(twenty):
    twenty.remove("t18")
    assert ids(twenty.page(Listing(limit=2), "/v1/things")) == [19, 17]
    assert ids(twenty.page(Listing(limit=2, starting_after="t18"), "/v1/things")) == [17, 16]


def test_a_cursor_must_be_there(twenty):
    with pytest.raises(StripeError) as refused:
        twenty.page(Listing(starting_after="t99"), "/v1/things")
    assert (refused.value.status, refused.value.error["param"]) == (404, "starting_after")


def test_a_clock_that_went_back_breaks_no_list():
    collection = Collection("thing")
    for number, created in enumerate([100, 90, 110]):
        collection.put({"id": f"t{number}", "created": created})
    page = collection.page(Listing(created=Created(gte=100)), "/v1/things")
    assert ids(page) == [2, 1, 0]
