"""The machines of a drill: nodes of one Ray cluster, each of which can be killed as a whole."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from actors.ray_environment import NO_ACTORS
from tests.calls import GRANTED, Call
from tests.end_to_end.buyers import Buyers, on_sale
from tests.end_to_end.keeper import descendants, kill_all
from tests.end_to_end.service import (
    ROOT,
    START_SECONDS,
    Service,
    command_line,
    without_foreign,
)

#: From a node's death to an answer from another one it takes seven seconds, four failed checks
#: and a start; on a busy machine, a multiple of it.
_ELSEWHERE_SECONDS = 90.0


class Machine:
    """One node: what Ray runs for it, and the workers that are its children."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._raylet: int = told["raylet"]
        self._started: list[int] = told["processes"]

    def processes(self) -> list[int]:
        """Return the ids of its processes that have not ended."""
        below = [pid for pid in self._started for pid in (pid, *descendants(pid))]
        return [pid for pid in dict.fromkeys(below) if command_line(pid)]

    def kill(self) -> None:
        """Kill -9 all of it at once, as a power cut does."""
        _kill(self.processes())

    def kill_node(self) -> None:
        """Kill -9 the node's own process and its workers: a head's control service stays."""
        _kill([self._raylet, *descendants(self._raylet)])


class Machines:
    """A Ray cluster whose head takes no actors; `close` leaves nothing of it behind.

    After that it can be started again: another cluster, at the same address.

    Args:
        directory: of its token and log.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._port = _free_port()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None
        self.head: Machine | None = None
        self.workers: list[Machine] = []

    @property
    def environment(self) -> dict[str, str]:
        """Settings of a service that uses it."""
        token = self._directory / "ray-token"
        return {
            **ray_environment(),
            "RAY_ADDRESS": self._address,
            "RAY_AUTH_TOKEN_PATH": str(token),
        }

    def start(self, workers: int) -> None:
        """Start a head and so many others; on the same port whenever it is started."""
        path = self._directory / f"orders-{time.monotonic_ns()}"
        with (self._directory / "machines.log").open("ab") as log:
            self._keeper = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.end_to_end.keeper"),
                    *(sys.executable, "-m", "tests.end_to_end.ray_nodes"),
                    *(str(path), str(self._port)),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
                cwd=ROOT,
                env=without_foreign(os.environ) | ray_environment(),
            )
        self._orders = _connect(path)
        self.head = self.add(num_cpus=0, labels=NO_ACTORS)
        for _ in range(workers):
            self.workers.append(self.add())

    def add(self, **options: Any) -> Machine:
        """Start one more; `options` are those of `ray.cluster_utils.Cluster.add_node`."""
        assert self._orders is not None
        with self._orders.makefile("rw") as orders:
            orders.write(json.dumps(options) + "\n")
            orders.flush()
            told = json.loads(orders.readline())
        self._address = told["address"]
        return Machine(told)

    def close(self) -> None:
        """Kill everything at once."""
        if self._keeper is None:
            return
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.wait(30.0)
        self._keeper.stdout.close()
        if self._orders is not None:
            self._orders.close()
        self._keeper = self._orders = self.head = None
        self.workers.clear()


@contextlib.asynccontextmanager
async def events(service: Service, count: int) -> AsyncIterator[list[Buyers]]:
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(on_sale(service, 50_000)) for _ in range(count)]


async def owners_on(machine: Machine, everyone: list[Buyers]) -> list[Buyers]:
    """Return the buyers whose event's owner is on a machine."""
    here = set(machine.processes())
    owners = [(buyers, await buyers.service.owner(buyers.event_id)) for buyers in everyone]
    return [buyers for buyers, owner in owners if owner is not None and owner.pid in here]


async def served_again(everyone: list[Buyers], since: float) -> float:
    """Return after how long somebody got, at every event, what he had asked for `since`."""
    async with asyncio.timeout(_ELSEWHERE_SECONDS):
        while True:
            first = [
                min(
                    (c.answered_at for c in buyers.calls if c.asked_at > since and _granted(c)),
                    default=None,
                )
                for buyers in everyone
            ]
            if None not in first:
                return max(at for at in first if at is not None) - since
            await asyncio.sleep(0.1)


def winners(buyers: Buyers) -> int:
    return len({call.customer for call in buyers.calls if _granted(call)})


def _granted(call: Call) -> bool:
    return call.outcome == GRANTED


def ray_environment() -> dict[str, str]:
    """Return what operators are told to set on every machine."""
    lines = (ROOT / "deploy/ray.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def _connect(path: Path) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(START_SECONDS)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            line.connect(str(path))
        except OSError:
            assert time.monotonic() < deadline, "the machines did not start"
            time.sleep(0.05)
        else:
            return line


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _kill(pids: list[int]) -> None:
    for pid in pids:  # frozen first, so that none of them notices the others' end
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    kill_all(pids)
