"""What operators and their machines ask: health, versions, metrics, problem pages, audit."""

import re
import time
from importlib.metadata import version

import pytest

from actors.contract import OwnerGone
from engine.journal.contract import Unavailable
from gateway.problems import KINDS
from gateway.routes import operations
from tests.in_process import BASE, InProcess

EVENTS = f"{BASE}/events"


async def test_a_live_process_says_so_without_touching_anything(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onsale.service, "catalogue", None)
    onsale.ray_answers = False
    answer = await onsale.get("/livez")
    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert answer.headers["content-type"].startswith("text/plain")


async def test_a_ready_gateway_says_what_it_has_found(onsale: InProcess) -> None:
    answer = await onsale.get("/readyz")
    assert (answer.status_code, answer.json()) == (
        200,
        {"redis": "ok", "ray": "ok", "gateway": "ok"},
    )


async def _away() -> None:
    raise Unavailable("ConnectionError: gone")


async def test_a_gateway_that_is_not_ready_names_everything_that_is_missing(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    onsale.ray_answers = False
    monkeypatch.setattr(onsale.service.catalogue, "ping", _away)
    onsale.service.stopping.set()
    answer = await onsale.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert 1 <= int(answer.headers["retry-after"]) <= 3
    assert set(answer.json()["parts"]) == {"redis", "ray", "gateway"}
    assert "ok" not in answer.json()["parts"].values()


async def test_a_cluster_that_does_not_answer_in_time_is_not_waited_for(
    onsale: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "_RAY_SECONDS", 0.05)
    app = onsale.app._inner
    monkeypatch.setattr(app.state, "ray_answers", lambda: time.sleep(0.2) or True)
    answer = await onsale.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["parts"]["ray"].endswith("in time")


async def test_the_versions_are_those_that_are_installed(onsale: InProcess) -> None:
    answer = await onsale.get("/version")
    assert answer.status_code == 200
    assert answer.json()["onsale"] == version("onsale")
    assert answer.json()["ray"] == version("ray")


async def test_the_metrics_count_holds_by_what_became_of_them(onsale: InProcess) -> None:
    async def counted(outcome: str) -> float:
        text = (await onsale.get("/metrics")).text
        found = re.search(rf'^onsale_holds_total{{outcome="{outcome}"}} (\S+)$', text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    outcomes = ("granted", "replayed", "not_enough", "unknown_ticket_type")
    before = {outcome: await counted(outcome) for outcome in outcomes}
    event_id = await onsale.event(capacity=1)
    await onsale.hold(event_id, "ann", "key", ga=1)
    await onsale.hold(event_id, "ann", "key", ga=1)
    await onsale.hold(event_id, "bob", ga=1)
    await onsale.hold(event_id, "bob", nope=1)
    for outcome in outcomes:
        assert await counted(outcome) - before[outcome] == 1, outcome


async def test_the_metrics_name_no_buyer_and_no_token(onsale: InProcess) -> None:
    booking = await onsale.held(await onsale.event("the-organizer"), "the-buyer", ga=1)
    answer = await onsale.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    for secret in ("the-buyer", "the-organizer", booking["id"], booking["event_id"], "eyJ"):
        assert secret not in answer.text


@pytest.mark.parametrize("code", sorted(KINDS))
async def test_every_problem_has_a_page(onsale: InProcess, code: str) -> None:
    page = await onsale.get(f"/problems/{code}")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert KINDS[code].title in page.text
    data = await onsale.get(f"/problems/{code}", headers={"accept": "application/json"})
    assert data.json()["code"] == code
    assert data.json()["status"] == KINDS[code].status


@pytest.mark.parametrize("code", ["none", "Sold_out", "x" * 500, "<script>"])
async def test_a_page_of_no_problem_is_not_found(onsale: InProcess, code: str) -> None:
    answer = await onsale.get(f"/problems/{code}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "<script>" not in answer.text


async def test_the_documentation_is_served(onsale: InProcess) -> None:
    answer = await onsale.get("/docs")
    assert answer.status_code == 200
    assert "/openapi.json" in answer.text
    document = await onsale.get("/openapi.json")
    assert document.json()["openapi"].startswith("3.1")


# -- audit -----------------------------------------------------------------------------


async def test_an_audit_compares_what_lives_with_what_is_journalled(onsale: InProcess) -> None:
    event_id = await onsale.event(capacity=10)
    await onsale.held(event_id, "ann", ga=3)
    async with onsale.unchanged():
        answer = await onsale.get(f"{EVENTS}/{event_id}/audit", onsale.token("organizer", "acme"))
    assert answer.status_code == 200
    report = answer.json()
    assert re.fullmatch(r"\S+", report["live"]["digest"])
    counts = {"code": "ga", "capacity": 10, "available": 7, "held": 3, "sold": 0, "blocked": 0}
    side = {"digest": report["live"]["digest"], "ticket_types": [counts]}
    assert report == {
        "event_id": event_id,
        "sequence": 2,
        "agree": True,
        "violations": [],
        "entries_replayed": 2,
        "bookings": 1,
        "money": {"captured": 0, "refunded": 0, "kept": 0, "sold": 0, "returning": 0},
        "live": side,
        "recomputed": side,
    }


@pytest.mark.parametrize(
    ("role", "sub", "status"),
    [
        ("organizer", "acme", 200),
        ("admin", "root", 200),
        ("organizer", "rival", 404),
        ("buyer", "acme", 403),
        ("staff", "tom", 403),
    ],
)
async def test_an_audit_is_for_the_organizer(
    onsale: InProcess, role: str, sub: str, status: int
) -> None:
    event_id = await onsale.event("acme")
    who = onsale.token(role, sub, org="acme" if role == "staff" else None)
    assert (await onsale.get(f"{EVENTS}/{event_id}/audit", who)).status_code == status


async def test_an_audit_that_cannot_be_carried_out_says_so(onsale: InProcess) -> None:
    event_id = await onsale.event()
    onsale.owners.instead = OwnerGone("dead")
    answer = await onsale.get(f"{EVENTS}/{event_id}/audit", onsale.token("organizer", "acme"))
    assert (answer.status_code, answer.json()["code"]) == (503, "recovering")
    assert answer.headers["retry-after"]
