"""Scans over HTTP: who may scan, what is said and why, offline uploads, mistakes (FAULTS 27)."""

import asyncio
import re
from typing import Any

import pytest

from engine.domain.commands import UndoPassage
from engine.limits import OFFLINE_SCANS_MAX
from engine.tickets.seal import PAYLOAD_LENGTH, Seals
from gateway.auth import derive_key
from tests.gate import EVENTS, PAST, Gate, gate
from tests.in_process import BASE, SECRET, InProcess

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@pytest.fixture
async def doors(onsale: InProcess) -> Gate:
    return await gate(onsale)


# -- admitted --------------------------------------------------------------------------


async def test_an_admitted_scan_is_what_the_contract_says(doors: Gate) -> None:
    answer = await doors.ask()
    assert answer.headers["content-type"] == "application/json"
    assert "idempotent-replayed" not in answer.headers
    assert answer.json() == {
        "result": "admitted",
        "reason": None,
        "ticket": doors.tickets[0] | {"status": "USED"},
        "first_used": None,
        "inside": 1,
    }


async def test_the_second_scan_says_when_and_where_the_first_was(doors: Gate) -> None:
    await doors.scan(gate="South 1")
    said = await doors.scan(gate="North")
    assert (said["result"], said["reason"], said["inside"]) == ("refused", "already_used", 1)
    assert said["ticket"] == doors.tickets[0] | {"status": "USED"}
    assert said["first_used"]["gate"] == "South 1"
    assert TIME.fullmatch(said["first_used"]["at"])


async def test_of_many_gates_at_once_one_admits(doors: Gate) -> None:
    said = await asyncio.gather(*(doors.scan(gate=f"gate {n}") for n in range(50)))
    (first,) = (one for one in said if one["result"] == "admitted")
    others = [one for one in said if one is not first]
    assert {one["reason"] for one in others} == {"already_used"}
    assert len({str(one["first_used"]) for one in others}) == 1


async def test_the_buyer_sees_that_a_ticket_was_used(doors: Gate) -> None:
    await doors.scan()
    ann = doors.onsale.token("buyer", "ann")
    found = await doors.onsale.get(f"{BASE}/tickets/{doors.tickets[0]['id']}", ann)
    assert found.json()["status"] == "USED"


async def test_out_and_in_again(onsale: InProcess) -> None:
    doors = await gate(onsale, entry_policy="reentry")
    assert await doors.refused(type="exit") == "not_inside"
    ways = [await doors.scan(type=way) for way in ("entry", "exit", "entry")]
    assert [(one["result"], one["inside"]) for one in ways] == [
        ("admitted", 1), ("admitted", 0), ("admitted", 1)
    ]  # fmt: skip
    assert await doors.refused() == "already_used"


async def test_out_is_out_unless_the_event_says_otherwise(doors: Gate) -> None:
    await doors.scan()
    assert (await doors.scan(type="exit"))["inside"] == 0
    assert await doors.refused() == "already_used"


# -- who may ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("role", "sub", "claims", "status"),
    [
        ("staff", "tom", {"org": "acme"}, 200),
        ("organizer", "acme", {}, 200),
        ("admin", "root", {}, 200),
        ("buyer", "ann", {}, 403),
        ("organizer", "rival", {}, 404),
        ("staff", "tom", {"org": "rival"}, 404),
        ("staff", "acme", {}, 404),
    ],
)
async def test_the_organizers_people_let_in_and_nobody_else(
    doors: Gate, role: str, sub: str, claims: dict, status: int
) -> None:
    who = doors.onsale.token(role, sub, **claims)
    scan = {"qr": doors.qr, "gate": "North", "nonce": "1", "at": PAST, "offline": True}
    answers = [await doors.ask(who=who), await doors.upload(scan, who=who)]
    assert [answer.status_code for answer in answers] == [status, status]
    codes = {403: "forbidden", 404: "event_not_found"}
    if status != 200:
        assert {answer.json()["code"] for answer in answers} == {codes[status]}
        assert (await doors.scan())["result"] == "admitted", "it had let somebody in"


async def test_only_the_organizer_takes_passages_back(doors: Gate) -> None:
    await doors.scan()
    ticket_id = doors.tickets[0]["id"]
    for role, sub, claims, status in (
        ("buyer", "ann", {}, 403),
        ("staff", "tom", {"org": "acme"}, 403),
        ("organizer", "rival", {}, 404),
    ):
        who = doors.onsale.token(role, sub, **claims)
        assert (await doors.undo(ticket_id, who)).status_code == status
    assert await doors.refused() == "already_used"


async def test_to_foreign_staff_an_event_is_like_one_that_is_not(doors: Gate) -> None:
    who = doors.onsale.token("staff", "tom", org="rival")
    foreign = await doors.ask(who=who)
    doors.path = f"{EVENTS}/evt_000000000000/check-ins"
    missing = await doors.ask(who=who)
    own = {"request_id": "", "instance": ""}
    assert foreign.json() | own == missing.json() | own
    assert (await doors.ask()).status_code == 404


# -- refused ---------------------------------------------------------------------------


async def test_one_wrong_bit_anywhere_is_forged(doors: Gate) -> None:
    wrong = [
        doors.qr[:place] + ALPHABET[ALPHABET.index(digit) ^ 1 << bit] + doors.qr[place + 1 :]
        for place, digit in enumerate(doors.qr)
        for bit in range(5)
    ]
    assert len(wrong) == 5 * PAYLOAD_LENGTH
    for start in range(0, len(wrong), 20):
        some = wrong[start : start + 20]
        assert set(await asyncio.gather(*map(doors.refused, some))) == {"forged"}
    assert (await doors.scan())["result"] == "admitted"


@pytest.mark.parametrize(
    "qr", ["x", "https://example.org/?id=1", "T1", "\x00", "🎫" * 50, "T1" + "0" * 74, "0" * 1_024]
)
async def test_whatever_else_a_camera_reads_is_forged(doors: Gate, qr: str) -> None:
    said = await doors.scan(qr)
    assert said == {
        "result": "refused", "reason": "forged", "ticket": None, "first_used": None, "inside": 0
    }  # fmt: skip


async def test_a_code_of_another_deployment_is_forged(doors: Gate) -> None:
    ticket_id = doors.tickets[0]["id"]
    for secret in ("another secret that is long enough", SECRET + "."):
        foreign = Seals((derive_key(secret, "ticket codes"),))
        assert await doors.refused(foreign.seal(ticket_id, "ann")) == "forged"


async def test_a_code_that_was_sealed_for_another_customer_is_forged(doors: Gate) -> None:
    """With the right key, of a ticket that admits: it is bound to the booking's customer."""
    seals, ticket_id = doors.onsale.service.ticketing.seals, doors.tickets[0]["id"]
    assert seals.seal(ticket_id, "ann") == doors.qr
    others = seals.seal(ticket_id, "bob")
    for way in ("entry", "exit"):
        said = await doors.scan(others, type=way)
        assert (said["result"], said["reason"], said["ticket"]) == ("refused", "forged", None)
    (uploaded,) = (await doors.upload(offline(others, "n1"))).json()["data"]
    assert (uploaded["reason"], uploaded["conflict"]) == ("forged", True)
    assert (await doors.scan())["result"] == "admitted", "it was used up by another code"


async def test_what_people_read_to_each_other_opens_no_door(doors: Gate) -> None:
    ticket = doors.tickets[0]
    for text in (ticket["id"], ticket["number"], ticket["booking_id"], doors.qr.lower()):
        assert await doors.refused(text) == "forged"


async def test_a_ticket_for_another_event_is_for_the_wrong_event(doors: Gate) -> None:
    other = await gate(doors.onsale)
    said = await doors.scan(other.qr)
    assert (said["reason"], said["ticket"], said["inside"]) == ("wrong_event", None, 0)
    assert (await other.scan())["result"] == "admitted", "it was used up at the wrong door"


async def test_a_refunded_ticket_is_void_and_shows_no_code(doors: Gate) -> None:
    assert (await doors.refund()).status_code == 202
    said = await doors.scan()
    assert said["reason"] == "void"
    assert said["ticket"] == doors.tickets[0] | {"status": "VOID", "qr": None}


async def test_a_ticket_of_a_cancelled_event_is_void(doors: Gate) -> None:
    acme = doors.onsale.token("organizer", "acme")
    assert (await doors.onsale.post(f"{EVENTS}/{doors.event_id}/cancel", acme)).status_code == 202
    assert await doors.refused() == "void"


async def test_a_code_that_was_sealed_before_its_booking_was_paid_is_unpaid(doors: Gate) -> None:
    booking = await doors.onsale.held(doors.event_id, "bob", ga=1)
    seals = doors.onsale.service.ticketing.seals
    assert await doors.refused(seals.seal(f"tkt_{booking['id'][3:]}00", "bob")) == "unpaid"


async def test_the_doors_are_closed_until_they_open(onsale: InProcess) -> None:
    doors = await gate(onsale, doors_open_at="2096-03-01T18:00:00Z")
    assert await doors.refused() == "not_yet"
    # A scanner whose clock is ahead opens no door.
    late = {"at": "2096-03-01T18:30:00Z", "offline": True}
    assert await doors.refused(**late) == "not_yet"


async def test_what_was_used_is_not_refunded_and_what_was_not_is(doors: Gate) -> None:
    await doors.scan(doors.tickets[0]["qr"])
    whole = await doors.refund()
    assert (whole.status_code, whole.json()["code"]) == (409, "refund_not_allowed")
    assert whole.json()["subject"] == "used"
    assert (await doors.refund(ga=1)).status_code == 202
    assert await doors.refused(doors.tickets[1]["qr"]) == "void"


# -- repeated --------------------------------------------------------------------------


async def test_the_same_nonce_gets_the_same_answer(doors: Gate) -> None:
    for number, fields in enumerate(({}, {}, {"type": "exit"}, {"qr": "x"})):
        nonce = f"n{number}"
        first = await doors.ask(nonce=nonce, **fields)
        again = await doors.ask(nonce=nonce, **{**fields, "gate": "elsewhere"})
        assert again.content == first.content
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"


async def test_the_same_nonce_gets_the_same_answer_from_the_owners_successor(doors: Gate) -> None:
    said = [await doors.ask(nonce="1"), await doors.ask(nonce="2"), await doors.ask("x", nonce="3")]
    await doors.onsale.owners.crash(doors.event_id)
    again = [
        await doors.ask(nonce="1"), await doors.ask(nonce="2"), await doors.ask("x", nonce="3")
    ]  # fmt: skip
    assert [one.content for one in again] == [one.content for one in said]
    assert {one.headers.get("idempotent-replayed") for one in again} == {"true"}


async def test_another_nonce_or_none_is_another_scan(doors: Gate) -> None:
    assert (await doors.scan(nonce="1"))["result"] == "admitted"
    assert await doors.refused(nonce="2") == "already_used"
    assert await doors.refused() == "already_used"
    assert await doors.refused(nonce=None) == "already_used"


async def test_a_nonce_names_the_scan_of_one_code_one_way_by_one_person(doors: Gate) -> None:
    first, second = (ticket["qr"] for ticket in doors.tickets)
    assert (await doors.scan(first, nonce="1"))["inside"] == 1
    assert (await doors.scan(second, nonce="1"))["inside"] == 2
    assert (await doors.scan(first, nonce="1", type="exit"))["inside"] == 1
    tina = doors.onsale.token("staff", "tina", org="acme")
    said = await doors.ask(second, tina, nonce="1")
    assert said.json()["reason"] == "already_used"


# -- offline ---------------------------------------------------------------------------


def offline(qr: str, nonce: str, at: str = "2097-01-01T00:00:00Z", **fields: Any) -> dict:
    return {"qr": qr, "gate": "Van", "nonce": nonce, "at": at, "offline": True, **fields}


async def test_what_was_scanned_offline_is_decided_in_its_order(doors: Gate) -> None:
    first, second = (ticket["qr"] for ticket in doors.tickets)
    await doors.scan(second, gate="North")
    answer = await doors.upload(
        offline(first, "1"),
        offline(first, "2"),
        offline(second, "3"),
        offline("x", "4"),
        offline(first, "5", type="exit"),
    )
    assert answer.status_code == 200
    assert answer.json()["object"] == "list"
    found = answer.json()["data"]
    assert [(one["nonce"], one["result"], one["reason"], one["conflict"]) for one in found] == [
        ("1", "admitted", None, False),
        ("2", "refused", "already_used", True),
        ("3", "refused", "already_used", True),
        ("4", "refused", "forged", True),
        ("5", "admitted", None, False),
    ]
    assert answer.json()["conflicts"] == 3
    assert [one["inside"] for one in found] == [2, 2, 2, 2, 1]
    assert (found[1]["first_used"]["gate"], found[2]["first_used"]["gate"]) == ("Van", "North")


async def test_an_upload_can_be_repeated(doors: Gate) -> None:
    scans = [offline(ticket["qr"], str(n)) for n, ticket in enumerate(doors.tickets)]
    first = await doors.upload(*scans, offline(doors.qr, "again"))
    async with doors.onsale.unchanged():
        assert (await doors.upload(*scans, offline(doors.qr, "again"))).json() == first.json()
        # One of it online, under its nonce: the same scan.
        said = await doors.ask(**offline(doors.qr, "0"))
    assert said.headers["idempotent-replayed"] == "true"


async def test_a_scan_made_offline_has_the_time_at_which_it_was_made(onsale: InProcess) -> None:
    doors = await gate(onsale)
    await doors.upload(offline(doors.qr, "1", at=PAST))
    created = (await onsale.get(f"{EVENTS}/{doors.event_id}")).json()["created_at"]
    said = await doors.scan()
    # A clock that was never set: nobody saw a ticket before there was the event.
    assert said["first_used"] == {"at": created, "gate": "Van"}


async def test_the_largest_upload_is_taken(onsale: InProcess) -> None:
    doors = await gate(onsale, ga=1)
    scans = [offline(doors.qr, f"{n}") for n in range(OFFLINE_SCANS_MAX)]
    answer = await doors.upload(*scans)
    assert answer.status_code == 200, answer.text
    assert answer.json()["conflicts"] == OFFLINE_SCANS_MAX - 1
    too_many = await doors.upload(*scans, offline(doors.qr, "more"))
    assert (too_many.status_code, too_many.json()["errors"][0]["pointer"]) == (422, "/scans")


# -- mistakes --------------------------------------------------------------------------


async def test_a_passage_is_taken_back(doors: Gate) -> None:
    await doors.scan(nonce="1")
    answer = await doors.undo(doors.tickets[0]["id"])
    assert answer.status_code == 200
    assert answer.json() == {"ticket": doors.tickets[0] | {"qr": None}, "inside": 0}
    again = await doors.undo(doors.tickets[0]["id"])
    assert (again.status_code, again.json()["code"]) == (409, "not_admitted")
    fresh = await doors.ask(nonce="1")
    assert "idempotent-replayed" not in fresh.headers
    assert fresh.json()["result"] == "admitted"


async def test_under_a_key_a_passage_is_taken_back_once(onsale: InProcess) -> None:
    doors = await gate(onsale, entry_policy="reentry")
    first, second = (ticket["id"] for ticket in doors.tickets)
    for ticket in doors.tickets:
        for way in ("entry", "exit"):
            await doors.scan(ticket["qr"], type=way)
    said = await doors.undo(first, key="k1")
    assert (said.status_code, said.json()["inside"]) == (200, 1)
    assert "idempotent-replayed" not in said.headers
    async with onsale.unchanged():
        again = await doors.undo(first, key="k1")
    assert (again.status_code, again.content) == (200, said.content)
    assert again.headers["idempotent-replayed"] == "true"
    # A key belongs to one ticket and one person; another key is another undo.
    assert (await doors.undo(second, key="k1")).json()["inside"] == 2
    admin = onsale.token("admin", "root")
    assert (await doors.undo(second, admin, key="k1")).json()["inside"] == 1
    assert (await doors.undo(first, key="k2")).json()["inside"] == 0
    assert (await doors.undo(first, key="k1")).content == said.content
    unusable = await doors.undo(first, key="")
    assert (unusable.status_code, unusable.json()["code"]) == (400, "invalid_idempotency_key")


@pytest.mark.parametrize("key", [None, "k1"])
async def test_a_passage_is_taken_back_once_though_the_owner_dies_before_it_says_so(
    onsale: InProcess, key: str | None
) -> None:
    doors = await gate(onsale, entry_policy="reentry")
    for way in ("entry", "exit"):
        await doors.scan(type=way)
    onsale.owners.dies_after = UndoPassage
    answer = await doors.undo(doors.tickets[0]["id"], key=key)
    assert onsale.owners.dies_after is None
    assert answer.status_code == 200
    assert ("idempotent-replayed" in answer.headers) == (key is not None)
    ticket = doors.tickets[0] | {"status": "USED", "qr": None}
    assert answer.json() == {"ticket": ticket, "inside": 1}
    # Its holder is inside: the way out was taken back, and the way in was not.
    assert await doors.refused() == "already_used"
    assert (await doors.scan(type="exit"))["inside"] == 0


async def test_the_only_passage_is_taken_back_though_the_owner_dies_before_it_says_so(
    doors: Gate,
) -> None:
    await doors.scan()
    doors.onsale.owners.dies_after = UndoPassage
    answer = await doors.undo(doors.tickets[0]["id"])
    assert (answer.status_code, answer.json()["inside"]) == (200, 0)
    assert (await doors.scan())["result"] == "admitted"


async def test_what_is_no_ticket_of_this_event_has_no_passage(doors: Gate) -> None:
    other = await gate(doors.onsale)
    await other.scan()
    held = await doors.onsale.held(doors.event_id, "bob", ga=1)
    ticket_id = doors.tickets[0]["id"]
    for unknown in ("", "x", other.tickets[0]["id"], ticket_id[:-1] + "z",
                    f"tkt_{held['id'][3:]}00", doors.qr[:64]):  # fmt: skip
        answer = await doors.undo(unknown)
        assert (answer.status_code, answer.json()["code"]) == (404, "ticket_not_found"), unknown


# -- counted ---------------------------------------------------------------------------


async def test_what_was_scanned_is_counted(doors: Gate) -> None:
    before = (await doors.onsale.get("/metrics")).text
    await doors.scan()
    await doors.scan()
    after = (await doors.onsale.get("/metrics")).text
    for result in ("admitted", "already_used"):
        assert count_of(after, result) == count_of(before, result) + 1


def count_of(metrics: str, result: str) -> float:
    found = re.search(rf'^onsale_scans_total{{result="{result}"}} (\S+)$', metrics, re.MULTILINE)
    return float(found[1]) if found else 0.0
