"""What operators see of a running service: its logs, its metrics, its actors; and their switch."""

import asyncio
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.buyers import ORGANIZER, on_sale
from tests.end_to_end.service import ROOT, command_line, tokens
from tests.end_to_end.shop import Shop
from tests.exported import of_gateways, of_ray

NAME, HOLDER = "Anselmina Quackenbush-Zyx", "Thaddeus Wobblethorpe-Qux"
EMAIL = "anselmina.quackenbush@zyx-mail.example"
_PATIENCE_SECONDS = 60.0


def insist(found: Callable[[], Any], what: str) -> Any:
    """Return the first thing found; fail when there is none in time."""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while not (seen := found()):
        assert time.monotonic() < give_up, what
        time.sleep(0.5)
    return seen


def session_of(shop: Shop) -> Path:
    """Return the directory of the service's Ray session."""
    lines = [command_line(pid) for pid in shop.service.processes()]
    (session,) = {Path(found[1]) for line in lines if (found := _SESSION.search(line))}
    return session


_SESSION = re.compile(r"--session[-_]dir=(\S+)")


def logs(shop: Shop) -> dict[str, str]:
    """Return what every process of the service has said, Ray's included, by file."""
    files = [shop.service.log_file, *session_of(shop).glob("logs/**/*")]
    files += shop.service.directory.glob("**/*.log")
    return {str(file): file.read_text(errors="replace") for file in files if file.is_file()}


def of_ray_now(shop: Shop) -> dict[str, tuple[str, set[str]]]:
    """Return our metrics on Ray's pages now: kind and labels by name."""
    found: dict[str, tuple[str, set[str]]] = {}
    targets = json.loads((session_of(shop) / "prom_metrics_service_discovery.json").read_text())
    for target in targets[0]["targets"]:
        try:
            with urllib.request.urlopen(f"http://{target}/metrics", timeout=10) as answer:
                page = answer.read().decode()
        except OSError:
            continue  # of a part of Ray's head that this cluster does without
        for family in text_string_to_metric_families(page):
            if family.name.startswith("ray_onsale_"):
                name = f"{family.name}_total" if family.type == "counter" else family.name
                labels = {label for sample in family.samples for label in sample.labels}
                found[name] = (family.type, labels)
    return found


class Purchase:
    """A buyer of two tickets with a name that stands nowhere else."""

    def __init__(self, shop: Shop, event_id: str) -> None:
        self._shop = shop
        self._event_id = event_id
        self.token = tokens.make("buyer", "sub-7f3a", email=EMAIL)
        self.client_secret = ""
        self.booking_id = ""
        self.qr = ""

    async def make(self) -> None:
        headers = {"authorization": f"Bearer {self.token}", "x-request-id": "req-7f3a"}
        base = f"{self._shop.service.url}/api/v1"
        async with httpx.AsyncClient(base_url=base, headers=headers, timeout=30) as client:
            items = {"items": [{"ticket_type": "ga", "quantity": 2}]}
            held = await client.post(f"/events/{self._event_id}/holds", json=items)
            assert held.status_code == 201, held.text
            self.booking_id = held.json()["id"]
            contact = {"email": EMAIL, "name": NAME, "locale": "en"}
            path = f"/bookings/{self.booking_id}"
            opened = await client.post(
                f"{path}/payment-intent", json={"contact": contact, "holders": [NAME, HOLDER]}
            )
            assert opened.status_code == 201, opened.text
            self.client_secret = opened.json()["client_secret"]
            self._shop.sandbox.pay(opened.json()["payment_intent_id"])
            async with asyncio.timeout(_PATIENCE_SECONDS):
                while True:
                    shown = (await client.get(f"{path}/notifications")).json()
                    if [one["status"] for one in shown.get("data", ())] == ["SENT"]:
                        break
                    await asyncio.sleep(0.1)
            tickets = (await client.get(f"{path}/tickets")).json()["data"]
            self.qr = tickets[0]["qr"]
            scan = {"qr": self.qr, "gate": "North", "type": "entry", "nonce": "n1"}
            staff = tokens.make("staff", "tom", org=ORGANIZER)
            admitted = await client.post(
                f"/events/{self._event_id}/check-ins",
                json=scan,
                headers={"authorization": f"Bearer {staff}"},
            )
            assert admitted.json()["result"] == "admitted", admitted.text
            wrong = {"contact": {"email": EMAIL + " ", "name": NAME, "town": HOLDER}}
            refused = await client.post(f"{path}/payment-intent", json=wrong)
            assert refused.status_code == 422


@pytest.fixture
async def purchase(shop: Shop) -> Purchase:
    async with on_sale(shop.service, 100) as buyers:
        made = Purchase(shop, buyers.event_id)
        await made.make()
        for number in range(20):
            await buyers.hold(f"buyer-{number}", "1", 10)
    return made


def test_a_purchase_leaves_its_ids_in_the_logs_and_nothing_of_its_buyer(
    shop: Shop, purchase: Purchase
) -> None:
    told = logs(shop)
    of_workers = [name for name in told if "worker-" in name]
    assert len(of_workers) >= 4, "the test has lost the logs of Ray's workers"
    everything = "\n".join(told.values())
    assert purchase.booking_id in everything
    assert "req-7f3a" in everything
    secrets = {
        "name": NAME.rpartition(" ")[2],
        "holder": HOLDER.rpartition(" ")[2],
        "address": "quackenbush@",
        "token": purchase.token.rpartition(".")[2],
        "client secret": purchase.client_secret.rpartition("_secret_")[2],
        "qr": purchase.qr,
    }
    leaks = [
        f"{what} in {name}"
        for name, text in told.items()
        for what, secret in secrets.items()
        if secret.lower() in text.lower()
    ]
    assert leaks == []
    lines = shop.service.log_file.read_text(errors="replace").splitlines()
    requests = [json.loads(line) for line in lines if line.startswith("{") and '"request"' in line]
    mine = [one for one in requests if one.get("booking_id") == purchase.booking_id]
    assert mine
    assert {one["request_id"] for one in mine} == {"req-7f3a"}
    assert "/bookings/{booking_id}/payment-intent" in mine[0]["route"]


def test_workers_write_nothing_but_json(shop: Shop, purchase: Purchase) -> None:
    files = [name for name in logs(shop) if re.search(r"worker-.*\.err$", name)]
    said = [line for name in files for line in Path(name).read_text().splitlines()]
    ours = [line for line in said if not line.startswith(":")]  # Ray's own marks
    assert ours
    assert [line for line in ours if not line.startswith("{")] == []
    assert all("event" in json.loads(line) for line in ours)


@pytest.mark.drill
def test_what_is_documented_is_what_is_exported(shop: Shop, purchase: Purchase) -> None:
    """Whatever a purchase must leave is there; nothing is there that is not documented."""
    documented, rare = of_ray(), set(of_ray()) - MUST
    give_up = time.monotonic() + 2 * _PATIENCE_SECONDS
    shown = of_ray_now(shop)
    while MUST - shown.keys() and time.monotonic() < give_up:
        time.sleep(1.0)  # Ray's processes report every ten seconds
        shown = of_ray_now(shop)
    assert MUST - shown.keys() == set()
    assert shown.keys() <= MUST | rare
    # Ray leaves out what nobody has set for 20 s: alerts would end while what they tell of goes on.
    time.sleep(30.0)
    assert MUST - of_ray_now(shop).keys() == set()
    for name, (kind, labels) in shown.items():
        assert kind == documented[name][0], name
        added = {"Component", "Version", "SessionName", "NodeAddress", "WorkerId", "JobId", "le"}
        ours = {label for label in labels - added if not label.startswith("otel_")}
        assert ours <= set(documented[name][1]), name
    with urllib.request.urlopen(f"{shop.service.url}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    exported = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in text_string_to_metric_families(page)
        if family.name.startswith("onsale_")
    }
    assert exported == set(of_gateways())
    for secret in (purchase.booking_id, "sub-7f3a", NAME, EMAIL):
        assert secret not in page


#: What a purchase, an admission and a sold-out event leave on Ray's pages.
MUST = {
    f"ray_onsale_{name}"
    for name in (
        "owner_holds_total",
        "owner_turn_commands",
        "owner_inbox_commands",
        "owner_append_seconds",
        "owner_stall_seconds",
        "owner_halted",
        "invariant_violations",
        "bookings_confirmed_total",
        "revenue_minor_units_total",
        "booking_seconds",
        "payment_seconds",
        "tickets_admitted_total",
        "stripe_wait_seconds",
        "stripe_call_seconds",
        "reconciled_timestamp_seconds",
        "messages_handled_total",
        "letters",
        "letters_ended_total",
        "letter_delay_seconds",
        "warden_watched",
    )
}


def test_every_actor_is_shown_by_name_and_by_what_it_is_for(shop: Shop, purchase: Purchase) -> None:
    token = (shop.service.directory / "ray-token").read_text().strip()
    request = urllib.request.Request(
        f"{shop.service.runtime.dashboard_url}/logical/actors",
        headers={"authorization": f"Bearer {token}"},
    )

    def listed() -> dict[str, str]:
        with urllib.request.urlopen(request, timeout=10) as answer:
            actors = json.load(answer)["data"]["actors"].values()
        return {one["name"]: one["reprName"] for one in actors if one["state"] == "ALIVE"}

    def complete() -> dict[str, str] | None:
        found = listed()
        return found if all(found.values()) else None

    shown = insist(complete, "an actor has no representation")
    assert "" not in shown
    assert shown["warden"] == "Warden"
    assert shown["back-office:0"] == "BackOffice(0)"
    assert [shown[name] for name in shown if name.startswith("payments:")] == ["Payments"]
    owners = {name.partition(":")[2]: shown[name] for name in shown if name.startswith("event:")}
    assert owners
    assert all(representation == f"EventOwner({event})" for event, representation in owners.items())


async def test_top_shows_the_sale_and_a_stop_reaches_every_gateway(shop: Shop) -> None:
    def onsale(*arguments: str) -> str:
        environment = {**shop.service._environment, "COLUMNS": "200"}
        ran = subprocess.run(
            [sys.executable, "-m", "gateway.cli.main", *arguments],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    async with on_sale(shop.service, 1_000) as buyers:
        await buyers.held("ann", "1", 3)

        def shown_as_sold() -> bool:
            lines = onsale("top", "--once").splitlines()
            return any("997" in line.split() for line in lines if line.startswith(buyers.event_id))

        await asyncio.to_thread(insist, shown_as_sold, "the three units held are not shown")
        try:
            onsale("stop", "--reason", "a drill", "--by", "drill")
            await asyncio.sleep(1.0)
            refused = [await buyers.hold(f"b{number}", "1") for number in range(20)]
            assert {call.code for call in refused} == {"sales_stopped"}
        finally:
            onsale("go", "--reason", "the drill is over", "--by", "drill")
        await asyncio.sleep(1.0)
        await buyers.held("bob", "1")
        newest = json.loads(onsale("changes", "--json", "--limit", "1"))
        assert (newest["who"], newest["action"]) == ("drill", "go")
