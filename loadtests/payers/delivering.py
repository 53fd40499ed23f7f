"""Webhooks by the clock on the wall, and how long it takes until buyers see what they say."""

import array
import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from loadtests.crowd.spec import latency_of
from loadtests.own_process import LoadFailed
from loadtests.payers import bookings
from loadtests.payers.line import Client, Line
from loadtests.payers.spec import Delivered, Delivering, Paid
from loadtests.signature import sign

_PATH = "/api/v1/stripe/events"
#: How long a booking may take to be confirmed, seconds.
_PATIENCE_SECONDS = 30.0


async def deliver(spec: Delivering, progress: Callable[[int], None]) -> Delivered:
    """Deliver everything, and return when all bookings are confirmed. Raises LoadFailed."""
    return await _Delivery(spec, progress).run()


class _Delivery:
    def __init__(self, spec: Delivering, progress: Callable[[int], None]) -> None:
        self._spec = spec
        self._progress = progress
        self._idle: list[Line] = []
        self._sent_ns: dict[str, int] = {}
        self._accepted, self._decided, self._readable = (array.array("q") for _ in range(3))
        self._before = 0

    async def run(self) -> Delivered:
        spec, began, late_s = self._spec, time.monotonic(), 0.0
        try:
            async with asyncio.TaskGroup() as under_way:
                for number, paid in enumerate(spec.paid):
                    due = began + number / spec.per_second
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    late_s = max(late_s, time.monotonic() - due)
                    under_way.create_task(self._deliver(paid))
            if not spec.watched:
                for paid in spec.paid:
                    await self._watch(paid)
        except ExceptionGroup as group:
            raise LoadFailed(str(group.exceptions[0])) from group
        finally:
            for line in self._idle:
                line.close()
        return Delivered(
            confirmed=len(spec.paid),
            before=self._before,
            accepted=latency_of(self._accepted),
            decided=latency_of(self._decided),
            readable=latency_of(self._readable),
            late_ms=round(late_s * 1_000, 3),
            elapsed_s=round(time.monotonic() - began, 4),
        )

    async def _deliver(self, paid: Paid) -> None:
        body = paid.event.encode()
        self._sent_ns[paid.booking_id] = now_ns = time.time_ns()
        signature = sign(body, self._spec.secret, now_ns // 1_000_000_000)
        with self._line() as line:
            answer = await line.ask("POST", _PATH, body, {"stripe-signature": signature})
        if answer[0] != 200:
            raise LoadFailed(f"the webhook of {paid.booking_id} was answered {answer}")
        self._accepted.append(time.time_ns() - now_ns)
        if self._spec.watched:
            await self._watch(paid)
        self._progress(len(self._accepted))

    async def _watch(self, paid: Paid) -> None:
        """Look at a booking until it shows that it is confirmed, and note when."""
        sent_ns = self._sent_ns[paid.booking_id]
        give_up = time.monotonic() + _PATIENCE_SECONDS
        while True:
            with self._line() as line:
                found = await bookings.read(Client(line, paid.token), paid.booking_id)
            seen_ns = time.time_ns()
            confirmed_ns = found.confirmed_ns()
            if confirmed_ns is not None:
                break
            if time.monotonic() > give_up:
                raise LoadFailed(f"{paid.booking_id} is {found.status}, and was paid for long ago")
            await asyncio.sleep(self._spec.pause_seconds)
        if confirmed_ns < sent_ns - 1_000_000:
            self._before += 1
            return
        self._decided.append(max(0, confirmed_ns - sent_ns))
        if self._spec.watched:
            self._readable.append(seen_ns - sent_ns)

    @contextmanager
    def _line(self) -> Iterator[Line]:
        """Lend a connection that nobody uses."""
        line = self._idle.pop() if self._idle else Line(self._spec.service)
        yield line
        self._idle.append(line)
