"""The Stripe sandbox of a service that has no Stripe account: a process of its own."""

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import IO

from msgspec import Struct

_STOP_SECONDS = 5.0


class SandboxDied(Exception):
    """The sandbox did not start. Argument: what is known of it."""


class Account(Struct, frozen=True):
    """What it takes to use a Stripe account; `api_base` None is Stripe itself."""

    api_key: str
    api_base: str | None
    publishable_key: str
    webhook_secrets: tuple[str, ...]


class Sandbox:
    """A Stripe double over one data directory; no money moves.

    Args:
        directory: where its books are.
        service_url: of the service that gets its webhooks.
    """

    def __init__(self, directory: Path, service_url: str) -> None:
        self._directory = directory
        self._webhook_url = f"{service_url}/api/v1/stripe/events"
        self._secret = f"whsec_{secrets.token_hex(16)}"
        self._process: subprocess.Popen[str] | None = None
        self._log: IO[str] | None = None
        self._port = 0
        self.account = Account("", None, "", ())

    def start(self) -> None:
        """Start it, on the port it had before.

        Raises:
            SandboxDied: it did not start.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        if self._log is None:
            self._log = (self._directory / "sandbox.log").open("a")
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [
                *(sys.executable, "-m", "loadtests.stripe_sandbox", "--with-parent"),
                *("--port", str(self._port), "--data-dir", str(self._directory)),
                *("--webhook-url", self._webhook_url, "--webhook-secret", self._secret),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            # Ctrl-C in the terminal is for `onsale up`, which stops it last but the store.
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SandboxDied(f"it ended with status {self._process.wait()}")
        url: str = json.loads(line)["url"]
        self._port = int(url.rpartition(":")[2])
        self.account = Account("sk_test_sandbox", url, "pk_test_sandbox", (self._secret,))

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it; its books stay."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None
