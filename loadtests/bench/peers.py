"""The peers, running, and what the benchmark asks them for beside the load."""

import http.client
import json
import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from msgspec import Struct

from engine.journal.embedded import EmbeddedStore
from loadtests.bench.processes import HOST, BenchFailed, free_port, listening
from loadtests.bench.servers import Onsale
from loadtests.peers import postgres

ECHO = "FastAPI echo"
RAW = "raw ASGI answer"
FOR_UPDATE = "PostgreSQL, SELECT … FOR UPDATE"
CONDITIONAL = "PostgreSQL, one conditional UPDATE"
SKIP_LOCKED = "PostgreSQL, SKIP LOCKED rows"
LUA = "Redis, a Lua script per hold"
#: The same without a framework before it, as ours is.
LUA_RAW = "Redis, a Lua script, raw ASGI"
#: The peer that calls its actor for each hold, tuned as well as it can be, and as written first.
RAY_CALL = "Ray call per hold, shared fsync"
RAY_CALL_PLAIN = "Ray call per hold, plain actor"
#: More than any peer sells in a round; `SKIP LOCKED` has a row for each.
_CAPACITY = 100_000
#: Names under which each process of peers serves them; see the modules.
_SQL = {"for-update": FOR_UPDATE, "conditional": CONDITIONAL, "skip-locked": SKIP_LOCKED}
_LUA, _LUA_RAW = {"lua": LUA}, {"lua": LUA_RAW}
_RAY = {"ray-shared": RAY_CALL, "ray-plain": RAY_CALL_PLAIN}


class Peer(Struct, frozen=True):
    """Where a peer is. One without a `way` answers whatever it is asked, and keeps nothing."""

    port: int
    way: str = ""

    def event_path(self, event_id: str) -> str:
        """Return the path of an event."""
        return f"{self.way and '/'}{self.way}/api/v1/events/{event_id}"

    def new_event(self, capacity: int = _CAPACITY) -> str:
        """Put an event on sale and return its id."""
        event_id = f"evt_{secrets.token_hex(6)}"
        if self.way:
            self.ask("PUT", self.event_path(event_id), {"capacity": capacity})
        return event_id

    def miscounted(self, event_id: str, granted: int, capacity: int = _CAPACITY) -> str | None:
        """Tell what is wrong with what is stored after so many grants of one unit."""
        if not self.way:
            return None
        found = self.ask("GET", self.event_path(event_id))
        expected = {"available": capacity - granted, "bookings": granted, "units": granted}
        return None if found == expected else f"{granted} grants, and stored is {found}"

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the peer for something beside the load, and return what it answers."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=60)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status not in (200, 201):
            raise BenchFailed(f"{method} {path} was answered {response.status} {answer!r}")
        return json.loads(answer)


class Peers(Struct, frozen=True):
    """Those that run, and why the others do not, by name."""

    running: dict[str, Peer]
    absent: dict[str, str]


@contextmanager
def only_echo(directory: Path) -> Iterator[Peers]:
    """Run the echo, which everything else is compared with."""
    with _ceiling(directory, "echo") as port:
        yield Peers({ECHO: Peer(port)}, {})


@contextmanager
def peers(directory: Path, service: Onsale) -> Iterator[Peers]:
    """Run all of them.

    Those that call actors use the store and the cluster of the service, those over
    PostgreSQL and Redis servers of their own.
    """
    with ExitStack() as started:

        def run(name: str, *arguments: str) -> int:
            port = free_port()
            command = [sys.executable, "-m", f"loadtests.peers.{name}", str(port), *arguments]
            log = directory / f"{name}-{port}.log"
            started.enter_context(listening(command, log, dict(os.environ), port))
            return port

        running = {
            ECHO: Peer(started.enter_context(_ceiling(directory, "echo"))),
            RAW: Peer(started.enter_context(_ceiling(directory, "raw"))),
        }
        store = EmbeddedStore(directory / "lua-store")
        started.callback(store.stop)
        store.start()
        data_dir = str(service.data_dir)
        ways = {
            run("lua", "route", store.url): _LUA,
            run("lua", "raw", store.url): _LUA_RAW,
            run("ray_calls", service.redis_url, service.ray_address, data_dir): _RAY,
        }
        reason = why_no_postgres()
        if reason is None:
            programs = postgres.programs()
            assert programs is not None
            socket = started.enter_context(postgres.running(programs))
            ways[run("sql", "route", str(socket))] = _SQL
        for port, names in ways.items():
            running |= {name: Peer(port, way) for way, name in names.items()}
        yield Peers(running, {} if reason is None else dict.fromkeys(_SQL.values(), reason))


def why_no_postgres() -> str | None:
    """Return what is missing for the peers over PostgreSQL, None if nothing is."""
    if postgres.programs() is None:
        return "no PostgreSQL: apt-get install postgresql (dnf install postgresql-server)"
    if find_spec("asyncpg") is None:
        return "no asyncpg: pip install 'onsale[bench]'"
    return None


@contextmanager
def _ceiling(directory: Path, name: str) -> Iterator[int]:
    """Run one that keeps nothing; yields its port."""
    port = free_port()
    command = [sys.executable, "-m", "loadtests.peers.ceilings", str(port), name]
    with listening(command, directory / f"{name}.log", dict(os.environ), port):
        yield port
