"""Dashboards, rules and documents speak of metrics that exist, and of all of them."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway import metrics
from tests.exported import everything, of_ray

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "deploy" / "monitoring"
RULES = MONITORING / "prometheus" / "alerts.yml"
DASHBOARD = MONITORING / "grafana" / "dashboards" / "onsale.json"
#: What histograms are asked for.
PARTS = ("_bucket", "_count", "_sum")
#: Labels that Prometheus, Ray or a histogram add.
ADDED = {"job", "instance", "le", "WorkerId"}


def wrong(expression: str) -> list[str]:
    """Return what a query says of our metrics that is not so."""
    exported, found = everything(), []
    for name, selector in re.findall(r"\b((?:ray_)?onsale_\w+)(\{[^}]*\})?", expression):
        base = name
        for part in PARTS:
            if (
                name.endswith(part)
                and exported.get(name.removesuffix(part), ("",))[0] == "histogram"
            ):
                base = name.removesuffix(part)
        if base not in exported or (base == name and exported[base][0] == "histogram"):
            found.append(name)
            continue
        asked = set(re.findall(r"(\w+)\s*=", selector))
        found += [f"{name}: {label}" for label in asked - {*exported[base][1], *ADDED}]
    grouped = re.findall(r"\bby\s*\(([^)]*)\)", expression)
    known = {label for _, labels in exported.values() for label in labels} | ADDED
    found += [
        label for group in grouped for label in re.findall(r"\w+", group) if label not in known
    ]
    return found


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[str]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_is_exported(rule: dict[str, Any]) -> None:
    assert wrong(rule["expr"]) == []
    assert "onsale" in rule["expr"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]


def test_webhooks_that_are_hours_late_show_as_hours() -> None:
    """Quantiles cannot exceed the last bucket; the alert needs the one that it names."""
    bounds = metrics.WEBHOOK_DELAY._upper_bounds
    assert 7_200.0 in bounds
    assert sorted(bounds) == bounds
    (late,) = [rule["expr"] for rule in alerts() if rule["alert"] == "OnsaleWebhooksLate"]
    (le,) = re.findall(r'le="([\d.]+)"', late)
    assert float(le) in bounds


@pytest.mark.parametrize(
    "expression",
    [
        "onsale_hold_total > 0",
        "ray_onsale_holds_total > 0",
        'onsale_holds_total{result="granted"} > 0',
        "rate(onsale_hold_seconds[1m]) > 0",
        "rate(onsale_holds_total_bucket[1m]) > 0",
        "sum by (buyer) (onsale_holds_total) > 0",
    ],
)
def test_an_alert_with_a_mistake_would_be_noticed(expression: str) -> None:
    """The negative control."""
    assert wrong(expression)


def test_the_dashboard_shows_what_is_exported_and_leaves_nothing_out() -> None:
    shown = list(queries())
    assert [mistake for query in shown for mistake in wrong(query)] == []
    unseen = [name for name in everything() if not re.search(rf"\b{name}", " ".join(shown))]
    assert unseen == UNSEEN


#: What is watched by alerts or by whoever wants to know, and would only fill the dashboard.
UNSEEN = [
    "onsale_request_seconds",
    "onsale_gateway_streams",
    "onsale_store_up",
    "onsale_sales_stopped",
    "onsale_throttle_holds_per_second",
    "onsale_throttled_events",
    "onsale_consumer_lag_messages",
    "onsale_consumer_pending_messages",
    "onsale_event_holds_expired_total",
    "ray_onsale_reconcile_repairs_total",
    "ray_onsale_payments_quarantined_total",
]


def test_the_dashboard_is_as_its_module_makes_it() -> None:
    made = subprocess.run(
        [sys.executable, MONITORING / "dashboard.py"], capture_output=True, text=True, check=True
    )
    assert made.stdout == DASHBOARD.read_text(), "python deploy/monitoring/dashboard.py > …"


def test_panels_do_not_lie_over_one_another() -> None:
    places = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in places, panel["title"]
                places.add((x, y))
        assert at["x"] + at["w"] <= 24


def test_ray_shows_the_dashboard_under_its_name() -> None:
    settings = dict(
        line.split("=", 1)
        for line in (MONITORING / "ray.env").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert settings["RAY_GRAFANA_DATA_DASHBOARD_UID"] == json.loads(DASHBOARD.read_text())["uid"]
    from ray.dashboard.modules.metrics import grafana_dashboard_factory as factory
    from ray.dashboard.modules.metrics import metrics_head

    assert metrics_head.GRAFANA_HOST_ENV_VAR in settings
    assert metrics_head.PROMETHEUS_HOST_ENV_VAR in settings
    template = factory.GRAFANA_DASHBOARD_UID_OVERRIDE_ENV_VAR_TEMPLATE
    assert template.format(name=factory.data_dashboard_config.name) in settings


def test_every_alert_has_its_entry_in_the_runbook_and_the_other_way_round() -> None:
    headings = re.findall(r"^## (Onsale\w+)$", (ROOT / "docs/RUNBOOK.md").read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in alerts()]


def test_the_table_of_metrics_is_what_is_exported() -> None:
    row = re.compile(r"^\| `((?:ray_)?onsale_\w+)` \| (\w+) \|([^|]*)\| [^|]+ \|$", re.MULTILINE)
    documented = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in row.findall((ROOT / "docs/OPERATING.md").read_text())
    }
    assert documented == everything()


def test_names_and_labels_follow_the_conventions() -> None:
    for name, (kind, labels) in everything().items():
        assert re.fullmatch(r"(ray_)?onsale_[a-z0-9_]+", name)
        assert (kind == "counter") == name.endswith("_total"), name
        assert not re.search(r"_(ms|us|milliseconds|minutes|kb)\b", name), name
        assert not {"customer", "booking", "sub", "token", "email"} & set(labels), name
    assert not any("event" in labels for _, labels in of_ray().values()), "Ray's have no bound"


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_keeps_still() -> None:
    cases = yaml.safe_load((RULES.parent / "alerts_test.yml").read_text())["tests"]
    asked = [
        (one["alertname"], bool(one["exp_alerts"]))
        for case in cases
        for one in case.get("alert_rule_test", ())
    ]
    expected = {(rule["alert"], fires) for rule in alerts() for fires in (False, True)}
    assert set(asked) == expected


promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here")


@promtool
@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
    ids=" ".join,
)
def test_promtool_agrees(arguments: tuple[str, ...]) -> None:
    said = subprocess.run(
        ["promtool", *arguments],
        cwd=MONITORING / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stdout + said.stderr
