"""The same ticket at many gates, and scans against refunds, whoever dies (FAULTS.md, 27)."""

import asyncio
import itertools
from collections import Counter

import pytest

from engine.domain.records import RefundRequested
from engine.domain.tickets import booking_of_ticket
from engine.journal.connect import connect
from tests.end_to_end.gates import Gates, at_the_gates
from tests.end_to_end.service import Service
from tests.end_to_end.verify import journalled, verify

_GATES = 20


def assert_one_was_let_in(gates: Gates, scans: int) -> None:
    """Assert that one scan admitted, and that all others were told of that one."""
    said = [answers[0] for answers in gates.answers.values()]
    assert len(said) == scans
    assert Counter(one["result"] for one in said) == {"admitted": 1, "refused": scans - 1}
    refused = [one for one in said if one["result"] == "refused"]
    assert {one["reason"] for one in refused} == {"already_used"}
    (first,) = {(one["first_used"]["at"], one["first_used"]["gate"]) for one in refused}
    ((nonce, _),) = (item for item in gates.answers.items() if item[1][0]["result"] == "admitted")
    assert nonce.startswith(f"{first[1]}-"), "they were told of another gate"
    assert {one["inside"] for one in said} == {1}


async def admissions(gates: Gates) -> Counter[str]:
    """Return how often the journal has let in the holder of each ticket."""
    scans = await gates.journalled()
    return Counter(record.scan.ticket_id for record in scans if record.scan.admitted)


async def test_a_thousand_scans_of_one_ticket_at_twenty_gates_let_in_one(service: Service):
    async with at_the_gates(service, 10) as gates:
        ticket = await gates.ticket("ann")
        await gates.rush(ticket["qr"], 1_000, _GATES)
        assert_one_was_let_in(gates, 1_000)
        assert await admissions(gates) == {ticket["id"]: 1}
        await verify(gates.buyers)


@pytest.mark.parametrize("deaths", [1, pytest.param(5, marks=pytest.mark.drill)])
async def test_one_is_let_in_though_the_owner_dies_meanwhile(service: Service, deaths: int):
    scans = 4_000 * deaths
    async with at_the_gates(service, 10) as gates:
        ticket = await gates.ticket("ann")
        rush = asyncio.create_task(gates.rush(ticket["qr"], scans, _GATES))
        for _ in range(deaths):
            before = len(await gates.journalled())
            async with asyncio.timeout(30.0):
                while True:
                    if len(await gates.journalled()) >= before + 100:
                        break
                    await asyncio.sleep(0.01)
            killed = await service.kill_owner(gates.buyers.event_id)
            assert not rush.done(), "it was over before anybody died"
            await service.successor(gates.buyers.event_id, killed)
        await rush
        assert_one_was_let_in(gates, scans)
        admitted = [nonce for nonce, (said,) in gates.answers.items() if not said["reason"]]
        again = [*admitted, *list(gates.answers)[-100:]]
        await asyncio.gather(*(gates.scan_again(ticket["qr"], nonce) for nonce in again))
        assert await admissions(gates) == {ticket["id"]: 1}
        await verify(gates.buyers)


@pytest.mark.parametrize(
    ("bookings", "dies"), [(60, False), pytest.param(600, True, marks=pytest.mark.drill)]
)
async def test_of_scan_and_refund_one_wins_and_never_both(
    service: Service, bookings: int, dies: bool
):
    async with at_the_gates(service, bookings) as gates:
        tickets = [await gates.ticket("ann", str(n)) for n in range(bookings)]
        let_in: set[str] = set()
        given_back: set[str] = set()
        numbers = itertools.count()

        async def race(ticket: dict) -> None:
            lane = next(numbers) % _GATES
            # Whoever is asked first has the better chance: everybody in turn.
            asked = [
                gates.scan(f"left{lane}", ticket["qr"]),
                gates.refund(ticket["booking_id"]),
                gates.scan(f"right{lane}", ticket["qr"]),
            ]
            turn = lane % len(asked)
            tasks = [asyncio.create_task(one) for one in asked[turn:] + asked[:turn]]
            said = await asyncio.gather(*tasks)
            results = Counter(
                (one["result"], one["reason"]) for one in said if one not in (202, 409)
            )
            if 202 in said:
                given_back.add(ticket["id"])
                assert results == {("refused", "void"): 2}
            else:
                let_in.add(ticket["id"])
                assert results == {("admitted", None): 1, ("refused", "already_used"): 1}

        async def in_turn(some: list[dict]) -> None:
            for ticket in some:
                await race(ticket)

        racing = asyncio.gather(*(in_turn(tickets[lane::_GATES]) for lane in range(_GATES)))
        if dies:
            for _ in range(3):
                await asyncio.sleep(0.3)
                killed = await service.kill_owner(gates.buyers.event_id)
                await service.successor(gates.buyers.event_id, killed)
        await racing

        assert len(let_in) + len(given_back) == bookings
        assert not let_in & given_back
        assert let_in, "no scan was ever first"
        assert given_back, "no refund was ever first"
        assert await admissions(gates) == dict.fromkeys(let_in, 1)
        async with connect(service.store_url) as client:
            entries = await journalled(client, gates.buyers.event_id)
        refunded = [
            record.booking_id
            for entry in entries
            for record in entry.records
            if isinstance(record, RefundRequested)
        ]
        assert sorted(refunded) == sorted(booking_of_ticket(ticket) for ticket in given_back)
        sold = {"available": len(given_back), "held": 0, "sold": len(let_in)}
        assert await gates.buyers.availability() == sold
        await verify(gates.buyers)
