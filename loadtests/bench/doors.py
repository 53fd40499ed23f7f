"""Check-ins: as many tickets as gates can scan, each once, against the echo."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from msgspec import Struct

from loadtests.bench import rounds, servers
from loadtests.bench.processes import BenchFailed
from loadtests.bench.rounds import Contest, Plan
from loadtests.bench.servers import Onsale
from loadtests.crowd import Request, Result, Spec, Template, run_crowd

#: Tickets of one booking: what an event allows unless it says otherwise.
_BOOKING_UNITS = 10
#: Buyers who get their tickets at the same time.
_AT_ONCE = 64
_GATES = 20
#: How long the log of scans may take to catch up, seconds, and how often it is looked at.
_SETTLE_SECONDS = 120.0
_LOOK_SECONDS = 0.2


class Round(Struct, frozen=True):
    """One round: check-ins of valid tickets, and the echo, at most connections."""

    round: int
    check_ins: Result
    echo: Result


def faults(found: list[Round]) -> list[str]:
    """Return what makes a measurement one of something else."""
    other: dict[str, int] = {}
    for one in found:
        for status, count in {**one.check_ins.statuses, "unknown": one.check_ins.unknown}.items():
            if status != "200" and count:
                other[status] = other.get(status, 0) + count
    return [f"check-ins: other answers: {other}"] if other else []


def steps(plan: Plan) -> int:
    """Return how many measurements `run` makes."""
    return plan.doors.rounds


def run(contest: Contest, plan: Plan, progress: Callable[[str, float], None]) -> list[Round]:
    """Measure all rounds, every other one the other way round.

    Args:
        contest: everybody.
        plan: how much is measured.
        progress: told what is measured and how many measurements are done.
    """
    found = []
    for number in range(1, plan.doors.rounds + 1):
        progress("tickets for check-ins", number - 1)
        # An event of its own each time: its owner keeps all these bookings in mind.
        event_id, codes = _tickets(contest.service, plan.doors.tickets)
        check_ins = _check_ins(contest, plan, event_id, codes)
        echo = rounds.echo(contest, plan)
        progress("check-ins", number - 0.5)
        # What is written behind the answers is work for nobody else's measurement.
        _settle(contest.service, event_id, "before")
        if number % 2:
            scanned = run_crowd(check_ins)
            _settle(contest.service, event_id, "after")
            echoed = run_crowd(echo)
        else:
            echoed = run_crowd(echo)
            scanned = run_crowd(check_ins)
            _settle(contest.service, event_id, "after")
        found.append(Round(number, scanned, echoed))
    progress("check-ins", steps(plan))
    return found


def _check_ins(contest: Contest, plan: Plan, event_id: str, codes: list[str]) -> Spec:
    bodies = [
        json.dumps({"qr": code, "gate": f"gate {number % _GATES}", "nonce": f"{number:x}"})
        for number, code in enumerate(codes)
    ]
    template = Template(
        "POST", f"/api/v1/events/{event_id}/check-ins", tokens=contest.service.staff, bodies=bodies
    )
    return rounds.load(contest.service, plan, max(plan.connections), template=template)


def _tickets(service: Onsale, count: int) -> tuple[str, list[str]]:
    """Return an event and the codes of tickets for it, which cost nothing.

    Raises:
        BenchFailed: somebody did not get tickets.
    """
    bookings = count // _BOOKING_UNITS
    event_id = servers.create_event(service, "At the doors", count, price=0)
    tokens = [service.buyers[number % len(service.buyers)] for number in range(bookings)]
    body = json.dumps({"items": [{"ticket_type": "ga", "quantity": _BOOKING_UNITS}]})
    path = f"/api/v1/events/{event_id}/holds"
    held = _answers(service, 201, [_request("POST", path, token, body) for token in tokens])
    paths = [f"/api/v1/bookings/{booking['id']}" for booking in held]
    _answers(
        service,
        200,
        [
            _request("POST", f"{path}/payment-intent", token)
            for path, token in zip(paths, tokens, strict=True)
        ],
    )
    lists = _answers(
        service,
        200,
        [
            _request("GET", f"{path}/tickets", token)
            for path, token in zip(paths, tokens, strict=True)
        ],
    )
    return event_id, [ticket["qr"] for tickets in lists for ticket in tickets["data"]]


def _settle(service: Onsale, event_id: str, gate: str) -> None:
    """Return when the log of an event's scans has everything so far.

    It is written in order: a scan at a gate of its own is the last.
    """
    path = f"/api/v1/events/{event_id}/check-ins"
    token = service.staff[0]
    servers.ask(service, "POST", path, token, {"qr": "none", "gate": gate})
    give_up = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < give_up:
        status, log = servers.ask(service, "GET", f"{path}?limit=1", token)
        if status == 200 and any(one["gate"] == gate for one in log["gates"]):
            return
        time.sleep(_LOOK_SECONDS)
    raise BenchFailed(f"the log of scans did not catch up in {_SETTLE_SECONDS} s: {log}")


def _request(method: str, path: str, token: str, body: str = "") -> Request:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    return Request(method, path, headers, body)


def _answers(service: Onsale, status: int, requests: list[Request]) -> list[Any]:
    """Return what was answered, in the order of the requests."""
    with TemporaryDirectory(prefix="onsale-bench-") as directory:
        record = Path(directory) / "answers.jsonl"
        run_crowd(
            Spec(
                service.host,
                service.port,
                requests=requests,
                connections=_AT_ONCE,
                record=str(record),
            )
        )
        with record.open("rb") as lines:
            told = sorted(map(json.loads, lines), key=lambda line: line["number"])
    wrong = next((line for line in told if line["status"] != status), None)
    if wrong is not None:
        raise BenchFailed(f"tickets were not made: {wrong['status']} {wrong['body']}")
    return [json.loads(line["body"]) for line in told]
