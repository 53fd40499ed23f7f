"""Kill -9 a gateway that has the answer and has not passed it on (FAULTS.md, 13)."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from engine.journal.keys import event_keys
from tests.calls import GRANTED, UNKNOWN
from tests.end_to_end.asked import hold_of
from tests.end_to_end.buyers import Buyers, on_sale
from tests.end_to_end.far import Far
from tests.end_to_end.service import Service, until
from tests.end_to_end.verify import verify

# The proxy lives in the loop of the whole run, and so do the tests.
pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_killed_between_answer_and_response_the_retry_elsewhere_gets_the_same_booking(
    far: Far,
):
    service = far.service
    async with on_sale(service, 10) as buyers:
        gateway = _server_of(await buyers.client("ann").get(service.url + "/livez"), service)
        # This event's append: desks and other events run scripts of their own meanwhile.
        order = far.proxy.hold_reply("EVALSHA", event_keys(buyers.event_id).journal)
        asked = asyncio.create_task(buyers.hold("ann", "1", 4))
        await order.reached()  # it is durable, and the owner does not know yet
        os.kill(gateway, signal.SIGSTOP)
        order.release()
        async with Buyers(service, buyers.event_id) as elsewhere:
            booking_id = hold_of(buyers.event_id, "ann", "1", ()).booking_id
            shown = await elsewhere.read("ann", booking_id)
        assert shown.outcome == GRANTED, "the owner has not answered"
        os.kill(gateway, signal.SIGKILL)
        assert (await asked).outcome == UNKNOWN

        retry = await buyers.hold("ann", "1", 4)
        assert retry.outcome == GRANTED
        assert retry.replayed
        assert retry.seen == shown.seen
        assert await buyers.availability() == {"available": 6, "held": 4, "sold": 0}
        await until(lambda: len(service.gateways()) == 2, 30.0, "the gateway is replaced")
        await verify(buyers)


async def test_gateways_killed_in_turn_under_load_lose_nothing_that_anyone_was_told(far: Far):
    service = far.service
    async with on_sale(service, 50_000) as buyers:
        async with buyers.asking():
            for _ in range(2):
                await asyncio.sleep(0.5)
                for gateway in service.gateways():
                    os.kill(gateway, signal.SIGKILL)
                    await buyers.held("dora", str(gateway))
                await until(lambda: len(service.gateways()) == 2, 30.0, "they are replaced")
        verdict = await verify(buyers)
        assert verdict.unknown > 0, "nobody noticed"


def _server_of(answer: httpx.Response, service: Service) -> int:
    """Return the process at the other end of a connection: the one that has its socket."""
    stream = answer.extensions["network_stream"]
    here, there = stream.get_extra_info("client_addr")[1], stream.get_extra_info("server_addr")[1]
    ends = f":{there:04X} ", f":{here:04X} "
    for row in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, remote, inode = (row.split()[column] for column in (1, 2, 9))
        if f"{local} ".endswith(ends[0]) and f"{remote} ".endswith(ends[1]):
            (pid,) = (pid for pid in service.gateways() if f"socket:[{inode}]" in _open_files(pid))
            return pid
    raise AssertionError(f"nobody has the connection {ends}")


def _open_files(pid: int) -> set[str]:
    found = set()
    for name in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(str(name.readlink()))
    return found
