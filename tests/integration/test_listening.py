"""Newcomers are taken in numbers, and nobody who has come is sent away at the end."""

import asyncio
import errno
import socket

import pytest

from gateway import listening
from gateway.listening import Listening


class Greeting(asyncio.Protocol):
    """Says hello."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"hello")
        transport.close()


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0), backlog=512) as sock:
        yield sock


def call_at(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname(), timeout=5.0)


async def greeted(client: socket.socket) -> bytes:
    with client:
        return await asyncio.to_thread(client.recv, 16)


async def test_many_are_taken_in_one_round_of_the_loop(listener):
    clients = [call_at(listener) for _ in range(40)]
    taken = Listening(listener, Greeting)
    rounds = 0
    while len(taken._opening) < 16:
        await asyncio.sleep(0)
        rounds += 1
        assert rounds < 10
    assert [await greeted(client) for client in clients] == [b"hello"] * 40
    taken.end()


async def test_at_the_end_those_who_have_come_are_taken_and_later_ones_refused(listener):
    address = listener.getsockname()
    taken = Listening(listener, Greeting)
    clients = [call_at(listener) for _ in range(100)]
    taken.end()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=5.0)
    assert [await greeted(client) for client in clients] == [b"hello"] * 100


async def test_without_files_left_it_waits_and_goes_on(listener, monkeypatch):
    monkeypatch.setattr(listening, "_PAUSE_SECONDS", 0.05)
    refusals = [OSError(errno.EMFILE, "Too many open files")] * 2

    class Exhausted:
        def __getattr__(self, name):
            return getattr(listener, name)

        def accept(self):
            if refusals:
                raise refusals.pop()
            return listener.accept()

    taken = Listening(Exhausted(), Greeting)
    assert await greeted(call_at(listener)) == b"hello"
    assert not refusals
    taken.end()


async def test_ended_while_it_waits_for_files_it_stays_ended(listener, monkeypatch):
    monkeypatch.setattr(listening, "_PAUSE_SECONDS", 0.0)

    class Exhausted:
        def __getattr__(self, name):
            return getattr(listener, name)

        def accept(self):
            raise OSError(errno.EMFILE, "Too many open files")

    Listening(Exhausted(), Greeting).end()
    await asyncio.sleep(0.05)
