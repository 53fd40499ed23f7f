"""The owner's bounded inbox: batches wait here for their turn."""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from actors.wire import Envelope, Reply
from engine.alarm import Alarm
from engine.domain.commands import ReadPayments

#: Takes the reply to a batch, whether or not somebody still waits for it.
ReplyTo = Callable[[Reply], None]


class Waiting:
    """A batch in the inbox, when it came, and who takes the reply."""

    __slots__ = ("_reply_to", "arrived", "envelopes")

    def __init__(self, envelopes: list[Envelope], reply_to: ReplyTo) -> None:
        self.envelopes = envelopes
        self.arrived = time.monotonic()
        self._reply_to: ReplyTo | None = reply_to

    def is_routine(self) -> bool:
        """Tell whether it is only what the product asks every minute, whatever happens."""
        return all(type(envelope.command) is ReadPayments for envelope in self.envelopes)

    def answer(self, reply: Reply) -> None:
        """Hand the reply out, if there was none yet."""
        reply_to, self._reply_to = self._reply_to, None
        if reply_to is not None:
            reply_to(reply)


class Intake:
    """Batches in order of arrival, at most `commands_max` commands of them.

    A full inbox takes nothing more: an honest refusal now is worth more than an answer
    that comes after the client has left.
    """

    def __init__(self, commands_max: int) -> None:
        self.commands = 0
        self._commands_max = commands_max
        self._batches: deque[Waiting] = deque()
        self._something: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._enough = Alarm(self.poke)

    def offer(self, envelopes: list[Envelope], reply_to: ReplyTo) -> bool:
        """Take a batch in; False if it does not fit."""
        if self.commands + len(envelopes) > self._commands_max:
            return False
        self._batches.append(Waiting(envelopes, reply_to))
        self.commands += len(envelopes)
        self.poke()
        return True

    def poke(self) -> None:
        """Have `take` return although nothing came."""
        if self._something is not None and not self._something.done():
            self._something.set_result(None)

    async def take(self, commands_max: int, timeout_seconds: float) -> list[Waiting]:
        """Return what has gathered, waiting for the first batch if there is none.

        At least one batch, then as many as stay within `commands_max`; none after the
        timeout or a poke.
        """
        if not self._batches:
            # Once for each turn, so with fewer calls than an event and a timeout of asyncio's take.
            # Not `wait_for`, which in Python 3.11 may lose a cancellation.
            loop = self._loop = self._loop or asyncio.get_running_loop()
            self._something = loop.create_future()
            self._enough.set(timeout_seconds)
            try:
                await self._something
            finally:
                self._enough.off()
        taken: list[Waiting] = []
        commands = 0
        while self._batches:
            commands += len(self._batches[0].envelopes)
            if taken and commands > commands_max:
                break
            taken.append(self._batches.popleft())
            self.commands -= len(taken[-1].envelopes)
        return taken

    def answer_all(self, reply: Reply) -> None:
        """Give everyone who still waits the same reply and empty the inbox."""
        while self._batches:
            self._batches.popleft().answer(reply)
        self.commands = 0
