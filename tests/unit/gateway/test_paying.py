"""The inbox's writer: what comes during a write makes the next one, and none is forgotten."""

import asyncio

import pytest

from engine.journal.contract import Unavailable
from engine.journal.keys import partition_of
from engine.journal.streams import Incoming
from engine.limits import INBOX_ENOUGH, INBOX_PAUSE_SECONDS, INBOX_WAITING_MAX, INBOX_WRITE_MAX
from gateway.paying import InboxWriter
from gateway.problems import Problem


class Writes:
    """Streams that note each write, and finish it when the test says so."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.partitions: list[int] = []
        self.open = asyncio.Event()
        self.open.set()
        self.trouble: list[BaseException | None] = []

    async def put_many(self, messages: list[tuple[int, Incoming]]) -> list[str]:
        self.batches.append([message.id for _, message in messages])
        self.partitions += [partition for partition, _ in messages]
        await self.open.wait()
        trouble = self.trouble.pop(0) if self.trouble else None
        if trouble is not None:
            raise trouble
        return [message.id for _, message in messages]


def message(number: int, about: str = "evt_000000000000") -> Incoming:
    return Incoming(f"evt_{number}", "k", b"", 0, about)


async def started(writer: InboxWriter, count: int, first: int = 0) -> list[asyncio.Task[None]]:
    """Put messages without waiting for any of them."""
    tasks = [asyncio.create_task(writer.put(message(first + number))) for number in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_what_comes_during_a_write_makes_the_next_one() -> None:
    writes = Writes()
    writer = InboxWriter(writes)
    writes.open.clear()
    tasks = await started(writer, 1)
    await asyncio.sleep(1)
    tasks += await started(writer, 5, first=1)
    await asyncio.sleep(1)
    assert writes.batches == [["evt_0"]]
    assert not any(task.done() for task in tasks), "answered before it was durable"
    writes.open.set()
    await asyncio.gather(*tasks)
    assert writes.batches == [["evt_0"], [f"evt_{number}" for number in range(1, 6)]]


async def test_a_burst_is_written_in_its_order_and_no_write_is_too_large() -> None:
    writes = Writes()
    count = 2 * INBOX_WRITE_MAX + 1
    await asyncio.gather(*await started(InboxWriter(writes), count))
    assert [len(batch) for batch in writes.batches] == [INBOX_WRITE_MAX, INBOX_WRITE_MAX, 1]
    written = [name for batch in writes.batches for name in batch]
    assert written == [f"evt_{number}" for number in range(count)]


async def test_what_comes_in_close_succession_is_written_together() -> None:
    writes = Writes()
    writer = InboxWriter(writes)
    tasks: list[asyncio.Task[None]] = []
    for number in range(100):
        tasks += await started(writer, 1, first=number)
        await asyncio.sleep(INBOX_PAUSE_SECONDS / 5)
    await asyncio.gather(*tasks)
    assert writes.batches[0] == ["evt_0"], "the first waits for nobody"
    assert 15 <= len(writes.batches) <= 25
    assert sum(map(len, writes.batches)) == 100


async def test_nobody_waits_for_others_once_there_are_enough() -> None:
    writes = Writes()
    writer = InboxWriter(writes)
    await writer.put(message(0))
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*await started(writer, INBOX_ENOUGH, first=1))
    assert asyncio.get_running_loop().time() - began < INBOX_PAUSE_SECONDS / 2
    assert [len(batch) for batch in writes.batches] == [1, INBOX_ENOUGH]


async def test_what_comes_alone_waits_for_nothing() -> None:
    writes = Writes()
    writer = InboxWriter(writes)
    for number in range(3):
        began = asyncio.get_running_loop().time()
        await writer.put(message(number))
        assert asyncio.get_running_loop().time() == began
        await asyncio.sleep(2 * INBOX_PAUSE_SECONDS)


async def test_each_stands_with_its_event() -> None:
    writes = Writes()
    abouts = ["evt_000000000000", "evt_000000000001", ""]
    writer = InboxWriter(writes)
    for about in abouts:
        await writer.put(message(1, about))
    assert writes.partitions == [partition_of(about) for about in abouts]


async def test_too_many_that_wait_are_turned_away() -> None:
    writes = Writes()
    writer = InboxWriter(writes)
    writes.open.clear()
    tasks = await started(writer, 1)
    await asyncio.sleep(1)
    tasks += await started(writer, INBOX_WAITING_MAX, first=1)
    with pytest.raises(Problem) as problem:
        await writer.put(message(9_999))
    assert problem.value.code == "overloaded"
    writes.open.set()
    await asyncio.gather(*tasks)
    await writer.put(message(10_000))


async def test_what_could_not_be_written_is_not_acknowledged_and_the_next_is() -> None:
    writes = Writes()
    writer = InboxWriter(writes)
    writes.trouble = [Unavailable("gone"), None]
    tasks = await started(writer, INBOX_WRITE_MAX + 1)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    codes = [answer and answer.code for answer in answers]
    assert codes == INBOX_WRITE_MAX * ["store_unavailable"] + [None]
    await writer.put(message(1))


async def test_a_sender_that_leaves_keeps_no_other_back() -> None:
    writes = Writes()
    writer = InboxWriter(writes)
    writes.open.clear()
    first, second, third = await started(writer, 3)
    await asyncio.sleep(1)
    second.cancel()
    await asyncio.sleep(1)
    writes.open.set()
    await asyncio.gather(first, third)
    assert second.cancelled()
    assert writes.batches == [["evt_0", "evt_1", "evt_2"]]


async def test_an_error_of_ours_leaves_nobody_waiting() -> None:
    writes = Writes()
    writer = InboxWriter(writes)
    writes.trouble = [KeyError("a mistake"), None]
    tasks = await started(writer, INBOX_WRITE_MAX + 1)
    answers = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert all(isinstance(answer, Problem) for answer in answers[:INBOX_WRITE_MAX])
    await writer.put(message(1))
