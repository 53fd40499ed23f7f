"""Availability over HTTP: the counts, their ETag, and the stream of their changes."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from actors.wire import Envelope, encode_batch
from engine.domain.commands import Item, PlaceHold
from engine.domain.ids import booking_id
from gateway.routes import availability
from tests.in_process import BASE, InProcess

EVENTS = f"{BASE}/events"


async def counts(onsale: InProcess, event_id: str, **options):
    return await onsale.get(f"{EVENTS}/{event_id}/availability", **options)


async def until_stale() -> None:
    """Wait until no answer may be given from what the gateway remembers."""
    await asyncio.sleep(0.12)


# -- the counts ------------------------------------------------------------------------


async def test_availability_says_how_much_there_is_of_everything(onsale: InProcess) -> None:
    event_id = await onsale.event(capacity=10)
    await onsale.held(event_id, "ann", ga=3)
    answer = await counts(onsale, event_id)
    assert answer.status_code == 200
    assert answer.headers["etag"] == 'W/"2-1"'
    assert answer.headers["cache-control"] == "max-age=1"
    body = answer.json()
    assert body.pop("as_of").endswith("Z")
    assert body == {
        "event_id": event_id,
        "sequence": 2,
        "on_sale": True,
        "ticket_types": [
            {"code": "ga", "capacity": 10, "available": 7, "held": 3, "sold": 0, "blocked": 0}
        ],
    }


async def test_availability_is_never_older_than_a_tenth_of_a_second(onsale: InProcess) -> None:
    event_id = await onsale.event()
    await counts(onsale, event_id)
    owner = await onsale.owners.serving(event_id)
    # Behind the gateway's back, as through another gateway.
    booking = booking_id(b"k", event_id, "eve", "1")
    command = PlaceHold(booking, "eve", (Item("ga", 4),))
    await owner.submit(encode_batch([Envelope(1_000, command)]))
    await until_stale()
    assert (await counts(onsale, event_id)).json()["ticket_types"][0]["held"] == 4


async def test_an_etag_lasts_until_something_is_held_or_the_sale_stops(onsale: InProcess) -> None:
    event_id = await onsale.event()
    etag = (await counts(onsale, event_id)).headers["etag"]
    await until_stale()
    same = await counts(onsale, event_id, headers={"if-none-match": etag})
    assert (same.status_code, same.content) == (304, b"")
    assert (same.headers["etag"], same.headers["cache-control"]) == (etag, "max-age=1")
    assert "x-request-id" in same.headers
    await onsale.held(event_id, "ann", ga=1)
    changed = await counts(onsale, event_id, headers={"if-none-match": etag})
    assert (changed.status_code, changed.json()["sequence"]) == (200, 2)
    await onsale.post(f"{EVENTS}/{event_id}/pause", onsale.token("organizer", "acme"))
    paused = await counts(onsale, event_id, headers={"if-none-match": changed.headers["etag"]})
    assert (paused.status_code, paused.json()["on_sale"]) == (200, False)


async def test_an_opening_by_time_alone_changes_the_etag(onsale: InProcess) -> None:
    opens_at = datetime.now(UTC) + timedelta(seconds=3)
    event_id = await onsale.event(sale={"opens_at": opens_at.isoformat()})
    before = await counts(onsale, event_id)
    assert before.json()["on_sale"] is False
    await asyncio.sleep((opens_at - datetime.now(UTC)).total_seconds() + 0.11)
    after = await counts(onsale, event_id, headers={"if-none-match": before.headers["etag"]})
    assert (after.status_code, after.json()["on_sale"]) == (200, True)
    assert after.json()["sequence"] == before.json()["sequence"]


# -- the stream ------------------------------------------------------------------------


async def test_a_stream_begins_with_a_snapshot_and_goes_on_with_what_changed(
    onsale: InProcess,
) -> None:
    kinds = [{"code": code, "name": code, "price": 1, "capacity": 5} for code in ("ga", "vip")]
    event_id = await onsale.event(ticket_types=kinds)
    async with onsale.stream(f"{EVENTS}/{event_id}/availability/stream") as stream:
        first, _ = await stream.message()
        assert stream.status == 200
        assert stream.headers["content-type"].startswith("text/event-stream")
        assert stream.headers["cache-control"] == "no-store"
        assert "x-request-id" in stream.headers
        snapshot = json.loads(first["data"])
        assert (first["event"], first["id"]) == ("snapshot", "1")
        assert snapshot["sequence"] == 1
        assert [kind["code"] for kind in snapshot["ticket_types"]] == ["ga", "vip"]
        await onsale.held(event_id, "ann", vip=2)
        second, _ = await stream.message()
        change = json.loads(second["data"])
        assert (second["event"], second["id"]) == ("change", "2")
        assert set(change) == set(snapshot)
        assert change["ticket_types"] == [
            {"code": "vip", "capacity": 5, "available": 3, "held": 2, "sold": 0, "blocked": 0}
        ]
    assert onsale.service.streams == 0


async def test_a_stream_tells_at_most_four_changes_a_second_and_ends_with_the_last(
    onsale: InProcess,
) -> None:
    event_id = await onsale.event(capacity=100_000)
    async with onsale.stream(f"{EVENTS}/{event_id}/availability/stream") as stream:
        _, began = await stream.message()
        ending = began + 1.1
        held = 0
        while asyncio.get_running_loop().time() < ending:
            await onsale.held(event_id, f"buyer-{held}", ga=1)
            held += 1
        told = stream.waiting()
        messages = [await stream.message() for _ in range(told)]
        sequences = [int(fields["id"]) for fields, _ in messages]
        assert 1 <= told <= 5
        assert sequences == sorted(set(sequences))
        while sequences[-1] < held + 1:
            fields, _ = await stream.message()
            sequences.append(int(fields["id"]))
        assert json.loads(fields["data"])["ticket_types"][0]["held"] == held


async def test_a_stream_says_nothing_while_nothing_changes(onsale: InProcess) -> None:
    event_id = await onsale.event()
    async with onsale.stream(f"{EVENTS}/{event_id}/availability/stream") as stream:
        await stream.message()
        await asyncio.sleep(0.6)
        assert stream.waiting() == 0


async def test_a_silent_stream_is_kept_open_by_comments(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "STREAM_HEARTBEAT_SECONDS", 0.2)
    event_id = await onsale.event()
    async with onsale.stream(f"{EVENTS}/{event_id}/availability/stream") as stream:
        await stream.message()
        comment, _ = await stream.message()
        assert comment == {"": "still here"}


async def test_a_stream_ends_when_the_gateway_does(onsale: InProcess) -> None:
    event_id = await onsale.event()
    async with onsale.stream(f"{EVENTS}/{event_id}/availability/stream") as stream:
        await stream.message()
        onsale.service.stopping.set()
        await stream.ended()


async def test_too_many_streams_are_refused(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "STREAMS_MAX", 1)
    path = f"{EVENTS}/{await onsale.event()}/availability/stream"
    async with onsale.stream(path) as stream:
        await stream.message()
        answer = await onsale.get(path)
        assert (answer.status_code, answer.json()["code"]) == (503, "overloaded")
        assert answer.headers["retry-after"]
