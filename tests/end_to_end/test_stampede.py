"""The moment the sale opens (FAULTS.md, 2)."""

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
        outcomes = [call.outcome for call in calls]
        granted, refused = outcomes.count(GRANTED), outcomes.count(REFUSED)
        # A machine that is busy with other things may leave some without an answer (503).
        unanswered = buyers_count - granted - refused
        assert granted == 100 or (granted < 100 and unanswered >= 100 - granted)
        assert {call.code for call in calls if call.outcome == REFUSED} == {"not_enough"}
        assert await buyers.availability() == {"available": 0, "held": 100, "sold": 0}
        verdict = await verify(buyers)
        assert verdict.shortages_checked == refused
