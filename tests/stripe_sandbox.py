"""The Stripe sandbox for tests: a process of its own, ended by its id whatever happens.

    with running_sandbox(tmp_path, webhook_url=url) as sandbox:
        async with sandbox.client() as client:
            intent = await client.v1.payment_intents.create_async(...)
        sandbox.pay(intent.id)
        sandbox.faults({"kind": "webhook_drop", "times": 1})
        assert sandbox.books()["totals"]["captured"] == 4500

Payments by `pm_usBankAccount_success` and refunds of `pm_card_pendingRefund` end by themselves
after half a second; with `options=["--settle-seconds", "3600"]` the test ends them.

What speaks to it synchronously takes about a millisecond: an asynchronous test may do it.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from stripe import HTTPXClient, StripeClient

API_KEY = "sk_test_sandbox"
PUBLISHABLE_KEY = "pk_test_sandbox"
WEBHOOK_SECRET = "whsec_test"


class Refused(Exception):
    """The sandbox answered with an error: its status and Stripe's error object."""

    def __init__(self, status: int, error: dict[str, Any]) -> None:
        super().__init__(status, error)
        self.status = status
        self.error = error


class Sandbox:
    """A running sandbox.

    Args:
        options: of its command line; see `running_sandbox`.
    """

    api_key = API_KEY
    publishable_key = PUBLISHABLE_KEY
    webhook_secret = WEBHOOK_SECRET

    def __init__(self, options: Sequence[str]) -> None:
        self._options = list(options)
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.pid = 0

    def start(self) -> None:
        """Start it. The second time it takes the port of the first."""
        port = self.url.rpartition(":")[2] or "0"
        command = [sys.executable, "-m", "loadtests.stripe_sandbox", "--port", port]
        process = subprocess.Popen(
            [*command, "--with-parent", *self._options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._process = process
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"the sandbox ended with status {process.wait()}"
        told = json.loads(line)
        self.url, self.pid = told["url"], told["pid"]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int | None:
        """End it; return the status it ended with, None if it was not running."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.poll() is None:
            os.kill(process.pid, how)
        try:
            return process.wait(10)
        finally:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                pipe.close()

    def kill(self) -> None:
        """End it without a warning, as `kill -9` does."""
        self.stop(signal.SIGKILL)

    @asynccontextmanager
    async def client(self, key: str = API_KEY, **options: Any) -> AsyncIterator[StripeClient]:
        """Make a client of the real `stripe` package for this block."""
        # The package hands its form to httpx in a way that httpx wants to forget. pytest
        # puts the filters back after each test.
        warnings.filterwarnings("ignore", "Use 'content=<...>'", DeprecationWarning)
        http_client = HTTPXClient(timeout=10, verify_ssl_certs=False)
        options = {"max_network_retries": 0, "http_client": http_client, **options}
        try:
            yield StripeClient(key, base_addresses={"api": self.url}, **options)
        finally:
            await http_client.close_async()

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """Ask something of `/_sandbox/<path>`.

        Raises:
            Refused: it did not want to.
        """
        request = urllib.request.Request(
            f"{self.url}/_sandbox/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, json.load(error)["error"]) from None

    def pay(self, intent_id: str, payment_method: str = "pm_card_visa") -> dict[str, Any]:
        """Pay an intent, as a buyer's browser would; return the intent."""
        body = {"payment_method": payment_method}
        return self.control("POST", f"payment_intents/{intent_id}/pay", body)

    def authenticate(self, intent_id: str, outcome: str = "succeed") -> dict[str, Any]:
        """Answer 3-D Secure: `succeed` or `fail`; return the intent."""
        body = {"outcome": outcome}
        return self.control("POST", f"payment_intents/{intent_id}/authenticate", body)

    def settle(self, intent_id: str) -> dict[str, Any]:
        """End the processing of a payment now; return the intent."""
        return self.control("POST", f"payment_intents/{intent_id}/settle", {})

    def dispute(
        self, intent_id: str, reason: str = "fraudulent", amount: int | None = None
    ) -> dict[str, Any]:
        """Have the buyer ask the bank for the money, or so much of it; return the dispute."""
        body = {"reason": reason, "amount": amount}
        return self.control("POST", f"payment_intents/{intent_id}/dispute", body)

    def close_dispute(self, dispute_id: str, status: str) -> dict[str, Any]:
        """Decide a dispute: `won` or `lost`, seen from the merchant; return it."""
        return self.control("POST", f"disputes/{dispute_id}/close", {"status": status})

    def settle_refund(self, refund_id: str, status: str) -> dict[str, Any]:
        """Say what became of a refund: `succeeded` or `failed`; return it."""
        return self.control("POST", f"refunds/{refund_id}/settle", {"status": status})

    def resend(self, event_id: str, copies: int = 1) -> dict[str, Any]:
        """Send an event again to every endpoint, so many times; return it."""
        return self.control("POST", f"events/{event_id}/resend", {"copies": copies})

    def faults(self, *faults: dict[str, Any]) -> list[dict[str, Any]]:
        """Begin with these faults; return them with their ids. Form: `faults.Fault`."""
        return self.control("POST", "faults", list(faults))["faults"]

    def show_faults(self) -> list[dict[str, Any]]:
        """Return the faults that have not ended; `struck` says how often each has struck."""
        return self.control("GET", "faults")["faults"]

    def clear_faults(self) -> None:
        """End all faults."""
        self.control("DELETE", "faults")

    def books(self) -> dict[str, Any]:
        """Return the sandbox's own accounts."""
        return self.control("GET", "books")

    def reset(self) -> None:
        """Forget everything but the endpoints."""
        self.control("POST", "reset")


def ask(
    url: str, headers: dict[str, str] | None = None, body: str | None = None
) -> tuple[Any, Any]:
    """Ask without the package, as a browser does; return the answer and what its JSON says."""
    data = None if body is None else body.encode()
    request = urllib.request.Request(url, data, headers or {})
    try:
        with urllib.request.urlopen(request, timeout=5) as response:
            return response, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error, json.load(error)


def seen(url: str) -> str:
    """Return a page as a browser gets it."""
    request = urllib.request.Request(url, headers={"Accept": "text/html"})
    with urllib.request.urlopen(request, timeout=5) as response:
        return response.read().decode()


@contextmanager
def running_sandbox(
    directory: Path | None = None,
    *,
    webhook_url: str | None = None,
    seed: int = 0,
    options: Sequence[str] = (),
) -> Iterator[Sandbox]:
    """Run a sandbox on a free port; it ends with the block, or with this process.

    Args:
        directory: where it keeps its books; None keeps nothing over a restart.
        webhook_url: of an endpoint for all events; its secret is `WEBHOOK_SECRET`.
        seed: of all faults.
        options: more of its command line, as `--settle-seconds 0.1`.
    """
    words = ["--seed", str(seed), *options]
    if directory is not None:
        words += ["--data-dir", str(directory)]
    if webhook_url is not None:
        words += ["--webhook-url", webhook_url, "--webhook-secret", WEBHOOK_SECRET]
    sandbox = Sandbox(words)
    try:
        sandbox.start()
        yield sandbox
    finally:
        sandbox.stop(signal.SIGKILL)
