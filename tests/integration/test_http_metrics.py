"""What the metrics page tells of the store, of its readers, and of the busiest events."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from engine.journal.contract import Unavailable
from engine.journal.pulses import Pulse, Pulses
from engine.journal.redis_streams import RedisStreams
from engine.journal.streams import Group, Incoming, StreamKind
from engine.limits import HOT_EVENTS_MAX, SCRAPE_WAIT_SECONDS
from gateway import lookout
from tests.in_process import BASE, InProcess

GROUP = Group("readers", StreamKind.INBOX)
LABELS = (("group", "readers"), ("stream", "inbox"))


async def shown(onsale: InProcess) -> dict[tuple, float]:
    """Return every sample of the page by its name and labels."""
    answer = await onsale.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.fixture
def impatient(onsale: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every scrape look anew, and wait for the store however busy the machine is."""
    monkeypatch.setattr(lookout, "SCRAPE_WAIT_SECONDS", 30.0)
    monkeypatch.setattr(lookout, "LAG_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(lookout, "PULSES_EVERY_SECONDS", 0.0)


async def test_readers_that_are_behind_are_shown(
    onsale: InProcess, redis: Redis, impatient: None
) -> None:
    streams = RedisStreams(redis)
    await streams.ensure_group(GROUP, range(4))
    for number in range(5):
        await streams.put(number % 2, Incoming(str(number), "kind", b"", 0))
    await streams.read(GROUP, "one", [0], 1, 0)
    await asyncio.sleep(0.05)
    found = await shown(onsale)
    assert found[("onsale_store_up",)] == 1
    assert found[("onsale_consumer_lag_messages", *LABELS)] == 4
    assert found[("onsale_consumer_pending_messages", *LABELS)] == 1
    assert 0.05 <= found[("onsale_consumer_lag_seconds", *LABELS)] < 60
    assert 0.05 <= found[("onsale_consumer_pending_seconds", *LABELS)] < 60
    done = await streams.read(GROUP, "two", range(4), 10, 0)
    await streams.finish(GROUP, done)
    found = await shown(onsale)
    assert found[("onsale_consumer_lag_seconds", *LABELS)] == 0
    assert found[("onsale_consumer_pending_messages", *LABELS)] == 1


async def test_the_store_is_not_asked_for_every_scrape(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        onsale.service.lookout._streams, "groups", lambda: asked.append(1) or _nothing()
    )
    for _ in range(10):
        await shown(onsale)
    assert len(asked) == 1


async def _nothing() -> list:
    return []


async def test_the_busiest_events_are_shown_and_only_those(
    onsale: InProcess, redis: Redis, impatient: None
) -> None:
    def pulse(number: int) -> Pulse:
        return Pulse(f"evt_{number:012d}", 10 * number, number, 1, 70, 20, 10, 5, 1_500)

    await Pulses(redis).put([pulse(number) for number in range(HOT_EVENTS_MAX)])
    found = await shown(onsale)
    event = ("event", "evt_000000000007")
    assert found[("onsale_event_holds_total", event, ("outcome", "granted"))] == 70
    assert found[("onsale_event_holds_total", event, ("outcome", "not_granted"))] == 7
    assert found[("onsale_event_holds_expired_total", event)] == 1
    stock = {state: found[("onsale_event_units", event, ("state", state))] for state in STATES}
    assert stock == {"available": 70, "held": 20, "sold": 10}
    assert found[("onsale_event_inbox_commands", event)] == 5
    assert found[("onsale_event_answer_p99_seconds", event)] == 0.0015
    await Pulses(redis).put([pulse(99)])
    events = {name for key in await shown(onsale) for label, name in key[1:] if label == "event"}
    assert events == {"evt_000000000099"}, "what was shown before is gone"


STATES = ("available", "held", "sold")


async def test_a_store_that_is_away_slows_no_scrape_and_is_said_to_be_away(
    onsale: InProcess, redis: Redis, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Pulses(redis).put([Pulse("evt_000000000001", 1, 1, 1, 1, 1, 1, 1, 1)])
    streams = RedisStreams(redis)
    await streams.ensure_group(GROUP, [0])
    assert ("onsale_consumer_lag_messages", *LABELS) in await shown(onsale)

    back = asyncio.Event()

    async def hangs() -> list[Pulse]:
        await back.wait()
        raise Unavailable("TimeoutError: gone")

    with monkeypatch.context() as away:
        away.setattr(onsale.service.lookout._pulses, "busiest", hangs)
        away.setattr(lookout, "SCRAPE_WAIT_SECONDS", SCRAPE_WAIT_SECONDS)
        for _ in range(2):
            found = await shown(onsale)  # although the store has not answered
            assert found[("onsale_store_up",)] == 0
            of_others = ("onsale_event_", "onsale_consumer_")
            assert not any(key[0].startswith(of_others) for key in found)
        back.set()
        await shown(onsale)
    found = await shown(onsale)
    assert found[("onsale_store_up",)] == 1
    assert ("onsale_consumer_lag_messages", *LABELS) in found


async def test_what_operators_have_set_is_shown(onsale: InProcess) -> None:
    found = await shown(onsale)
    assert found[("onsale_sales_stopped",)] == 0
    assert found[("onsale_throttled_events",)] == 0
    assert ("onsale_throttle_holds_per_second",) not in found
    admin = onsale.token("admin", "root")
    event_id = await onsale.event()
    for action, body in (
        ("stop", {}),
        ("throttle", {"holds_per_second": 5}),
        ("throttle", {"holds_per_second": 5, "event_id": event_id}),
    ):
        answer = await onsale.post(f"{BASE}/controls/{action}", admin, json={"reason": "x", **body})
        assert answer.status_code == 200, answer.text
    found = await shown(onsale)
    assert found[("onsale_sales_stopped",)] == 1
    assert found[("onsale_throttle_holds_per_second",)] == 5
    assert found[("onsale_throttled_events",)] == 1


async def test_holds_that_an_operator_has_stopped_are_counted(onsale: InProcess) -> None:
    key = ("onsale_holds_total", ("outcome", "sales_stopped"))
    before = (await shown(onsale)).get(key, 0)
    event_id = await onsale.event()
    admin = onsale.token("admin", "root")
    await onsale.post(f"{BASE}/controls/stop", admin, json={"reason": "x"})
    await onsale.hold(event_id, "ann", ga=1)
    assert (await shown(onsale))[key] - before == 1
