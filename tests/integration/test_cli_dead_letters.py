"""`onsale dead-letters`, over a real store."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from engine.journal.connect import connect
from engine.journal.embedded import EmbeddedStore
from engine.journal.entry import START, Entry, Position
from engine.journal.keys import partition_of
from engine.journal.redis import RedisJournal
from engine.journal.redis_streams import RedisStreams
from engine.journal.streams import Group, Incoming, StreamKind, Streams
from engine.limits import PARTITIONS
from gateway.cli.main import app
from tests.samples import EVENT_ID, MINE, NOW_MS, booking_id, expired, placed
from tests.servers import running_store

PAYMENTS = Group("payments", StreamKind.INBOX)
TICKETS = Group("tickets", StreamKind.EFFECTS)
PARTITION = partition_of(EVENT_ID)
EVERYWHERE = range(PARTITIONS)


def onsale(*args: str) -> Result:
    return CliRunner().invoke(app, ["dead-letters", *args], catch_exceptions=False)


def ask(store: EmbeddedStore, what: Callable[[Streams], Awaitable]) -> object:
    """Do something with the store's streams, in a loop of its own."""

    async def run() -> object:
        async with connect(store.url) as client:
            return await what(RedisStreams(client))

    return asyncio.run(run())


async def bury(streams: Streams, group: Group, reason: str) -> int:
    """Bury everything that the group has not seen."""
    found = await streams.read(group, "c", EVERYWHERE, 100, 0)
    for delivery in found:
        await streams.bury(group, delivery, reason, 12)
    return len(found)


async def bury_webhooks(streams: Streams) -> None:
    await streams.ensure_group(PAYMENTS, EVERYWHERE)
    for number in range(3):
        body = b'{"amount": 4500}' if number else b"\xff?"
        message = Incoming(f"evt_{number}", "charge.refunded", body, NOW_MS, EVENT_ID)
        await streams.put(PARTITION, message)
    assert await bury(streams, PAYMENTS, "KeyError: 'booking'") == 3


async def bury_effect(streams: Streams) -> None:
    await streams.ensure_group(TICKETS, EVERYWHERE)
    assert await bury(streams, TICKETS, "no printer") == 1


def write_effect(store: EmbeddedStore) -> None:
    async def run() -> None:
        async with connect(store.url) as client:
            written = Entry(1, 1, NOW_MS, MINE, (placed(1), expired(1)))
            await RedisJournal(client, EVENT_ID).append(written, START)

    asyncio.run(run())


@pytest.fixture
def filled(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EmbeddedStore:
    """A store with three dead webhooks and a dead effect, which the command is told of."""
    monkeypatch.setenv("ONSALE_REDIS_URL", store.url)
    monkeypatch.setenv("ONSALE_DATA_DIR", str(tmp_path / "none"))
    monkeypatch.setenv("COLUMNS", "200")
    write_effect(store)
    ask(store, bury_webhooks)
    ask(store, bury_effect)
    return store


def listed(*args: str) -> list[dict]:
    result = onsale("list", "--json", *args)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_groups_letters_are_listed(filled: EmbeddedStore) -> None:
    letters = listed()
    assert [letter["group"] for letter in letters] == ["tickets", *["payments"] * 3]
    assert listed("--group", "payments") == letters[1:]
    assert letters[1]["reason"] == "KeyError: 'booking'"
    assert (letters[1]["attempts"], letters[1]["replays"]) == (12, 0)


def test_the_list_for_people_says_what_and_why(filled: EmbeddedStore) -> None:
    result = onsale("list")
    assert result.exit_code == 0
    assert result.stdout == ""
    for words in (
        "tickets (effects)",
        "payments (inbox)",
        "HoldExpired 1-1/1",
        "no printer",
        "charge.refunded evt_2",
        "KeyError: 'booking'",
        EVENT_ID,
    ):
        assert words in result.stderr


def test_the_list_goes_on_where_it_ended(filled: EmbeddedStore) -> None:
    whole = listed("--group", "payments")
    assert listed("--group", "payments", "--limit", "2") == whole[:2]
    assert listed("--group", "payments", "--after", whole[1]["id"]) == whole[2:]
    assert whole[1]["id"] in onsale("list", "--limit", "2").stderr


def test_a_letter_is_shown_with_its_message(filled: EmbeddedStore) -> None:
    effect, garbled, webhook, _ = listed()
    shown = json.loads(onsale("show", "tickets", effect["id"]).stdout)
    assert shown == effect
    assert shown["message"] == {
        "event": EVENT_ID,
        "entry": str(Position(1, 1)),
        "index": 1,
        "record": "HoldExpired",
        "fields": {"booking_id": booking_id(1), "at_ms": expired(1).at_ms},
    }
    assert webhook["message"]["body"] == {"amount": 4500}
    assert garbled["message"]["body"] == "\\xff?"
    assert webhook["message"]["received"].startswith("2027-01-15T08:00:00")


def test_a_replayed_letter_is_read_again_by_its_group(filled: EmbeddedStore) -> None:
    letter = listed("--group", "payments")[1]
    assert onsale("replay", "payments", letter["id"]).exit_code == 0
    assert letter["id"] not in [one["id"] for one in listed()]
    assert ask(filled, lambda streams: bury(streams, PAYMENTS, "again")) == 1
    again = listed("--group", "payments")[-1]
    assert (again["reason"], again["replays"]) == ("again", 1)
    assert again["message"] == letter["message"]


def test_all_letters_of_a_group_are_replayed_at_once(filled: EmbeddedStore) -> None:
    assert onsale("replay", "payments", "--all").exit_code == 0
    assert [letter["group"] for letter in listed()] == ["tickets"]
    assert ask(filled, lambda streams: bury(streams, PAYMENTS, "again")) == 3


def test_a_letter_that_is_gone_is_said_so(filled: EmbeddedStore) -> None:
    letter = listed("--group", "payments")[0]["id"]
    result = onsale("replay", "payments", letter, letter)
    assert result.exit_code == 1
    assert "there is no such letter" in result.stderr
    assert onsale("show", "payments", letter).exit_code == 1


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["list", "--group", "nobody"], "payments, tickets"),
        (["show", "payments", "evt_1"], "not the id of a dead letter"),
        (["list", "--after", "x"], "not the id of a dead letter"),
        (["replay", "payments"], "--all"),
        (["replay", "payments", "--all", "01-1-1"], "--all"),
    ],
)
def test_what_cannot_be_done_is_said(filled: EmbeddedStore, args: list[str], says: str) -> None:
    result = onsale(*args)
    assert result.exit_code != 0
    assert says in result.stderr


def test_no_letters_is_good_news(store: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONSALE_REDIS_URL", store.url)
    result = onsale("list")
    assert (result.exit_code, result.stderr) == (0, "No dead letters.\n")


def test_a_store_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONSALE_REDIS_URL", "redis://127.0.0.1:1")
    result = onsale("list")
    assert result.exit_code == 1
    assert "the store does not answer" in result.stderr


def test_the_embedded_store_is_started_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ONSALE_REDIS_URL", raising=False)
    monkeypatch.setenv("ONSALE_DATA_DIR", str(tmp_path))
    assert "there is no data" in onsale("list").stderr
    with running_store(tmp_path / "valkey") as store:
        ask(store, bury_webhooks)
    assert len(listed()) == 3
