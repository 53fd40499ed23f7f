"""Calls between two processes of one machine: over real sockets, with both kinds of loop."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
import uvloop

from actors import shortcut as module
from actors.contract import OwnerGone
from actors.shortcut import Answer, Reception, Shortcut, connect_shortcut
from actors.shortcuts import Place, Shortcuts
from engine.limits import SHORTCUT_MESSAGE_BYTES_MAX

_PATIENCE_SECONDS = 5.0


#: Gives the reply to a message.
_ReplyTo = Callable[[bytes], None]


def _echo(message: bytes, reply_to: _ReplyTo) -> None:
    reply_to(message[::-1])


def _nothing(_message: bytes, _reply_to: _ReplyTo) -> None:
    """Answer never."""


@asynccontextmanager
async def _reception(answer: Answer = _echo) -> AsyncIterator[str]:
    reception = Reception(answer)
    address = await reception.address()
    assert address is not None
    try:
        yield address
    finally:
        await reception.close()


async def _connected(address: str) -> Shortcut:
    return await connect_shortcut(address, lambda _: None, lambda _: None)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_each_call_gets_its_own_reply_whatever_the_order_of_answers() -> None:
    waiting: dict[int, _ReplyTo] = {}

    def answer(message: bytes, reply_to: _ReplyTo) -> None:
        waiting[message[0]] = reply_to

    async with _reception(answer) as address:
        shortcut = await _connected(address)
        calls = [asyncio.create_task(shortcut.call(bytes([number]))) for number in range(3)]
        await _until(lambda: len(waiting) == len(calls))
        for number in (2, 0, 1):
            waiting[number](b"%d" % number)
            assert await calls[number] == b"%d" % number
        shortcut.end()


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
async def test_messages_of_any_size_arrive_whole(size: int) -> None:
    async with _reception() as address:
        shortcut = await _connected(address)
        messages = [os.urandom(size) for _ in range(3)]
        replies = await asyncio.gather(*map(shortcut.call, messages))
        assert replies == [message[::-1] for message in messages]
        shortcut.end()


def test_uvloop_takes_it_too() -> None:
    async def whole_way() -> bytes:
        async with _reception() as address:
            shortcut = await _connected(address)
            reply = await shortcut.call(b"abc")
            shortcut.end()
            return reply

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(whole_way()) == b"cba"


async def test_whoever_waits_when_the_connection_ends_is_told() -> None:
    ended: list[Shortcut] = []
    async with _reception(_nothing) as address:
        shortcut = await connect_shortcut(address, lambda _: None, ended.append)
        call = asyncio.create_task(shortcut.call(b"x"))
        await asyncio.sleep(0.01)
        shortcut.end()
        with pytest.raises(ConnectionError):
            await call
        assert ended == [shortcut]
        assert shortcut.lost
        with pytest.raises(ConnectionError):
            await shortcut.call(b"y")


async def test_an_error_of_whoever_answers_ends_the_connection() -> None:
    def answer(_message: bytes, _reply_to: _ReplyTo) -> None:
        raise ValueError("not a batch")

    async with _reception(answer) as address:
        shortcut = await _connected(address)
        with pytest.raises(ConnectionError):
            await shortcut.call(b"x")


async def test_a_reply_to_somebody_who_has_left_is_dropped() -> None:
    waiting: list[_ReplyTo] = []

    async with _reception(lambda _message, reply_to: waiting.append(reply_to)) as address:
        leaving = await _connected(address)
        call = asyncio.create_task(leaving.call(b"x"))
        await _until(lambda: bool(waiting))
        leaving.end()
        with pytest.raises(ConnectionError):
            await call
        # The other end may learn of it only now, or by this.
        waiting[0](b"too late")
        staying = await _connected(address)
        call = asyncio.create_task(staying.call(b"y"))
        await _until(lambda: len(waiting) == 2)
        waiting[0](b"too late")
        waiting[1](b"in time")
        assert await call == b"in time"
        staying.end()


async def test_nobody_there_is_refused() -> None:
    async with _reception() as address:
        pass
    with pytest.raises(ConnectionError):
        await _connected(address)


async def test_processes_of_other_users_are_refused_at_both_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bytes] = []

    async with _reception(lambda message, _reply_to: asked.append(message)) as address:
        with monkeypatch.context() as patched:
            patched.setattr(module.os, "geteuid", lambda: os.getuid() + 1)
            with pytest.raises(ConnectionError):
                await _connected(address)
            # Whoever does not look at us is looked at by the reception.
            await _is_cut_off(address, struct.pack(">II", 1, 1) + b"x")
    assert asked == []


async def test_what_cannot_be_a_message_of_ours_ends_the_connection() -> None:
    async with _reception() as address:
        await _is_cut_off(address, struct.pack(">II", SHORTCUT_MESSAGE_BYTES_MAX + 1, 1))


async def test_silence_is_noticed_only_while_a_call_is_under_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "SHORTCUT_SILENCE_SECONDS", 0.03)
    frozen: list[_ReplyTo] = []

    def answer(message: bytes, reply_to: _ReplyTo) -> None:
        if message == b"slow":
            frozen.append(reply_to)
        else:
            reply_to(message)

    silences: list[Shortcut] = []
    async with _reception(answer) as address:
        shortcut = await connect_shortcut(address, silences.append, lambda _: None)
        await shortcut.call(b"fast")
        await asyncio.sleep(0.1)
        assert silences == []
        slow = asyncio.create_task(shortcut.call(b"slow"))
        await _until(lambda: bool(silences))
        (reply_to,) = frozen
        reply_to(b"slow")
        assert await slow == b"slow"
        shortcut.end()


class _LongWay:
    """An owner as it is found by Ray: somewhere, or gone."""

    def __init__(self, node: str, address: str | None) -> None:
        self.place: Place | None = (node, address)
        self.asked = 0

    async def ask(self, _event_id: str) -> Place:
        self.asked += 1
        await asyncio.sleep(0)
        if self.place is None:
            raise OwnerGone("dead")
        return self.place


async def test_an_owner_of_this_machine_is_found_once_for_all_who_ask_at_once() -> None:
    async with _reception() as address:
        way = _LongWay("here", address)
        shortcuts = Shortcuts(lambda: "here", way.ask)
        found = await asyncio.gather(*(shortcuts.find("evt_a") for _ in range(5)))
        assert len(set(found)) == 1
        assert found[0] is not None
        assert await found[0].call(b"ab") == b"ba"
        assert await shortcuts.find("evt_a") is found[0]
        assert way.asked == 1
        shortcuts.forget("evt_a")


@pytest.mark.parametrize("place", [("elsewhere", "\0x"), ("here", None)])
async def test_an_owner_elsewhere_has_none_until_it_is_forgotten(place: Place) -> None:
    way = _LongWay(*place)
    shortcuts = Shortcuts(lambda: "here", way.ask)
    assert await shortcuts.find("evt_a") is None
    assert await shortcuts.find("evt_a") is None
    assert way.asked == 1
    async with _reception() as address:
        way.place = ("here", address)
        shortcuts.forget("evt_a")
        assert await shortcuts.find("evt_a") is not None
        shortcuts.forget("evt_a")


async def test_an_owner_that_has_gone_is_looked_for_anew() -> None:
    async with _reception() as address:
        way = _LongWay("here", address)
        shortcuts = Shortcuts(lambda: "here", way.ask)
        first = await shortcuts.find("evt_a")
        assert first is not None
        first.end()
        await _until(lambda: first.lost)
    with pytest.raises(OwnerGone):
        await shortcuts.find("evt_a")
    async with _reception() as successor:
        way.place = ("here", successor)
        second = await shortcuts.find("evt_a")
        assert second is not None
        assert await second.call(b"ab") == b"ba"
        shortcuts.forget("evt_a")


@pytest.mark.parametrize("successor", [("elsewhere", "\0other"), None])
async def test_a_silent_owner_that_was_replaced_is_given_up(
    monkeypatch: pytest.MonkeyPatch, successor: Place | None
) -> None:
    monkeypatch.setattr(module, "SHORTCUT_SILENCE_SECONDS", 0.03)
    async with _reception(_nothing) as address:
        way = _LongWay("here", address)
        shortcuts = Shortcuts(lambda: "here", way.ask)
        shortcut = await shortcuts.find("evt_a")
        assert shortcut is not None
        call = asyncio.create_task(shortcut.call(b"x"))
        await _until(lambda: way.asked > 2)
        assert not call.done(), "it only takes long, and is still the one"
        way.place = successor
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(call, _PATIENCE_SECONDS)


async def _is_cut_off(address: str, sent: bytes) -> None:
    """Send something to a reception as a stranger, and see the connection end."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(address)
        stranger.setblocking(False)
        with suppress(ConnectionError):  # it may be cut off before, or without a farewell
            await loop.sock_sendall(stranger, sent)
            async with asyncio.timeout(_PATIENCE_SECONDS):
                assert await loop.sock_recv(stranger, 1) == b""
