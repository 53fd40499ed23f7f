"""Events that need no owner cost no process, and have one when they need it."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

from engine.limits import WARM_UP_SECONDS
from tests.end_to_end.buyers import on_sale
from tests.end_to_end.service import Service, command_line, until
from tests.end_to_end.verify import verify


async def test_an_idle_events_owner_leaves_and_is_there_on_touch_and_before_the_sale_opens(
    alone: Service,
):
    async with AsyncExitStack() as stack:
        touched = await stack.enter_async_context(on_sale(alone, 100))
        opens_at = datetime.now(UTC) + timedelta(seconds=WARM_UP_SECONDS + 25)
        sale = {"opens_at": opens_at.isoformat()}
        opening = await stack.enter_async_context(on_sale(alone, 100, sale=sale))
        booking = await touched.held("ann")
        await touched.release("ann", booking.booking_id)
        first = await alone.owner(touched.event_id)
        early = await alone.owner(opening.event_id)
        assert first is not None
        assert early is not None
        await until(
            lambda: not {first.pid, early.pid} & set(alone.processes()), 20.0, "both owners leave"
        )
        async with alone.catalogue() as catalogue:
            assert not {touched.event_id, opening.event_id} & set(await catalogue.awake())

        warmed_up = asyncio.create_task(alone.successor(opening.event_id, early, 90.0))
        assert await touched.availability() == {"available": 100, "held": 0, "sold": 0}
        assert await alone.owner(touched.event_id) != first
        await touched.held("bob")
        await verify(touched)

        warm = await warmed_up
        assert datetime.now(UTC) < opens_at - timedelta(seconds=WARM_UP_SECONDS / 2)
        assert warm.pid in alone.processes()
        assert (await opening.hold("ann", "1")).code == "sale_not_open"
        await verify(opening)


async def test_without_rays_dashboard_none_of_its_processes_is_there(alone: Service):
    assert alone.runtime.dashboard_url is None
    found = [command_line(pid) for pid in alone.processes()]
    assert [one for one in found if one.startswith("ray-dashboard-")] == []
