"""The books read from the file are the books as they were, wherever the file ends."""

import msgspec
import pytest

from loadtests.stripe_sandbox import events
from loadtests.stripe_sandbox.books import (
    KINDS,
    Answer,
    Books,
    BooksInUse,
    Change,
    DamagedBooks,
    Delivery,
)
from loadtests.stripe_sandbox.params import Params
from tests.unit.loadtests.stripe_sandbox.given import NOW, Requests


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "books.jsonl"


def everything(books: Books) -> dict:
    return {kind: list(books[kind]) for kind in KINDS} | {"undelivered": books.undelivered}


def a_day(requests: Requests) -> None:
    """Some of everything."""
    requests.endpoint()
    gone = requests.endpoint("payment_intent.created")
    paid = requests.paid(metadata={"booking": "bk_1"})
    requests.refund(paid, 500)
    with pytest.raises(Exception, match="declined"):
        requests.paid("pm_card_chargeDeclined")
    requests.paid("pm_card_createDispute")
    requests.capture(requests.paid(capture_method="manual"), 1000)
    first, second, third, *_ = list(requests.books.undelivered)
    requests.books.delivered(first)
    requests.books.delivered(first)
    requests.books.gave_up(second)
    requests.books.gave_up(third)
    requests.books.delivered(third)
    requests.do(events.delete_endpoint, Params(), gone["id"])
    answer = Answer("key", "POST /x", 200, msgspec.Raw(b'{"a":1}'), requests.now, "req_1")
    requests.books.commit(Change(requests.books, requests.now), answer)


def test_a_restart_changes_nothing(path):
    requests = Requests(Books(path))
    a_day(requests)
    before = everything(requests.books)
    requests.books.close()
    for _ in range(2):
        again = Books(path)
        assert everything(again) == before
        answer = again.answered("key", requests.now)
        assert answer is not None
        assert bytes(answer.body) == b'{"a":1}'
        again.close()


def test_a_torn_last_line_is_forgotten_wherever_it_is_torn(path):
    requests = Requests(Books(path))
    requests.paid()
    before = everything(requests.books)
    whole = path.read_bytes()
    requests.refund(next(iter(requests.books["payment_intent"])))
    torn = path.read_bytes().partition(whole)[2].splitlines(keepends=True)[0]
    requests.books.close()
    for kept in (1, 2, len(torn) // 2, len(torn) - 1):
        path.write_bytes(whole + torn[:kept])
        again = Books(path)
        assert everything(again) == before
        assert path.read_bytes() == whole
        again.close()


@pytest.mark.parametrize("line", [b"{torn\n", b'{"what":1}\n', b"\n"])
def test_a_line_that_nobody_can_read_is_not_passed_over(path, line):
    requests = Requests(Books(path))
    requests.paid()
    requests.books.close()
    whole = path.read_bytes()
    path.write_bytes(whole + line)
    with pytest.raises(DamagedBooks):
        Books(path)
    path.write_bytes(whole)
    Books(path).close()


def test_two_do_not_write_to_one_file(path):
    books = Books(path)
    with pytest.raises(BooksInUse):
        Books(path)
    books.close()
    Books(path).close()


def test_nothing_is_to_be_seen_before_the_commit():
    requests = Requests()
    change = Change(requests.books, NOW)
    change.put({"id": "pi_1", "object": "payment_intent", "created": NOW})
    assert change.get("payment_intent", "pi_1")
    assert requests.books["payment_intent"].get("pi_1") is None


def test_an_answer_is_remembered_for_a_day():
    books = Books()
    for number in range(3):
        answer = Answer(f"k{number}", "x", 200, msgspec.Raw(b"{}"), NOW + number, "req_1")
        books.commit(Change(books, NOW), answer)
    day = 86_400
    assert books.answered("k0", NOW + day - 1)
    assert books.answered("k0", NOW + day) is None
    assert books.answered("k1", NOW + day)


def test_an_event_knows_who_has_not_taken_it():
    requests = Requests()
    both = requests.endpoint()
    requests.endpoint("payment_intent.created")
    requests.endpoint("charge.failed")
    requests.intent()
    (event,) = requests.books["event"]
    assert event["pending_webhooks"] == 2
    requests.books.delivered(Delivery(event["id"], both["id"]))
    (event,) = requests.books["event"]
    assert event["pending_webhooks"] == 1


def test_a_deleted_endpoint_waits_for_nothing():
    requests = Requests()
    endpoint = requests.endpoint()
    requests.intent()
    requests.do(events.delete_endpoint, Params(), endpoint["id"])
    (event,) = requests.books["event"]
    assert event["pending_webhooks"] == 0
    assert not requests.books.undelivered


def test_reset_leaves_the_endpoints(path):
    requests = Requests(Books(path))
    a_day(requests)
    endpoints = list(requests.books["webhook_endpoint"])
    requests.books.reset()
    nothing = {kind: [] for kind in KINDS}
    empty = {**nothing, "webhook_endpoint": endpoints, "undelivered": {}}
    assert everything(requests.books) == empty
    requests.books.close()
    again = Books(path)
    assert everything(again) == empty
    again.close()
