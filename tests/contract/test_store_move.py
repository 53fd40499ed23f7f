"""The whole back office moves into another database and goes on there."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import select

from engine.domain.tickets import ticket_id
from engine.store.contract import Writes
from engine.store.move import NotEmpty, main, move
from engine.store.schema import metadata
from engine.store.vault import Vault
from tests.contract.store_rigs import NEW_SECRET, SqliteRig, StoreRig
from tests.contract.test_store import ANN, change, opened, ticket
from tests.contract.test_store_messages import message, take
from tests.contract.test_store_scans import refused, scan
from tests.samples import EVENT_ID, NOW_MS, booking_id, event


@pytest.fixture
async def source_rig(tmp_path: Path) -> AsyncIterator[SqliteRig]:
    """What is moved; `store_rig` is where to."""
    rig = SqliteRig(tmp_path / "source.db")
    yield rig
    await rig.close()


async def content(rig: StoreRig) -> dict[str, list[object]]:
    async with rig.store().database.reading() as connection:
        return {
            table.name: list(await connection.execute(select(table).order_by(*table.primary_key)))
            for table in metadata.sorted_tables
        }


async def fill(rig: StoreRig) -> None:
    store = await opened(rig)
    tickets = [ticket(number, place) for number in range(40) for place in range(20)]
    sealed = Vault((NEW_SECRET,)).seal_contact(ANN)
    await store.write(
        Writes(
            events=[(event(), 1)],
            contacts=[(booking_id(number), sealed) for number in range(3)],
            tickets=tickets,
            changes=[change(one) for one in tickets],
            messages=[message(1), message(2)],
            scans=[scan(1, flags=("two_gates",)), refused(2, "forged", ticket_id=None)],
            void_events=[(EVENT_ID, 30, NOW_MS)],
        )
    )
    await store.forget(booking_id(2))
    (first,) = await take(store, limit=1)
    await store.failed(first.message_id, "450 greylisted", NOW_MS + 5)


async def test_every_row_arrives_and_new_ones_find_room(
    source_rig: SqliteRig, store_rig: StoreRig
) -> None:
    await fill(source_rig)
    source, target = source_rig.store().database, store_rig.store()
    counts = await move(source, target.database)
    assert counts["tickets"] == 800
    assert await content(store_rig) == await content(source_rig)
    sealed = Vault((NEW_SECRET,)).seal_contact(ANN)
    one = ticket(50, sequence=60)
    await target.write(
        Writes(
            contacts=[(booking_id(9), sealed)],
            messages=[message(3)],
            tickets=[one],
            changes=[change(one)],
        )
    )
    assert await target.bookings_of(ANN.email) == [booking_id(9), booking_id(1), booking_id(0)]
    assert len(await take(target)) == 3
    assert await target.trail(one.booking_id) == [change(one)]
    assert (await target.tickets(booking_id(1)))[1].ticket_id == ticket_id(booking_id(1), 1)


async def test_a_database_in_use_is_not_written_over(
    source_rig: SqliteRig, store_rig: StoreRig
) -> None:
    await fill(source_rig)
    target = await opened(store_rig)
    await target.write(Writes(scans=[scan(9)]))
    before = await content(store_rig)
    with pytest.raises(NotEmpty, match="scans has rows already"):
        await move(source_rig.store().database, target.database)
    assert await content(store_rig) == before


def test_the_command_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, sqlite_rig: SqliteRig
) -> None:
    for arguments, complaint in [
        ([], "two database URLs"),
        (["mysql://u:secret-word@h/n", sqlite_rig.url], "not mysql://"),
    ]:
        monkeypatch.setattr(sys, "argv", ["move", *arguments])
        with pytest.raises(SystemExit, match=complaint) as raised:
            main()
        assert "secret-word" not in str(raised.value)


def test_the_command_says_what_it_copied(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sqlite_rig: SqliteRig,
) -> None:
    other = f"{sqlite_rig.url}-other"
    monkeypatch.setattr(sys, "argv", ["move", sqlite_rig.url, other])
    main()
    assert "         0 tickets\n" in capsys.readouterr().out
