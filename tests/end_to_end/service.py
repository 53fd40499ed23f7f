"""A whole service as its operator runs it: `onsale up`, in processes of its own."""

import asyncio
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from actors.wire import Health, decode_health
from engine.journal.catalogue import Catalogue
from engine.journal.connect import connect
from gateway.auth import Tokens
from gateway.cli.surroundings import Runtime, is_ready, running
from gateway.settings import LOOPBACK_SECRET
from tests.end_to_end.keeper import descendants, kill_all

ROOT = Path(__file__).parents[2]
#: A start takes 6 s on an idle machine, and three times as long on a busy one.
START_SECONDS = 90.0
_POLL_SECONDS = 0.02
#: `make drill` has idle owners stay: one that rests trims its journal, and long drills read it
#: whole.
_IDLE_SECONDS = os.environ.get("ONSALE_DRILL_IDLE_SECONDS", "15")
_FOREIGN = ("ONSALE_", "RAY_", "STRIPE_", "PROMETHEUS_")

tokens = Tokens(LOOPBACK_SECRET)


class Service:
    """One service over one data directory.

    It may be stopped, killed as a whole or in parts, and started again. `close` leaves
    nothing of it behind; should the test run itself be killed, its keeper does the same.

    Args:
        directory: of its data; logs are kept there too.
        dashboard: whether its Ray has one, which takes longer to start than all the rest.
        environment: settings, over those that every drill uses.
        store_url: where the test reaches the store itself, if not as the service does.
    """

    def __init__(
        self,
        directory: Path,
        *,
        gateways: int = 1,
        dashboard: bool = False,
        environment: Mapping[str, str] | None = None,
        store_url: str | None = None,
    ) -> None:
        self.directory = directory
        self._arguments = ["--gateways", str(gateways)]
        self._arguments.append("--dashboard" if dashboard else "--no-dashboard")
        self._environment = without_foreign(os.environ) | {
            "ONSALE_DATA_DIR": str(directory),
            "ONSALE_RATE_LIMITS": "off",
            # Owners of drills that are over would sit beside the next ones, awake.
            "ONSALE_IDLE_SECONDS": _IDLE_SECONDS,
            **(environment or {}),
        }
        self._store_url = store_url
        self._keepers: list[subprocess.Popen[bytes]] = []
        self._pid = 0
        self.runtime = Runtime(0, "", "", "", None, "")

    # -- as a whole ----------------------------------------------------------------

    def start(self, port: int = 0) -> None:
        """Start it and return once it is ready; on a free port unless one is given."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            up = [sys.executable, "-m", "gateway.cli.main", "up", "--port", str(port)]
            keeper = subprocess.Popen(
                [sys.executable, "-m", "tests.end_to_end.keeper", *up, *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                # What kills the test and its group must not kill the keeper.
                start_new_session=True,
                cwd=ROOT,
                env=self._environment,
            )
        self._keepers.append(keeper)
        self._pid = self._hear("pid", 30.0)
        self._await_ready()

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            found = running(self.directory)
            if found is not None and found.pid == self._pid and is_ready(found.url):
                self.runtime = found
                return
            assert self.alive(), f"the service did not start:\n{self.log()}"
            assert time.monotonic() < deadline, f"the service is not ready:\n{self.log()}"
            time.sleep(_POLL_SECONDS)

    def ask_to_stop(self) -> None:
        os.kill(self._pid, signal.SIGTERM)

    def wait(self, seconds: float = 30.0) -> int:
        """Return the status with which `onsale up` ends."""
        return self._hear("status", seconds)

    def stop(self) -> None:
        """Stop it in good order."""
        self.ask_to_stop()
        status = self.wait()
        assert status == 0, f"it ended with status {status}:\n{self.log()}"

    def cut_power(self) -> None:
        """Kill all its processes at once."""
        pids = self.processes()
        for pid in pids:  # frozen first, so that none of them notices the others' end
            os.kill(pid, signal.SIGSTOP)
        kill_all(pids)
        self.close()

    def kill_supervisor(self) -> None:
        """Kill `onsale up` itself and nothing else."""
        os.kill(self._pid, signal.SIGKILL)
        self.wait()

    def close(self) -> None:
        """End whatever is left of it."""
        for keeper in self._keepers:
            assert keeper.stdin is not None
            assert keeper.stdout is not None
            keeper.stdin.close()
            keeper.wait(30.0)
            keeper.stdout.close()
        self._keepers.clear()

    # -- its parts -----------------------------------------------------------------

    @property
    def url(self) -> str:
        return self.runtime.url

    @property
    def store_url(self) -> str:
        return self._store_url or self.runtime.redis_url

    @property
    def log_file(self) -> Path:
        return self.directory / "service.log"

    def log(self) -> str:
        """Return the end of what it has said."""
        return self.log_file.read_text(errors="replace")[-5_000:]

    def alive(self) -> bool:
        return self._pid in self.processes()

    def processes(self) -> list[int]:
        """Return the ids of all processes that came of it and have not ended."""
        return [pid for keeper in self._keepers for pid in descendants(keeper.pid)]

    def gateways(self) -> list[int]:
        return [pid for pid in self.processes() if "gateway.server" in command_line(pid)]

    def store(self) -> int:
        (pid,) = self._stores()
        return pid

    def _stores(self) -> list[int]:
        return [pid for pid in self.processes() if "valkey-server" in command_line(pid)[:200]]

    def store_file(self) -> Path:
        """Return the file that the embedded store is appending to."""
        return max(self.directory.glob("valkey/appendonlydir/*.incr.aof"), key=_modified_at)

    def fill_disk(self, file_bytes: int) -> None:
        """Let no file of the store grow beyond this size, however often it is started again."""
        # The supervisor first: a store that it starts meanwhile has the limit from it.
        for pid in (self._pid, self.store()):
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (file_bytes, hard))

    def free_disk(self) -> None:
        """Take the limit of `fill_disk` back; the store may be gone at this moment."""
        for pid in (self._pid, *self._stores()):
            with suppress(ProcessLookupError):
                _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))

    async def kill_owner(self, event_id: str) -> Health:
        """Kill -9 the event's owner, once it has one that lives; return who that was."""
        async with asyncio.timeout(30.0):
            while True:
                owner = await self.owner(event_id)
                # A claim outlives the claimant: the one that is named may be dead already.
                if owner is not None and "ray::" in command_line(owner.pid):
                    os.kill(owner.pid, signal.SIGKILL)
                    return owner
                await asyncio.sleep(_POLL_SECONDS)

    async def successor(self, event_id: str, of: Health, seconds: float = 30.0) -> Health:
        """Return who claims the event's journal after `of`."""
        async with asyncio.timeout(seconds):
            while True:
                owner = await self.owner(event_id)
                if owner is not None and owner.incarnation != of.incarnation:
                    return owner
                await asyncio.sleep(_POLL_SECONDS)

    # -- past it -------------------------------------------------------------------

    @asynccontextmanager
    async def catalogue(self) -> AsyncIterator[Catalogue]:
        async with connect(self.store_url) as client:
            yield Catalogue(client)

    async def owner(self, event_id: str) -> Health | None:
        """Return who claimed the event's journal last."""
        async with self.catalogue() as catalogue:
            claimant = await catalogue.claimant(event_id)
        return None if claimant is None else decode_health(claimant)

    def _hear(self, name: str, seconds: float) -> int:
        """Return what the keeper says next; it should be under this name."""
        said_by = self._keepers[-1].stdout
        assert said_by is not None
        readable, _, _ = select.select([said_by], [], [], seconds)
        assert readable, f"no {name} after {seconds} s:\n{self.log()}"
        said: dict[str, int] = json.loads(said_by.readline())
        return said[name]


def without_foreign(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what somebody has set for another service."""
    return {name: value for name, value in environment.items() if not name.startswith(_FOREIGN)}


def command_line(pid: int) -> str:
    """Return how a process was called; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _modified_at(path: Path) -> int:
    return path.stat().st_mtime_ns


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has to itself or shares."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def until(
    condition: Callable[[], bool], seconds: float, what: str, poll_seconds: float = _POLL_SECONDS
) -> float:
    """Return after how many seconds it was so; fail if it is not so in time."""
    began = time.monotonic()
    while not condition():
        waited = time.monotonic() - began
        assert waited < seconds, f"{what}: not after {waited:.1f} s"
        await asyncio.sleep(poll_seconds)
    return time.monotonic() - began
