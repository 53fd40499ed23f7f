"""Ten times more requests than can be served (FAULTS.md, 23)."""

import asyncio
import logging
import math
import re
import resource
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from engine.limits import (
    BATCH_COMMANDS_MAX,
    BATCHES_IN_FLIGHT_MAX,
    GATEWAY_COMMANDS_MAX,
    LANE_COMMANDS_MAX,
    REQUEST_DEADLINE_MS,
)
from loadtests.crowd import Result
from tests.calls import GRANTED, Call
from tests.end_to_end.buyers import Buyers, on_sale
from tests.end_to_end.service import Service, resident_bytes, tokens
from tests.end_to_end.verify import verify

#: One request each, all the time: half as many again as a gateway keeps waiting.
_CONNECTIONS = LANE_COMMANDS_MAX * 3 // 2
#: As much as there may be: it lasts for 40 s at 25 000 holds a second.
_CAPACITY = 1_000_000
#: Longest until whoever comes after the crowd is served.
_RECOVERY_SECONDS = 2.0
_MEBIBYTE = 1 << 20
#: What an owner may keep of a booking: twice the 400 to 560 bytes of docs/CLUSTER.md.
_BOOKING_BYTES_MAX = 1_000
#: Up to here no owner trims its journal, and it can be read whole.
_READ_WHOLE_SECONDS = 5.0

log = logging.getLogger(__name__)


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let the crowd have as many connections as it wants."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class Watch:
    """What one can see of a service while it is overrun."""

    def __init__(self, owner: int, gateway: int) -> None:
        self.turned_away: httpx.Response | None = None
        self.answered: list[tuple[float, float, int]] = []
        self.waiting: list[int] = []
        self.memory: list[tuple[float, list[int]]] = []
        self.newcomers_waited: list[float] = []
        self._pids = owner, gateway

    def growth_since(self, time_: float) -> tuple[int, ...]:
        """Return by how many bytes owner and gateway have grown since then."""
        memory = [sizes for at, sizes in self.memory if at >= time_]
        assert len(memory) > 3, "nobody has looked"
        return tuple(last - first for first, last in zip(memory[0], memory[-1], strict=True))

    async def look(self, buyers: Buyers) -> None:
        """Look at the gateway and the processes again and again."""
        client = buyers.client("operator")
        while True:
            metrics = (await client.get(buyers.service.url + "/metrics")).text
            found = re.search(r"^onsale_gateway_commands_waiting\S* (\S+)$", metrics, re.MULTILINE)
            assert found is not None
            self.waiting.append(int(float(found[1])))
            self.memory.append((time.monotonic(), [resident_bytes(pid) for pid in self._pids]))
            await asyncio.sleep(0.05)

    # In threads of their own: when the crowd is gone, the loop reads its notes for seconds.

    def come_anew(self, service: Service, over: threading.Event) -> None:
        """Ask whether it lives, on a new connection each time, as its operator's probes do."""
        while not over.is_set():
            began = time.monotonic()
            with httpx.Client(trust_env=False, timeout=30.0) as client:
                assert client.get(service.url + "/livez").status_code == 200
            self.newcomers_waited.append(time.monotonic() - began)
            time.sleep(0.05)

    def keep_asking(self, buyers: Buyers, over: threading.Event) -> None:
        """Ask for a ticket again and again."""
        path, request = _too_many(buyers, "patient")
        with httpx.Client(trust_env=False, timeout=30.0) as client:
            while not over.is_set():
                asked_at = time.monotonic()
                answer = client.post(path, **request)
                if answer.status_code == 503:
                    self.turned_away = answer
                self.answered.append((asked_at, time.monotonic(), answer.status_code))
                time.sleep(0.02)

    def recovered_after(self, time_: float) -> float:
        """Return how long after this somebody who came then was served, seconds."""
        served = (at for asked, at, status in self.answered if asked >= time_ and status == 409)
        return min(served, default=math.inf) - time_

    async def try_for_oneself(self, buyers: Buyers, name: str) -> None:
        """Ask for a ticket again and again, on a connection that was there before."""
        path, request = _too_many(buyers, name)
        while True:
            answer = await buyers.client(name).post(path, **request)
            if answer.status_code == 503:
                self.turned_away = answer
            await asyncio.sleep(0.05)


def _too_many(buyers: Buyers, name: str) -> tuple[str, dict[str, Any]]:
    """Return a request that its event's owner refuses, so that only the crowd gets tickets."""
    return f"{buyers.service.url}/api/v1/events/{buyers.event_id}/holds", {
        "headers": {"authorization": f"Bearer {tokens.make('buyer', name)}"},
        "json": {"items": [{"ticket_type": "ga", "quantity": 3}]},
    }


def p99_seconds(calls: list[Call]) -> float:
    took = sorted(call.answered_at - call.asked_at for call in calls)
    return took[len(took) * 99 // 100]


def longest_wait_seconds(result: Result, granted: int) -> float:
    """Return how long whoever is admitted waits at most, by queue lengths and rates.

    Before the gateway reads a request, it may read one of every other connection. Then it is in
    the lane behind all that the lane and the batches under way may hold, which leave at the
    pace of grants. The paces are those of the whole run: an owner that writes a snapshot, or a
    core that somebody else has, halves them for a while.
    """
    before = LANE_COMMANDS_MAX + BATCHES_IN_FLIGHT_MAX * BATCH_COMMANDS_MAX
    return 2 * (_CONNECTIONS / result.rate + before * result.elapsed_s / granted)


# A drill at any length: it needs the machine for itself.
@pytest.mark.drill
@pytest.mark.parametrize("seconds", [4.0, 40.0])
@pytest.mark.usefixtures("many_files")
async def test_overrun_it_turns_away_what_it_cannot_serve_and_the_rest_is_served_as_promised(
    alone: Service, seconds: float
):
    # Nobody but the crowd can have one: observers ask for more than a booking may have.
    async with on_sale(alone, _CAPACITY, max_per_booking=2, hold_ttl_seconds=900) as buyers:
        observers = [f"observer-{number}" for number in range(10)]
        for name in ("operator", *observers):
            await buyers.client(name).get(alone.url + "/livez")
        owner = await alone.owner(buyers.event_id)
        assert owner is not None
        (gateway,) = alone.gateways()
        watch = Watch(owner.pid, gateway)
        watching = [
            asyncio.create_task(watch.look(buyers)),
            *(asyncio.create_task(watch.try_for_oneself(buyers, name)) for name in observers),
        ]
        everyone = [f"buyer-{number}" for number in range(1_000)]
        over = threading.Event()
        threads = [
            asyncio.create_task(asyncio.to_thread(watch.come_anew, alone, over)),
            asyncio.create_task(asyncio.to_thread(watch.keep_asking, buyers, over)),
        ]
        try:
            calls, result = await buyers.rush(everyone, connections=_CONNECTIONS, seconds=seconds)
            await asyncio.sleep(_RECOVERY_SECONDS)
        finally:
            over.set()
        await asyncio.gather(*threads)
        for task in watching:
            task.cancel()
        ends = await asyncio.gather(*watching, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends

        over_at = max(call.answered_at for call in calls)
        assert watch.recovered_after(over_at) < _RECOVERY_SECONDS, "it has not recovered at once"
        assert (await buyers.insist("late", "1")).outcome == GRANTED
        assert result.unknown == 0
        assert set(result.statuses) == {"201", "503"}, "nothing was sold out"
        assert "overloaded" in result.codes
        assert set(result.codes) <= {"overloaded", "recovering"}
        assert watch.turned_away is not None
        assert 1 <= int(watch.turned_away.headers["retry-after"]) <= 3
        assert watch.turned_away.json()["retryable"]
        granted = [call for call in calls if call.outcome == GRANTED]
        p99, bound = p99_seconds(granted), longest_wait_seconds(result, len(granted))
        log.warning("p99 of %d granted: %.2f s; at most %.2f s", len(granted), p99, bound)
        assert p99 < bound
        slowest = max(call.answered_at - call.asked_at for call in granted)
        assert slowest < REQUEST_DEADLINE_MS / 1_000 + 1.0
        assert max(watch.newcomers_waited) < 5.0
        assert max(watch.waiting) <= GATEWAY_COMMANDS_MAX
        assert await alone.owner(buyers.event_id) == owner, "it was taken for dead"
        of_owner, of_gateway = watch.growth_since(min(call.asked_at for call in calls) + 1.0)
        log.warning("grown: gateway %d, owner %d bytes", of_gateway, of_owner)
        assert of_gateway < 16 * _MEBIBYTE
        assert of_owner < 16 * _MEBIBYTE + _BOOKING_BYTES_MAX * len(granted)
        if seconds < _READ_WHOLE_SECONDS:
            await verify(buyers)
        else:
            assert (await buyers.audit())["agree"]
            assert (await buyers.availability())["held"] == len(granted) + 1
