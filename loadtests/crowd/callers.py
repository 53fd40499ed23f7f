"""The crowd itself. Requests are made in advance, answers are read no further than needed."""

import array
import asyncio
import time
from collections.abc import Callable
from typing import IO, cast

import msgspec
from msgspec import Struct

from loadtests.crowd.spec import Result, Spec, latency_of, request_bytes
from loadtests.own_process import LoadFailed

_PROGRESS_SECONDS = 0.2
#: How often the clock is looked at for requests that are due, seconds: uvloop's finest.
_TICK_SECONDS = 0.001
#: Pauses between attempts to connect, seconds: first and longest.
_RECONNECT_SECONDS_MIN, _RECONNECT_SECONDS_MAX = 0.02, 0.5
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"
_CLOSE = b"\r\nconnection: close"


class Exchange(Struct):
    """A request on its way: its number, its idempotency key, when it was sent, and due."""

    number: int
    key: str | None
    sent_ns: int = 0
    due_ns: int = 0


class Crowd:
    """Everyone who asks, and what they were told. Needs a running loop.

    Args:
        spec: what to do.
        recording: takes a line for every request.
    """

    def __init__(self, spec: Spec, recording: IO[bytes] | None = None) -> None:
        self.spec = spec
        self.stopped = False
        self.done = 0
        self._recording = recording
        self._requests = enumerate(request_bytes(spec))
        self._callers: set[Caller] = set()
        #: Nothing is under way on their connections; in order, as in a set that has one.
        self._idle: dict[Caller, None] = {}
        self._warmup_statuses: dict[str, int] = {}
        self._finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reset()

    def _reset(self) -> None:
        """Count from now on."""
        self.statuses: dict[bytes, int] = {}
        self.codes: dict[bytes, int] = {}
        self._granted_ns = array.array("q")
        self._refused_ns = array.array("q")
        self.skipped = 0
        self.unknown = 0
        self._began_ns = self._last_ns = time.monotonic_ns()
        self._cpu_began = time.process_time()

    async def run(self, progress: Callable[[int], None]) -> Result:
        """Send everything, and return once nothing is under way any more.

        Raises:
            LoadFailed: the server could not be reached for `patience_seconds`.
        """
        spec, loop = self.spec, asyncio.get_running_loop()
        for _ in range(spec.connections):
            caller = Caller(self)
            self._callers.add(caller)
            await caller.connect()
        self._reset()
        if spec.warmup_seconds:
            loop.call_later(spec.warmup_seconds, self._end_warmup)
        if spec.seconds is not None:
            loop.call_later(spec.warmup_seconds + spec.seconds, self._stop)
        if spec.per_second is not None:
            self._idle = dict.fromkeys(self._callers)
            self._arrive(time.monotonic_ns(), 0, spec.per_second)
        else:
            for caller in list(self._callers):
                caller.ask()
        while not self._finished.done():
            await asyncio.wait([self._finished], timeout=_PROGRESS_SECONDS)
            overdue_ns = time.monotonic_ns() - int(spec.answer_seconds * 1e9)
            for caller in list(self._callers):
                caller.give_up_before(overdue_ns)
            progress(self.done)
        self._finished.result()
        return self._result()

    def next_request(self) -> tuple[Exchange, bytes] | None:
        """Return the next request, None when there is nothing more to ask."""
        if self.stopped:
            return None
        found = next(self._requests, None)
        if found is None:
            return None
        number, (key, data) = found
        return Exchange(number, key), data

    def answered(self, exchange: Exchange, status: bytes, body: bytes) -> None:
        """Count an answer."""
        now_ns = self._last_ns = time.monotonic_ns()
        self.done += 1
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status[0] < 0x34:
            self._granted_ns.append(now_ns - exchange.due_ns)
        else:  # "4": a problem document
            self._refused_ns.append(now_ns - exchange.due_ns)
            _, found, rest = body.partition(b'"code":"')
            if found:
                code = rest[: rest.find(b'"')]
                self.codes[code] = self.codes.get(code, 0) + 1
        if self._recording is not None:
            self._record(exchange, now_ns, int(status), body)

    def lost(self, exchange: Exchange) -> None:
        """Count a request whose outcome nobody knows."""
        self.unknown += 1
        if self._recording is not None:
            self._record(exchange, time.monotonic_ns(), 0, b"")

    def free(self, caller: "Caller") -> None:
        """Take note that a caller has nothing under way; it asks now, or when it is time."""
        if self.stopped or self.spec.per_second is None:
            caller.ask()
        else:
            self._idle[caller] = None

    def gone(self, caller: "Caller") -> None:
        """Take note that a caller has no connection."""
        self._idle.pop(caller, None)

    def leave(self, caller: "Caller") -> None:
        """Note that a caller has nothing more to ask."""
        self._callers.discard(caller)
        if not self._callers and not self._finished.done():
            self._finished.set_result(None)

    def fail(self, reason: str) -> None:
        """End without a result."""
        self.stopped = True
        if not self._finished.done():
            self._finished.set_exception(LoadFailed(reason))

    def _stop(self) -> None:
        self.stopped = True
        while self._idle:
            self._idle.popitem()[0].ask()

    def _end_warmup(self) -> None:
        self._warmup_statuses = _by_name(self.statuses)
        self._reset()

    def _arrive(self, began_ns: int, arrived: int, per_second: float) -> None:
        """Send what has become due, and come again.

        Args:
            began_ns: when the first request was due.
            arrived: requests that were due so far.
            per_second: requests.
        """
        if self.stopped:
            return
        asyncio.get_running_loop().call_later(
            _TICK_SECONDS,
            self._arrive,
            began_ns,
            due := 1 + int((time.monotonic_ns() - began_ns) * per_second / 1e9),
            per_second,
        )
        sent = min(due - arrived, len(self._idle))
        for number in range(arrived, arrived + sent):
            caller, _ = self._idle.popitem()
            caller.ask(began_ns + int(number * 1e9 / per_second))
        self.skipped += due - arrived - sent

    def _record(self, exchange: Exchange, returned_ns: int, status: int, body: bytes) -> None:
        line = {
            "number": exchange.number,
            "key": exchange.key,
            "invoked_ns": exchange.sent_ns,
            "returned_ns": returned_ns,
            "status": status,
            "body": body.decode("utf-8", "replace"),
        }
        assert self._recording is not None
        self._recording.write(msgspec.json.encode(line) + b"\n")

    def _result(self) -> Result:
        cpu = time.process_time() - self._cpu_began
        elapsed_s = (self._last_ns - self._began_ns) / 1e9
        count = len(self._granted_ns) + len(self._refused_ns)
        return Result(
            requests=count,
            elapsed_s=round(elapsed_s, 4),
            rate=round(count / elapsed_s, 1) if count else 0.0,
            statuses=_by_name(self.statuses),
            codes=_by_name(self.codes),
            latency_ms=latency_of(self._granted_ns + self._refused_ns),
            unknown=self.unknown,
            cpu_us=round(cpu * 1e6 / count, 1) if count else 0.0,
            skipped=self.skipped,
            granted_ms=latency_of(self._granted_ns),
            warmup_statuses=self._warmup_statuses,
        )


def _by_name(counts: dict[bytes, int]) -> dict[str, int]:
    return {name.decode(): n for name, n in sorted(counts.items())}


class Caller(asyncio.Protocol):
    """One of the crowd: asks, waits for the answer, asks the next."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._buffer = b""
        self._left = False
        self._returning: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """Connect, however often it takes; the crowd fails if that takes too long."""
        spec, loop = self._crowd.spec, asyncio.get_running_loop()
        give_up = loop.time() + spec.patience_seconds
        pause = _RECONNECT_SECONDS_MIN
        while not self._crowd.stopped:
            try:
                await loop.create_connection(lambda: self, spec.host, spec.port)
            except OSError as error:
                if loop.time() > give_up:
                    self._crowd.fail(f"cannot connect to {spec.host}:{spec.port}: {error}")
                await asyncio.sleep(pause)
                pause = min(2 * pause, _RECONNECT_SECONDS_MAX)
            else:
                return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the way to the server."""
        self._transport = cast("asyncio.Transport", transport)
        self._buffer = b""

    def ask(self, due_ns: int | None = None) -> None:
        """Send the next request, or leave.

        Args:
            due_ns: since when it is due; None: since now.
        """
        transport = self._transport
        if transport is None and not self._crowd.stopped:
            return  # lost again meanwhile, and on its way back
        following = self._crowd.next_request()
        if following is None or transport is None:
            self._left = True
            if transport is not None:
                transport.close()
            self._crowd.leave(self)
            return
        exchange, data = following
        self._exchange = exchange
        exchange.sent_ns = time.monotonic_ns()
        exchange.due_ns = exchange.sent_ns if due_ns is None else due_ns
        transport.write(data)

    def data_received(self, data: bytes) -> None:
        """Read as much of an answer as there is."""
        if self._buffer:
            data = self._buffer + data
        end = data.find(_HEAD_END)
        if end < 0:
            self._buffer = data
            return
        at = data.find(_LENGTH, 0, end)
        if at < 0:
            at = data[:end].lower().find(_LENGTH)
        status = data[9:12]
        if at >= 0:
            size = int(data[at + len(_LENGTH) : data.find(b"\r", at)])
        elif status in (b"204", b"304"):
            size = 0
        else:
            self._break_off()
            return
        whole = end + len(_HEAD_END) + size
        if len(data) < whole:
            self._buffer = data
            return
        exchange = self._exchange
        if exchange is None or len(data) > whole:
            self._break_off()
            return
        self._buffer = b""
        self._exchange = None
        self._crowd.answered(exchange, status, data[-size:] if size else b"")
        if data.find(_CLOSE, 0, end) < 0:
            self._crowd.free(self)
        elif self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count what was not answered, and go on with a new connection."""
        del exc
        self._transport = None
        self._crowd.gone(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._crowd.lost(exchange)
        if not self._left:
            self._returning = asyncio.get_running_loop().create_task(self._return())

    def give_up_before(self, overdue_ns: int) -> None:
        """Break off if the answer is overdue."""
        if self._exchange is not None and self._exchange.sent_ns < overdue_ns:
            self._break_off()

    def _break_off(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _return(self) -> None:
        await self.connect()
        if self._transport is None:
            self.ask()  # the crowd has left meanwhile
        else:
            self._crowd.free(self)
