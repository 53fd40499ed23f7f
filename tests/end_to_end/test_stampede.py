"""The moment the sale opens (FAULTS.md, 2)."""

import asyncio

import httpx
import pytest

from tests.calls import GRANTED, REFUSED
from tests.end_to_end.buyers import on_sale
from tests.end_to_end.service import Service
from tests.end_to_end.verify import verify


@pytest.mark.parametrize("buyers_count", [2_000, pytest.param(10_000, marks=pytest.mark.drill)])
async def test_of_a_stampede_for_a_hundred_tickets_exactly_a_hundred_get_one(
    service: Service, buyers_count: int
):
    async with on_sale(service, 100) as buyers:
        everyone = [f"buyer-{number}" for number in range(buyers_count)]
        calls, _ = await buyers.rush(everyone, count=buyers_count, connections=256)
        assert [call.outcome for call in calls].count(GRANTED) == 100
        refusals = [call.code for call in calls if call.outcome == REFUSED]
        assert refusals == ["not_enough"] * (buyers_count - 100)
        assert await buyers.availability() == {"available": 0, "held": 100, "sold": 0}
        verdict = await verify(buyers)
        assert verdict.shortages_checked == buyers_count - 100


async def test_of_three_hundred_who_look_at_the_event_at_once_all_see_it(service: Service):
    limits = httpx.Limits(max_connections=300)
    async with (
        on_sale(service, 100) as buyers,
        httpx.AsyncClient(limits=limits, timeout=15.0, trust_env=False) as client,
    ):
        url = f"{service.url}/api/v1/events/{buyers.event_id}"
        looks = (client.get(url + path) for path in ("", "/availability") for _ in range(150))
        answers = await asyncio.gather(*looks)
        assert [answer.status_code for answer in answers] == [200] * 300
