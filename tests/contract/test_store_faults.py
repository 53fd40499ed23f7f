"""The database goes away and comes back, and the same object works on."""

import asyncio

import psycopg
import pytest
from msgspec.structs import replace
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from engine.back_office_limits import STORE_CONNECTIONS_MAX
from engine.store import connect
from engine.store.contract import StoreAway, Writes
from tests.contract.store_rigs import PostgresRig, PostgresServer, SqliteRig, StoreRig
from tests.contract.test_store import opened, ticket
from tests.samples import booking_id, event

#: Instead of STORE_TIMEOUT_SECONDS and STORE_DEADLINE_SECONDS.
BRIEFLY, A_LITTLE_LONGER = 1.0, 2.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connect, "STORE_TIMEOUT_SECONDS", BRIEFLY)
    monkeypatch.setattr(connect, "STORE_DEADLINE_SECONDS", A_LITTLE_LONGER)


async def test_a_database_that_went_away_is_used_again_when_it_is_back(
    store_rig: StoreRig,
) -> None:
    store = await opened(store_rig)
    await store.write(Writes(tickets=[ticket(1)]))
    store_rig.go_away()
    for _ in range(2):
        with pytest.raises(StoreAway):
            await store.write(Writes(tickets=[ticket(2)]))
        with pytest.raises(StoreAway):
            await store.due("worker", 0, 1, {"email": 1})
    store_rig.come_back()
    await store.write(Writes(tickets=[ticket(2)]))
    for number in (1, 2):
        assert await store.tickets(booking_id(number)) == [ticket(number)]


async def test_reading_goes_on_while_another_process_writes(sqlite_rig: SqliteRig) -> None:
    store = await opened(sqlite_rig)
    await store.write(Writes(tickets=[ticket(1)]))
    sqlite_rig.go_away()
    assert await store.tickets(booking_id(1)) == [ticket(1)]


async def test_a_writer_waits_for_another(sqlite_rig: SqliteRig) -> None:
    store = await opened(sqlite_rig)
    sqlite_rig.go_away()
    writing = asyncio.create_task(store.write(Writes(tickets=[ticket(1)])))
    await asyncio.sleep(BRIEFLY / 4)
    assert not writing.done()
    sqlite_rig.come_back()
    await writing
    assert await store.tickets(booking_id(1)) == [ticket(1)]


async def test_a_restart_while_nothing_was_asked_is_not_noticed(postgres_rig: PostgresRig) -> None:
    store = await opened(postgres_rig)
    await asyncio.gather(*(store.event("evt_0000000000aa") for _ in range(4)))
    postgres_rig.go_away()
    postgres_rig.come_back()
    await store.write(Writes(events=[(event(), 1)]))
    assert await store.event(event().event_id) == event()


async def test_a_frozen_server_holds_nobody_up(postgres_rig: PostgresRig) -> None:
    store = await opened(postgres_rig)
    postgres_rig.server.freeze()
    try:
        async with asyncio.timeout(4 * A_LITTLE_LONGER):
            for _ in range(2):
                with pytest.raises(StoreAway):
                    await store.write(Writes(tickets=[ticket(1)]))
    finally:
        postgres_rig.server.thaw()
    await store.write(Writes(tickets=[ticket(1)]))
    assert await store.tickets(booking_id(1)) == [ticket(1)]


async def test_a_slow_statement_is_ended_by_the_server(postgres_rig: PostgresRig) -> None:
    store = await opened(postgres_rig)
    with pytest.raises(StoreAway, match="statement timeout"):
        async with store.database.reading() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))
    assert await store.tickets(booking_id(1)) == []


async def test_a_row_that_somebody_else_keeps_locked(postgres_rig: PostgresRig) -> None:
    store = await opened(postgres_rig)
    await store.write(Writes(tickets=[ticket(1)]))
    with psycopg.connect(postgres_rig.url) as connection:
        connection.execute("SELECT * FROM tickets FOR UPDATE")
        with pytest.raises(StoreAway, match="timeout"):
            await store.write(Writes(tickets=[replace(ticket(1), sequence=99)]))


async def test_more_calls_than_connections_wait_for_one_another(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    await store.write(Writes(tickets=[ticket(1)]))
    answers = await asyncio.gather(
        *(store.tickets(booking_id(1)) for _ in range(8 * STORE_CONNECTIONS_MAX))
    )
    assert answers == [[ticket(1)]] * len(answers)


async def test_who_finds_every_connection_in_use_is_told_so(store_rig: StoreRig) -> None:
    store = await opened(store_rig)

    async def keep() -> None:
        async with store.database.reading():
            await asyncio.sleep(BRIEFLY + 0.5)

    keeping = [asyncio.create_task(keep()) for _ in range(STORE_CONNECTIONS_MAX)]
    await asyncio.sleep(0.1)
    with pytest.raises(StoreAway, match="in use"):
        await store.tickets(booking_id(1))
    await asyncio.gather(*keeping)
    assert await store.tickets(booking_id(1)) == []


async def test_our_own_mistakes_stay_what_they_are(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    with pytest.raises(IntegrityError):
        await store.write(Writes(tickets=[ticket(1, status=None)]))
    with pytest.raises(DBAPIError, match="nonsense"):
        async with store.database.reading() as connection:
            await connection.execute(text("SELECT nonsense"))
    assert await store.tickets(booking_id(1)) == []


async def test_who_is_cancelled_leaves_the_connection_usable(store_rig: StoreRig) -> None:
    store = await opened(store_rig)
    for _ in range(2 * STORE_CONNECTIONS_MAX):
        writing = asyncio.create_task(store.write(Writes(tickets=[ticket(1)])))
        await asyncio.sleep(0.002)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
    await store.write(Writes(tickets=[ticket(2)]))
    assert await store.tickets(booking_id(2)) == [ticket(2)]


async def test_no_error_shows_what_was_written_or_the_password(
    postgres: PostgresServer,
) -> None:
    rig = PostgresRig(postgres, "no_such_database")
    rig.url = f"postgresql://onsale:secret-word@/no_such_database?host={postgres.directory}"
    with pytest.raises(StoreAway) as raised:
        await rig.store().tickets(booking_id(1))
    await rig.close()
    assert "no_such_database" in str(raised.value)
    assert "secret-word" not in str(raised.value)
