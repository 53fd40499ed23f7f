"""A real mail server in a process of its own, which a test starts, kills and gives orders.

    python -m tests.end_to_end.mail_server PORT DIRECTORY

What it has taken stands in `mails.jsonl` of the directory before its sender is told so. It
reads its orders there before each answer, and ends with its standard input.
"""

# ruff: noqa: ARG002 - handlers take what the server gives them

import asyncio
import email
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.policy import default
from pathlib import Path

import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session
from msgspec import Struct
from msgspec.structs import replace

_START_SECONDS = 20.0
_POLL_SECONDS = 0.02


class Orders(Struct, frozen=True):
    """What the server does.

    Attributes:
        refused: addresses that it has never heard of.
        greylisted: addresses that it puts off the first time.
        answers_after_seconds: from taking a mail to saying so.
        silent: it takes mails and does not say so, while this is true.
    """

    refused: tuple[str, ...] = ()
    greylisted: tuple[str, ...] = ()
    answers_after_seconds: float = 0.0
    silent: bool = False


class Mail(Struct, frozen=True):
    """A mail that was taken."""

    recipient: str
    message_id: str
    subject: str
    attachments: tuple[str, ...]


class MailServer:
    """The server as a test has it; it keeps its port over restarts.

    Args:
        directory: of its orders and of what it has taken.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._taken = directory / "mails.jsonl"
        self._taken.touch()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port: int = probe.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self.orders = Orders()
        self.order()

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self._port}"

    def order(self, **orders: object) -> None:
        """Change its orders from now on."""
        self.orders = replace(self.orders, **orders)
        fresh = self._directory / "orders.new"
        fresh.write_bytes(msgspec.json.encode(self.orders))
        fresh.replace(_orders_file(self._directory))

    @contextmanager
    def ordered(self, **orders: object) -> Iterator[None]:
        """Change its orders for the length of a block."""
        before = self.orders
        self.order(**orders)
        try:
            yield
        finally:
            self.order(**msgspec.structs.asdict(before))

    def mails(self) -> list[Mail]:
        """Return what it has taken, the oldest first."""
        lines = self._taken.read_bytes().split(b"\n")[:-1]
        return [msgspec.json.decode(line, type=Mail) for line in lines]

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._process is not None:
            return
        command = [sys.executable, "-m", "tests.end_to_end.mail_server"]
        self._process = subprocess.Popen(
            [*command, str(self._port), str(self._directory)],
            stdin=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._listens():
            assert self._process.poll() is None, "the mail server has ended"
            assert time.monotonic() < deadline, "the mail server does not listen"
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End it as a power cut would, with every connection."""
        if self._process is not None:
            process, self._process = self._process, None
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.stdin is not None
            process.stdin.close()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


def _orders_file(directory: Path) -> Path:
    return directory / "orders.json"


# -- in its own process ------------------------------------------------------------------


class _Handler:
    """Answers as it is ordered."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._taken = os.open(directory / "mails.jsonl", os.O_WRONLY | os.O_APPEND)
        self._met: set[str] = set()

    def _orders(self) -> Orders:
        return msgspec.json.decode(_orders_file(self._directory).read_bytes(), type=Orders)

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        orders = self._orders()
        if address in orders.refused:
            return f"550 5.1.1 <{address}> nobody of this name"
        if address in orders.greylisted and address not in self._met:
            self._met.add(address)
            return f"450 4.2.0 <{address}> greylisted, come back"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        read = email.message_from_bytes(content, policy=default)
        attachments = tuple(part.get_content_type() for part in read.iter_attachments())
        told = str(read["Message-ID"]), str(read["Subject"])
        mail = Mail(envelope.rcpt_tos[0], *told, attachments)
        os.write(self._taken, msgspec.json.encode(mail) + b"\n")
        await asyncio.sleep(self._orders().answers_after_seconds)
        while self._orders().silent:  # noqa: ASYNC110 - it is for another process
            await asyncio.sleep(_POLL_SECONDS)
        return "250 OK"


async def _serve(port: int, directory: Path) -> None:
    loop = asyncio.get_running_loop()
    handler = _Handler(directory)
    factory: Callable[[], SMTP] = lambda: SMTP(handler, hostname="localhost", loop=loop)  # noqa: E731
    server = await loop.create_server(factory, "127.0.0.1", port)
    async with server:
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
