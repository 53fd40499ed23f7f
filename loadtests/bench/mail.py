"""From payment to mail: how long tickets take, how many there can be, what sales lose by them.

    python -m loadtests.bench.mail [--tickets N] [--per-second N] [--seconds N]

The whole service runs with a mail server of the benchmark's, which takes every mail and
notes when it came. Status 1 if a floor is missed.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct, to_builtins
from rich.console import Console
from rich.table import Table

from loadtests.bench import report, servers
from loadtests.bench.processes import BenchFailed
from loadtests.bench.servers import Onsale
from loadtests.bench.shop import Shop
from loadtests.crowd import Request, Spec, Template, run_crowd
from loadtests.crowd.spec import Latency, latency_of
from loadtests.payers import Paid, run_delivering

_HOLD = json.dumps({"items": [{"ticket_type": "ga", "quantity": 1}]})
_CONTACT = {"email": "buyer@example.org", "name": "Ann Perkins", "locale": "en"}
#: Bookings that are confirmed at the same time.
_AT_ONCE = 32
_CONNECTIONS = 256
_HOLD_SECONDS, _WARMUP_SECONDS = 3.0, 1.0
#: Rounds of holds before, while and after tickets are issued.
_ROUNDS = 3
#: Longest that mails may take, seconds.
_PATIENCE_SECONDS = 900.0

console = Console(highlight=False)
if not console.is_terminal:
    console.width = 120


class Found(Struct, frozen=True):
    """What was measured.

    Attributes:
        mailed: from sending a webhook to the mail server's having the tickets.
        tickets: bookings of one ticket that were confirmed at once.
        elapsed_s: from asking for the first until the last was mailed.
        confirmed_s: until the last was confirmed.
        holds: durable holds a second without tickets to issue, by round.
        holds_beside: while they are issued.
        mail_bytes: of one mail, in the median.
    """

    mailed: Latency
    tickets: int
    elapsed_s: float
    confirmed_s: float
    holds: list[float]
    holds_beside: list[float]
    mail_bytes: int

    @property
    def share(self) -> float:
        """Holds while tickets are issued ÷ without."""
        return statistics.median(self.holds_beside) / statistics.median(self.holds)


class Sink:
    """What the mail server has noted so far."""

    def __init__(self, record: Path) -> None:
        self._record = record

    def mails(self) -> list[dict[str, object]]:
        """Return a line for every mail."""
        with self._record.open() as lines:
            return [json.loads(line) for line in lines if line.endswith("\n")]

    def until(self, bookings: Sequence[str]) -> dict[str, int]:
        """Wait for a mail about each booking, and return when it came (monotonic ns)."""
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            came = {str(mail["booking"]): int(str(mail["at_ns"])) for mail in self.mails()}
            missing = [one for one in bookings if one not in came]
            if not missing:
                return {one: came[one] for one in bookings}
            if time.monotonic() > give_up:
                raise BenchFailed(f"{len(missing)} of {len(bookings)} mails have not come")
            time.sleep(0.5)


def main() -> int:
    """Measure, show, keep; return the exit status."""
    parser = argparse.ArgumentParser(prog="loadtests.bench.mail", description=__doc__)
    parser.add_argument("--tickets", type=int, default=10_000)
    parser.add_argument("--per-second", type=float, default=20.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--output", type=Path, default=Path("bench-results"))
    options = parser.parse_args()
    about = report.machine()
    with _running() as (service, sink):
        console.print("tickets at a steady pace …")
        mailed = _steady(service, sink, options.per_second, options.seconds)
        console.print(f"{options.tickets:,} tickets at once, and holds beside them …")
        found = _at_once(service, sink, options.tickets, mailed)
    _show(found, options.per_second)
    kept = {"machine": about, "found": to_builtins(found), "share": found.share}
    path = report.keep(options.output, "mail", kept)
    console.print(f"Everything is in {path}.")
    # 10 000 tickets may take ten minutes, fewer in proportion.
    floors = (
        found.mailed.p99 <= 5_000,
        found.elapsed_s <= 600 * max(1.0, found.tickets / 10_000),
        found.share >= 0.7,
    )
    return int(not all(floors))


@contextmanager
def _running() -> Iterator[tuple[Onsale, Sink]]:
    with tempfile.TemporaryDirectory(prefix="onsale-bench-") as name:
        directory, record = Path(name), Path(name) / "mails.jsonl"
        with (
            servers.mail_sink(directory, record) as port,
            servers.onsale(directory, 500, f"smtp://127.0.0.1:{port}") as service,
        ):
            yield service, Sink(record)


def _steady(service: Onsale, sink: Sink, per_second: float, seconds: float) -> Latency:
    """Deliver webhooks of payments, and return how long each buyer's tickets took."""
    shop = Shop(service)
    shop.withhold()
    event_id = shop.new_event()
    warm = shop.paid(event_id, 3)
    run_delivering(shop.delivering(warm, per_second, watched=False))
    sink.until([one.booking_id for one in warm])
    paid = shop.paid(event_id, round(per_second * seconds))
    sent = _deliver(service, paid, per_second)
    came = sink.until([one.booking_id for one in paid])
    return latency_of(came[booking_id] - at_ns for booking_id, at_ns in sent.items())


def _deliver(service: Onsale, paid: Sequence[Paid], per_second: float) -> dict[str, int]:
    """Send a webhook for each payment by the clock, and return when (monotonic ns)."""
    sent: dict[str, int] = {}
    begin = time.monotonic()
    threads = []
    for number, one in enumerate(paid):
        time.sleep(max(0.0, begin + number / per_second - time.monotonic()))
        sent[one.booking_id] = time.monotonic_ns()
        thread = threading.Thread(target=servers.send_webhook, args=(service, one.event))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()
    return sent


def _at_once(service: Onsale, sink: Sink, tickets: int, mailed: Latency) -> Found:
    """Confirm free bookings as fast as that goes, and hold others meanwhile."""
    busy = servers.create_event(service, "Busy", 1_000_000)
    servers.hold(service, busy, 1)
    holds = [_hold_rate(service, busy) for _ in range(_ROUNDS)]
    event_id = servers.create_event(service, "Free", tickets + 10, price=0)
    servers.hold(service, event_id, 1)
    bookings = _held(service, event_id, tickets)
    began = time.monotonic()
    confirming = Spec(
        service.host,
        service.port,
        requests=[_confirm(booking_id, token) for booking_id, token in bookings],
        connections=_AT_ONCE,
    )
    result = run_crowd(confirming)
    if result.statuses != {"200": tickets}:
        raise BenchFailed(f"bookings were not confirmed: {result.statuses}, {result.codes}")
    confirmed_s = time.monotonic() - began
    beside = []
    ids = [booking_id for booking_id, _ in bookings]
    for _ in range(_ROUNDS):
        beside.append(_hold_rate(service, busy))
        if len({str(mail["booking"]) for mail in sink.mails()} & set(ids)) >= tickets:
            raise BenchFailed("the tickets were issued before holds could be measured beside")
    came = sink.until(ids)
    elapsed_s = max(came.values()) / 1e9 - began
    holds += [_hold_rate(service, busy) for _ in range(_ROUNDS)]
    sizes = [int(str(mail["bytes"])) for mail in sink.mails()]
    return Found(
        mailed,
        tickets,
        round(elapsed_s, 1),
        round(confirmed_s, 1),
        holds,
        beside,
        round(statistics.median(sizes)),
    )


def _held(service: Onsale, event_id: str, count: int) -> list[tuple[str, str]]:
    """Return ids of so many new holds, each with its buyer's token."""
    path = f"/api/v1/events/{event_id}/holds"
    with tempfile.TemporaryDirectory(prefix="onsale-bench-") as directory:
        record = Path(directory) / "answers.jsonl"
        template = Template("POST", path, _HOLD, service.buyers, idempotency_keys=True, count=count)
        run_crowd(
            Spec(
                service.host,
                service.port,
                template=template,
                connections=_AT_ONCE,
                record=str(record),
            )
        )
        bookings = []
        with record.open() as lines:
            for line in lines:
                answer = json.loads(line)
                if answer["status"] != 201:
                    raise BenchFailed(f"a hold was refused: {answer['body']}")
                token = service.buyers[answer["number"] % len(service.buyers)]
                bookings.append((json.loads(answer["body"])["id"], token))
    return bookings


def _confirm(booking_id: str, token: str) -> Request:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    body = json.dumps({"contact": _CONTACT})
    return Request("POST", f"/api/v1/bookings/{booking_id}/payment-intent", headers, body)


def _hold_rate(service: Onsale, event_id: str) -> float:
    path = f"/api/v1/events/{event_id}/holds"
    template = Template("POST", path, _HOLD, service.buyers, idempotency_keys=True)
    spec = Spec(
        service.host,
        service.port,
        template=template,
        connections=_CONNECTIONS,
        seconds=_HOLD_SECONDS,
        warmup_seconds=_WARMUP_SECONDS,
    )
    result = run_crowd(spec)
    if set(result.statuses) != {"201"}:
        raise BenchFailed(f"holds were answered {result.statuses}")
    return round(result.rate, 1)


def _show(found: Found, per_second: float) -> None:
    table = Table("", "found", "at least", "aim", box=None, padding=(0, 2))
    latency = found.mailed
    table.add_row(
        f"webhook to mail server, {per_second:g} bookings/s",
        f"p50 {latency.p50:,.0f} ms, p99 {latency.p99:,.0f} ms",
        "5 s",
        "2 s",
    )
    table.add_row(
        f"{found.tickets:,} tickets confirmed at once, mailed with PDFs",
        f"{found.elapsed_s:,.0f} s ({found.tickets / found.elapsed_s:,.0f}/s,"
        f" {found.mail_bytes / 1_024:,.0f} KiB each)",
        "10 min",
        "4 min",
    )
    table.add_row("holds while tickets are issued ÷ without", f"{found.share:.2f}", "0.7", "0.9")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
