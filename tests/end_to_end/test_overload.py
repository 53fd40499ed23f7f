"""Ten times more requests than can be served (FAULTS.md, 23)."""

import asyncio
import re
import resource
import time
from collections.abc import Iterator

import httpx
import pytest

from engine.limits import GATEWAY_COMMANDS_MAX, LANE_COMMANDS_MAX, REQUEST_DEADLINE_MS
from tests.calls import GRANTED, REFUSED
from tests.end_to_end.buyers import Buyers, on_sale
from tests.end_to_end.service import Service, resident_bytes, tokens
from tests.end_to_end.verify import verify

#: One request each, all the time: half as many again as a gateway keeps waiting.
_CONNECTIONS = LANE_COMMANDS_MAX * 3 // 2
_MEBIBYTE = 1 << 20


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
        self.waiting: list[int] = []
        self.memory: list[tuple[float, int]] = []
        self.newcomers_waited: list[float] = []
        self._pids = owner, gateway

    def growth_since(self, time_: float) -> int:
        """Return by how many bytes the processes have grown since then."""
        memory = [size for at, size in self.memory if at >= time_]
        assert len(memory) > 3, "nobody has looked"
        return memory[-1] - memory[0]

    async def look(self, buyers: Buyers) -> None:
        """Look at the gateway and the processes again and again."""
        client = buyers.client("operator")
        while True:
            metrics = (await client.get(buyers.service.url + "/metrics")).text
            found = re.search(r"^onsale_gateway_commands_waiting\S* (\S+)$", metrics, re.MULTILINE)
            assert found is not None
            self.waiting.append(int(float(found[1])))
            self.memory.append((time.monotonic(), sum(map(resident_bytes, self._pids))))
            await asyncio.sleep(0.05)

    async def come_anew(self, service: Service) -> None:
        """Ask whether it lives, on a new connection each time, as its operator's probes do."""
        while True:
            began = time.monotonic()
            async with httpx.AsyncClient(trust_env=False, timeout=30.0) as client:
                assert (await client.get(service.url + "/livez")).status_code == 200
            self.newcomers_waited.append(time.monotonic() - began)
            await asyncio.sleep(0.05)

    async def try_for_oneself(self, buyers: Buyers, name: str) -> None:
        """Ask for a ticket again and again, on a connection that was there before."""
        token = tokens.make("buyer", name)
        while True:
            answer = await buyers.client(name).post(
                f"{buyers.service.url}/api/v1/events/{buyers.event_id}/holds",
                headers={"authorization": f"Bearer {token}"},
                json={"items": [{"ticket_type": "ga", "quantity": 3}]},
            )
            if answer.status_code == 503:
                self.turned_away = answer
            await asyncio.sleep(0.05)


# A drill at any length: it needs the machine for itself.
@pytest.mark.drill
@pytest.mark.parametrize("seconds", [4.0, 60.0])
@pytest.mark.usefixtures("many_files")
async def test_overrun_it_turns_away_what_it_cannot_serve_and_the_rest_is_served_as_promised(
    alone: Service, seconds: float
):
    # Nobody but the crowd can have one: observers ask for more than a booking may have.
    async with on_sale(alone, 2_000, max_per_booking=2) as buyers:
        observers = [f"observer-{number}" for number in range(10)]
        for name in ("operator", *observers):
            await buyers.client(name).get(alone.url + "/livez")
        owner = await alone.owner(buyers.event_id)
        assert owner is not None
        (gateway,) = alone.gateways()
        watch = Watch(owner.pid, gateway)
        watching = [
            asyncio.create_task(watch.look(buyers)),
            asyncio.create_task(watch.come_anew(alone)),
            *(asyncio.create_task(watch.try_for_oneself(buyers, name)) for name in observers),
        ]
        everyone = [f"buyer-{number}" for number in range(1_000)]
        calls, result = await buyers.rush(everyone, connections=_CONNECTIONS, seconds=seconds)
        over_at = time.monotonic()
        for task in watching:
            task.cancel()
        ends = await asyncio.gather(*watching, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ends), ends

        assert (await buyers.insist("late", "1")).outcome == REFUSED
        assert time.monotonic() - over_at < 2.0, "it has not recovered at once"
        assert result.unknown == 0
        assert set(result.statuses) == {"201", "409", "503"}
        assert "overloaded" in result.codes
        assert set(result.codes) <= {"not_enough", "overloaded", "recovering"}
        assert watch.turned_away is not None
        assert 1 <= int(watch.turned_away.headers["retry-after"]) <= 3
        assert watch.turned_away.json()["retryable"]
        served = [call for call in calls if call.outcome in (GRANTED, REFUSED)]
        slowest = max(call.answered_at - call.asked_at for call in served)
        assert slowest < REQUEST_DEADLINE_MS / 1_000 + 1.0
        assert max(watch.newcomers_waited) < 5.0
        assert max(watch.waiting) <= GATEWAY_COMMANDS_MAX
        assert await alone.owner(buyers.event_id) == owner, "it was taken for dead"
        assert watch.growth_since(min(call.asked_at for call in calls) + 1.0) < 16 * _MEBIBYTE
        await verify(buyers)
