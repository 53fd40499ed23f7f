"""The postman: sees every message through to its reader, or to its end.

At least once: the fate of a letter is noted after it was handed over, so that whoever dies
in between leaves it to be sent again, under the same Message-ID.
"""

import asyncio
import random
import time
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import structlog
from msgspec import Struct

from actors.back_office.channels import Channel, ChannelAway, Refused, TryLater
from actors.back_office.receipts import Receipts, Tell
from actors.back_office.writing import Ask, Moot, Papers, write
from actors.measures import LETTER_DELAY_SECONDS, LETTERS_ENDED, Meter, Unmetered
from engine.back_office_limits import (
    POST_AT_ONCE_MAX,
    POST_ATTEMPTS_MAX,
    POST_AWAY_SECONDS,
    POST_LEASE_MS,
    POST_PAUSE_FACTOR,
    POST_PAUSE_SECONDS,
    POST_POLL_SECONDS,
    POST_STRAYS_SECONDS,
)
from engine.domain.event import Event
from engine.store.contract import BackOffice, Contact, Message, StoreAway

log = structlog.get_logger(__name__)

#: Up to so much of a pause is added to it by chance, so that what failed together does not
#: come back together.
_JITTER = 0.25
_NO_ADDRESS = "no address"


class _Sent(Struct, frozen=True):
    """A letter that `provider` took."""

    message: Message
    provider: str


class _Failed(Struct, frozen=True):
    """A letter that nobody took; `retry_ms` None: and nobody will."""

    message: Message
    error: str
    retry_ms: int | None


class _NotNeeded(Struct, frozen=True):
    """A letter that nobody is to get any more, which is nobody's fault."""

    message: Message
    reason: str


#: What has become of a letter.
_Fate = _Sent | _Failed | _NotNeeded


class _Known(Struct, frozen=True):
    """What the books said of a message's event and reader when it was taken."""

    event: Event | None
    contact: Contact | None


class Postman:
    """Sends what is due.

    Several may work beside each other under names of their own: the books give each message
    to one of them.

    Args:
        store: the back office's books.
        channels: by which letters go, by name.
        papers: draws what goes with them.
        tell: tells owners of confirmations that were handed over; see `receipts.Tell`.
        ask: asks owners how a booking stands; see `writing.Ask`.
        worker: name of this postman; the same after a restart, and nobody else's.
        now_ms: Unix milliseconds.
        chance: numbers from 0 to 1.
        meter: takes what is measured.
    """

    def __init__(  # noqa: PLR0913 - each differs between a cluster and a test
        self,
        store: BackOffice,
        channels: Mapping[str, Channel],
        papers: Papers,
        tell: Tell,
        ask: Ask,
        worker: str,
        *,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        chance: Callable[[], float] = random.random,
        meter: Meter | None = None,
    ) -> None:
        self._meter = meter or Unmetered()
        self._store = store
        self._channels = channels
        self._papers = papers
        self._ask = ask
        self._receipts = Receipts(store, tell)
        self._worker = worker
        self._now_ms = now_ms
        self._chance = chance
        #: The channel of each message in hand.
        self._in_hand: dict[int, str] = {}
        #: Channels that letters wait for and that are not set.
        self._strays: tuple[str, ...] = ()
        self._away_until: dict[str, float] = {}
        self._fates: list[_Fate] = []
        self._fated = asyncio.Event()
        self._poked = asyncio.Event()

    def poke(self) -> None:
        """Say that there is something new."""
        self._poked.set()

    async def work(self) -> None:
        """Work until cancelled, through outages of the database and of channels.

        Raises:
            ExceptionGroup: a mistake in here; what was in hand is handed out again.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._note_fates())
            tasks.create_task(self._receipts.work())
            tasks.create_task(self._look_for_strays())
            while True:
                await self._begin(tasks)
                with suppress(TimeoutError):
                    async with asyncio.timeout(POST_POLL_SECONDS):
                        await self._poked.wait()

    async def leave(self) -> None:
        """Leave to the others what this one has taken, once its work has been cancelled.

        What was on its way may come again, under the same Message-ID. If the books are away,
        it is nobody else's for POST_LEASE_MS.
        """
        with suppress(StoreAway):
            at_most = dict.fromkeys((*self._channels, *self._strays), POST_AT_ONCE_MAX)
            await self._store.due(self._worker, self._now_ms(), 0, at_most)

    # -- taking --------------------------------------------------------------------

    async def _begin(self, tasks: asyncio.TaskGroup) -> None:
        """Begin with what is due, as far as there are places."""
        self._poked.clear()
        # What ends while the books are asked may still stand there as due.
        in_hand = dict(self._in_hand)
        at_most = self._at_most()
        if not at_most:
            return
        try:
            found = await self._store.due(self._worker, self._now_ms(), POST_LEASE_MS, at_most)
            begun = _fitting(found, in_hand, at_most)
            known = await self._look_up(begun) if begun else {}
        except StoreAway as error:
            log.warning("back_office_unreachable", error=str(error))
            return
        for message in begun:
            self._in_hand[message.message_id] = message.channel
            tasks.create_task(self._see_to(message, known.get(message.message_id)))

    def _at_most(self) -> dict[str, int]:
        """Return how many letters may be in hand of each channel that has places for more.

        Each channel has its own: a slow one keeps letters from no other. One that was away
        has a single place, to see whether it is there again.
        """
        in_hand = Counter(self._in_hand.values())
        at_most = {
            channel: 1 if channel in self._away_until else POST_AT_ONCE_MAX
            for channel in (*self._channels, *self._strays)
            if not self._is_away(channel)
        }
        return {
            channel: limit for channel, limit in at_most.items() if in_hand[channel] <= limit // 2
        }

    async def _look_for_strays(self) -> None:
        """Take up letters of channels that are not set any more: they have to end, too."""
        while True:
            try:
                waiting = await self._store.pending_channels()
            except StoreAway as error:
                log.warning("back_office_unreachable", error=str(error))
            else:
                self._strays = tuple(one for one in waiting if one not in self._channels)
                if self._strays:
                    self._poked.set()
            await asyncio.sleep(POST_STRAYS_SECONDS)

    async def _look_up(self, messages: Sequence[Message]) -> dict[int, _Known]:
        """Ask the books once for what several messages need, and return it by their ids.

        Nothing where one of them cannot be read: each is looked up by itself then.
        """
        try:
            contacts = await self._store.contacts([message.booking_id for message in messages])
            events = {
                event_id: await self._store.event(event_id)
                for event_id in dict.fromkeys(message.event_id for message in messages)
            }
        except StoreAway:
            raise
        except Exception as error:
            if len(messages) == 1:
                raise
            log.warning("messages_looked_up_singly", error=type(error).__name__)
            return {}
        return {
            message.message_id: _Known(events[message.event_id], contacts.get(message.booking_id))
            for message in messages
        }

    def _is_away(self, channel: str) -> bool:
        return asyncio.get_running_loop().time() < self._away_until.get(channel, 0.0)

    # -- sending -------------------------------------------------------------------

    async def _see_to(self, message: Message, known: _Known | None) -> None:
        """Send one letter, and have its fate noted; or leave it as it was."""
        try:
            fate = await self._try(message, known)
        except ChannelAway as error:
            self._put_back(message, error.seconds or POST_AWAY_SECONDS, error.reason)
        except StoreAway as error:
            self._put_back(message, POST_POLL_SECONDS, f"the books are away: {error}")
        else:
            self._fates.append(fate)
            self._fated.set()
            if self._away_until.pop(message.channel, None) is not None:
                self._poked.set()

    async def _try(self, message: Message, known: _Known | None) -> _Fate:
        """Send one letter and return its fate. Raises ChannelAway, StoreAway."""
        try:
            return _Sent(message, await self._send(message, known))
        except (ChannelAway, StoreAway):
            raise
        except TryLater as error:
            return self._failed(message, error.reason, error.seconds or 0.0)
        except Refused as error:
            return self._given_up(message, error.reason)
        except Moot as error:
            log.info("message_moot", message_id=message.message_id, reason=str(error))
            return _NotNeeded(message, str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this message's trouble
            # What it says may name the reader: only where it happened is told.
            where = traceback.extract_tb(error.__traceback__)[-1]
            mistake = f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"
            log.error("message_failed", message_id=message.message_id, mistake=mistake)
            return self._failed(message, mistake, 0.0)

    async def _send(self, message: Message, known: _Known | None) -> str:
        if known is None:
            known = (await self._look_up([message]))[message.message_id]
        if known.contact is None:
            raise Moot(_NO_ADDRESS)
        channel = self._channels.get(message.channel)
        if channel is None:
            raise Refused(f"there is no channel {message.channel}")
        if known.event is None:
            raise LookupError(f"{message.event_id} is not in the books")
        tickets = await self._store.tickets(message.booking_id)
        letter = await write(message, known.event, known.contact, tickets, self._papers, self._ask)
        return await channel.send(letter)

    def _put_back(self, message: Message, seconds: float, reason: str) -> None:
        """Leave a letter as it was, and its channel alone: it is not the letter's fault.

        It stays due, and is nobody else's meanwhile.
        """
        if not self._is_away(message.channel):
            log.warning("channel_left_alone", channel=message.channel, reason=reason)
        self._away_until[message.channel] = asyncio.get_running_loop().time() + seconds
        del self._in_hand[message.message_id]

    def _failed(self, message: Message, error: str, seconds: float) -> _Failed:
        """Return the fate of a letter after an attempt that counts."""
        attempts = message.attempts + 1
        if attempts >= POST_ATTEMPTS_MAX:
            return self._given_up(message, error)
        pause = max(seconds, POST_PAUSE_SECONDS * POST_PAUSE_FACTOR ** (attempts - 1))
        pause *= 1 + self._chance() * _JITTER
        return _Failed(message, error, self._now_ms() + round(pause * 1_000))

    def _given_up(self, message: Message, error: str) -> _Failed:
        log.critical(
            "message_given_up",
            message_id=message.message_id,
            kind=message.kind.value,
            channel=message.channel,
            event_id=message.event_id,
            booking_id=message.booking_id,
            attempts=message.attempts + 1,
            reason=error,
        )
        return _Failed(message, error, None)

    # -- noting --------------------------------------------------------------------

    async def _note_fates(self) -> None:
        """Note what has become of letters, together what ends together."""
        try:
            while True:
                await self._fated.wait()
                await self._note()
        finally:
            # Letters that were taken are not sent again for nothing.
            with suppress(StoreAway):
                await self._note_once()

    async def _note(self) -> None:
        while self._fates:
            try:
                await self._note_once()
            except StoreAway as error:
                log.warning("back_office_unreachable", error=str(error))
                await asyncio.sleep(POST_POLL_SECONDS)
        self._fated.clear()

    async def _note_once(self) -> None:
        """Note what has ended by now; what is not noted stays in the list. Raises StoreAway."""
        sent: dict[str, list[_Sent]] = {}
        for fate in self._fates:
            if isinstance(fate, _Sent):
                sent.setdefault(fate.provider, []).append(fate)
        for provider, of_provider in sent.items():
            messages = [fate.message for fate in of_provider]
            ids = [message.message_id for message in messages]
            now_ms = self._now_ms()
            await self._store.sent(ids, provider, now_ms)
            self._is_noted(ids)
            self._count_sent(messages, now_ms)
            self._receipts.put([message for message in messages if message.brings_tickets])
        for fate in list(self._fates):
            if isinstance(fate, _Failed):
                await self._store.failed(fate.message.message_id, fate.error, fate.retry_ms)
                self._is_noted([fate.message.message_id])
                if fate.retry_ms is None:
                    self._count(fate, "given_up")
            elif isinstance(fate, _NotNeeded):
                await self._store.not_needed(fate.message.message_id, fate.reason)
                self._is_noted([fate.message.message_id])
                self._count(fate, "not_needed")

    def _count(self, fate: _Fate, end: str) -> None:
        self._meter.add(LETTERS_ENDED, 1, {"end": end, "channel": fate.message.channel})

    def _count_sent(self, messages: Sequence[Message], now_ms: int) -> None:
        for message in messages:
            self._meter.add(LETTERS_ENDED, 1, {"end": "sent", "channel": message.channel})
            if message.brings_tickets:
                delay_seconds = max(0, now_ms - message.created_ms) / 1_000
                self._meter.observe(LETTER_DELAY_SECONDS, delay_seconds)

    def _is_noted(self, message_ids: Sequence[int]) -> None:
        ended = set(message_ids)
        self._fates = [fate for fate in self._fates if fate.message.message_id not in ended]
        channels = {self._in_hand.pop(message_id) for message_id in ended}
        if channels & self._at_most().keys():
            self._poked.set()


def _fitting(
    found: Sequence[Message], in_hand: Mapping[int, str], at_most: Mapping[str, int]
) -> list[Message]:
    """Return what is not in hand yet, no more of a channel than it has places for."""
    places = Counter(at_most)
    places.subtract(in_hand.values())
    fitting = []
    for message in found:
        if message.message_id not in in_hand and places[message.channel] > 0:
            places[message.channel] -= 1
            fitting.append(message)
    return fitting
