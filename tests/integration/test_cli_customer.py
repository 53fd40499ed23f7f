"""`onsale customer`: the bookings of an address, and whom nobody is to know any more."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from engine.journal.embedded import EmbeddedStore
from gateway.views import rfc3339
from tests.back_office import ANN, at_work
from tests.in_process import BASE, SECRET

FREE = {"ticket_types": [{"code": "ga", "name": "Standing", "price": 0, "capacity": 100}]}


async def run(
    store: EmbeddedStore, directory: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "ONSALE_REDIS_URL": store.url,
        "ONSALE_DATABASE_URL": f"sqlite:///{directory}/onsale.db",
        "ONSALE_DATA_DIR": str(directory),
        "ONSALE_AUTH_SECRET": SECRET,
    }
    command = [sys.executable, "-m", "gateway.cli.main", "customer", *words]
    return await asyncio.to_thread(
        subprocess.run,
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_an_address_is_found_whatever_its_capitals_and_forgotten(
    redis: Redis, store: EmbeddedStore, tmp_path: Path
) -> None:
    async with at_work(redis, store, tmp_path) as office:
        event_id = await office.onsale.event("acme", **FREE)
        first = await office.bought(event_id)
        second = await office.bought(event_id, "bob")
        await office.until(second, "TICKETS_DELIVERED", "bob")
        await office.until(first, "TICKETS_DELIVERED")
        await office.settled()

        found = await run(store, tmp_path, "find", ANN["email"].upper())
        assert found.returncode == 0, found.stderr
        assert sorted(found.stdout.split()) == sorted([first, second])

        gone = await run(store, tmp_path, "forget", first)
        assert (gone.returncode, gone.stdout) == (0, "")
        assert "Forgotten" in gone.stderr
        assert (await run(store, tmp_path, "find", ANN["email"])).stdout.split() == [second]
        assert await office.onsale.store.contact(first) is None
        assert len(await redis.keys(f"*:contact:{first}")) == 0
        assert [one.status for one in await office.onsale.store.tickets(first)] == ["ACTIVE"]
        assert "Nothing was known" in (await run(store, tmp_path, "forget", first)).stderr


async def test_what_became_of_each_ticket_is_told_with_its_moment_and_its_cause(
    redis: Redis, store: EmbeddedStore, tmp_path: Path
) -> None:
    async with at_work(redis, store, tmp_path) as office:
        event_id = await office.onsale.event("acme", **FREE)
        booking_id = await office.bought(event_id, units=2)
        ann = office.onsale.token("buyer", "ann")
        tickets = await office.onsale.get(f"{BASE}/bookings/{booking_id}/tickets", ann)
        code = tickets.json()["data"][1]["qr"]
        staff = office.onsale.token("staff", "sam", org="acme")
        scan = {"qr": code, "gate": "North"}
        passed = await office.onsale.post(f"{BASE}/events/{event_id}/check-ins", staff, json=scan)
        assert passed.json()["result"] == "admitted"
        await office.settled()

        found = await run(store, tmp_path, "find", "--trail", ANN["email"])

        assert found.returncode == 0, found.stderr
        first, *lines = found.stdout.splitlines()
        assert first == booking_id
        told = [line.split() for line in lines]
        place = [ticket[4:-2] == booking_id[3:] and ticket[-2:] for ticket, *_ in told]
        became = [(status, cause) for _, _, status, cause, _ in told]
        bought, went_in = ("ACTIVE", "confirmed"), ("USED", "scanned")
        assert list(zip(place, became, strict=True)) == [
            ("00", bought),
            ("01", bought),
            ("01", went_in),
        ]
        trail = await office.onsale.store.trail(booking_id)
        assert {at for _, at, *_ in told} == {rfc3339(line.at_ms) for line in trail}
        assert {place for *_, place in told} == {f"#{line.sequence}" for line in trail}


@pytest.mark.parametrize("booking_id", ["", "bk_1", "evt_000000000000"])
async def test_what_is_no_booking_is_named(
    store: EmbeddedStore, tmp_path: Path, booking_id: str
) -> None:
    refused = await run(store, tmp_path, "forget", booking_id)
    assert refused.returncode == 2
    assert "bk_ and 28 characters" in refused.stderr
