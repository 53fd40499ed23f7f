"""`onsale audit` beside a Stripe sandbox: the journal's money against Stripe's own books."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from engine.journal.embedded import EmbeddedStore
from tests.in_process import SECRET
from tests.paying import Shop

PROGRAM = (
    "import gateway.cli.stripes_books as books; books.AUDIT_NEWS_SECONDS = {seconds}; "
    "from gateway.cli.main import app; app()"
)


class Agreeing(BaseHTTPRequestHandler):
    """A service whose own audit finds nothing wrong."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"agree": True, "violations": []}).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def service_url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Agreeing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def runtime(
    tmp_path: Path, service_url: str, store: EmbeddedStore, shop: Shop
) -> dict[str, str | int | None]:
    return {
        "pid": os.getpid(),
        "url": service_url,
        "redis_url": store.url,
        "ray_address": "",
        "dashboard_url": None,
        "durability": "",
        "stripe_sandbox_url": shop.sandbox.url,
    }


async def audit(
    directory: Path, runtime: dict, event_id: str, seconds: float = 0.2
) -> tuple[int, dict]:
    """Return the status and the report; differences may last for so long."""
    (directory / "runtime.json").write_text(json.dumps(runtime))
    environment = {"ONSALE_DATA_DIR": str(directory), "ONSALE_AUTH_SECRET": SECRET}
    run = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", PROGRAM.format(seconds=seconds), "audit", event_id],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout, run.stderr
    return run.returncode, json.loads(run.stdout)


async def test_what_stripe_gave_back_unheard_is_a_violation_until_it_is_heard_of(
    shop: Shop, runtime: dict, tmp_path: Path
) -> None:
    event_id = await shop.onsale.event(capacity=10)
    booking_id, intent_id = await shop.bought(event_id, ga=2)
    await shop.bought(await shop.onsale.event(capacity=10), ga=1)
    await shop.opened(await shop.held(event_id, "bob"), "bob")

    status, report = await audit(tmp_path, runtime, event_id)
    assert (status, report["agree"], report["violations"]) == (0, True, [])
    assert report["stripe"] == {"intents": 2, "captured": 9_000, "refunded": 0, "under_way": 1}

    async with shop.sandbox.client() as client:
        await client.v1.refunds.create_async({"payment_intent": intent_id})
    status, report = await audit(tmp_path, runtime, event_id)
    assert (status, report["agree"]) == (1, False)
    assert report["violations"] == [f"I7: {booking_id} (CONFIRMED) gave 0 back, Stripe 9000"]

    late = asyncio.create_task(audit(tmp_path, runtime, event_id, seconds=30.0))
    await shop.deliver()
    assert (await late)[0] == 0, "news on their way are waited for"


async def test_a_sandbox_that_does_not_answer_is_not_taken_for_agreement(
    shop: Shop, runtime: dict, tmp_path: Path
) -> None:
    event_id = await shop.onsale.event(capacity=10)
    runtime["stripe_sandbox_url"] = "http://127.0.0.1:9"

    status, report = await audit(tmp_path, runtime, event_id)

    assert (status, report["agree"]) == (1, False)
    assert "not compared with Stripe's books" in report["violations"][0]


async def test_with_an_account_at_stripe_itself_there_are_no_books_to_compare(
    shop: Shop, runtime: dict, tmp_path: Path
) -> None:
    event_id = await shop.onsale.event(capacity=10)
    runtime["stripe_sandbox_url"] = None

    status, report = await audit(tmp_path, runtime, event_id)

    assert (status, report["stripe"]) == (0, None)
