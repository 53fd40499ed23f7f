"""The Grafana dashboard, as code: prints the JSON that Grafana reads.

python deploy/monitoring/dashboard.py > deploy/monitoring/grafana/dashboards/onsale.json

A test says that this has been done, and that every metric shown here is exported.
"""

# ruff: noqa: INP001 - a script beside what it makes

import json
import sys
from typing import Any

#: Ray's dashboard asks Grafana for it by this name; see `ray.env`.
UID = "onsale"
_COLUMNS, _HEIGHT, _PER_ROW = 24, 8, 3

#: A query and its legend; a panel's title, unit and queries.
Query = tuple[str, str]
Panel = tuple[str, str, list[Query]]


def rate(counter: str, by: str = "", over: str = "$__rate_interval", times: int = 1) -> str:
    """Return the query of how fast a counter grows, a second or `times` seconds."""
    grouped = f"sum by ({by}) " if by else "sum"
    factor = f" * {times}" if times != 1 else ""
    return f"{grouped}(rate({counter}[{over}])){factor}"


def quantiles(histogram: str, *shares: int, over: str = "$__rate_interval") -> list[Query]:
    """Return queries of below which values so many hundredths of a histogram are."""
    buckets = rate(f"{histogram}_bucket", "le", over)
    return [(f"histogram_quantile({share / 100}, {buckets})", f"p{share}") for share in shares]


_HINDERED = 'onsale_holds_total{outcome=~"overloaded|recovering|event_halted|throttled|.*stopped"}'
_GRANTED = 'ray_onsale_owner_holds_total{outcome="granted"}'
_CONFIRMED = "ray_onsale_bookings_confirmed_total"
_SINCE = "time() - max(ray_onsale_reconciled_timestamp_seconds)"

ROWS: dict[str, list[Panel]] = {
    "Sale": [
        ("Holds by outcome", "reqps", [(rate("onsale_holds_total", "outcome"), "{{outcome}}")]),
        ("Time to answer a hold", "s", quantiles("onsale_hold_seconds", 50, 95, 99)),
        ("Stock of the busiest events", "short", [("onsale_event_units", "{{event}} {{state}}")]),
        (
            "Holds of the busiest events",
            "reqps",
            [(rate("onsale_event_holds_total", "event, outcome"), "{{event}} {{outcome}}")],
        ),
        (
            "Bookings a minute",
            "short",
            [
                (rate(_CONFIRMED, times=60), "confirmed"),
                (rate("ray_onsale_holds_expired_total", times=60), "expired"),
            ],
        ),
        (
            "Conversion in 15 minutes",
            "percentunit",
            [
                (
                    f"{rate(_CONFIRMED, over='15m')} / {rate(_GRANTED, over='15m')}",
                    "confirmed / held",
                )
            ],
        ),
        (
            "Revenue an hour, minor units",
            "short",
            [
                (
                    rate("ray_onsale_revenue_minor_units_total", "currency", "5m", 3_600),
                    "{{currency}}",
                )
            ],
        ),
        ("Time to book", "s", quantiles("ray_onsale_booking_seconds", 50, 95, over="5m")),
        (
            "Errors",
            "reqps",
            [
                (rate(_HINDERED, "outcome"), "hold {{outcome}}"),
                (rate('onsale_requests_total{status=~"5.."}', "status"), "request {{status}}"),
                (rate("onsale_internal_errors_total"), "errors of ours"),
            ],
        ),
    ],
    "Owners": [
        ("Commands of a turn", "short", quantiles("ray_onsale_owner_turn_commands", 50, 99)),
        ("Append to the journal", "s", quantiles("ray_onsale_owner_append_seconds", 50, 99)),
        ("Stall of a turn", "s", quantiles("ray_onsale_owner_stall_seconds", 50, 99)),
        (
            "Commands that wait",
            "short",
            [
                ("sum(onsale_gateway_commands_waiting)", "in gateways"),
                ("sum(ray_onsale_owner_inbox_commands)", "in owners"),
                ("onsale_event_inbox_commands", "{{event}}"),
            ],
        ),
        (
            "Answer of the busiest owners, p99",
            "s",
            [("onsale_event_answer_p99_seconds", "{{event}}")],
        ),
        (
            "Invariants, halted events, silent processes",
            "short",
            [
                ("sum(ray_onsale_invariant_violations)", "invariant violations"),
                ("sum(ray_onsale_owner_halted)", "halted events"),
                ("sum(ray_onsale_warden_silent_total)", "killed: did not answer"),
                ("sum(ray_onsale_warden_watched)", "looked after"),
            ],
        ),
    ],
    "Payments": [
        (
            "Payments a minute",
            "short",
            [
                (rate("ray_onsale_payments_failed_total", over="5m", times=60), "failed"),
                (rate("ray_onsale_refunds_total", "end", "5m", 60), "refunds {{end}}"),
            ],
        ),
        ("From its beginning to its end", "s", quantiles("ray_onsale_payment_seconds", 95)),
        (
            "Calls of Stripe",
            "reqps",
            [
                (
                    rate("ray_onsale_stripe_call_seconds_count", "operation, end"),
                    "{{operation}} {{end}}",
                )
            ],
        ),
        ("Time of a call of Stripe", "s", quantiles("ray_onsale_stripe_call_seconds", 50, 95)),
        ("Wait for its turn", "s", quantiles("ray_onsale_stripe_wait_seconds", 50, 95)),
        (
            "Webhooks",
            "reqps",
            [(rate("onsale_webhooks_total", "outcome"), "{{outcome}}")],
        ),
        ("Delay of webhooks", "s", quantiles("onsale_webhook_delay_seconds", 50, 95)),
        ("Since the comparison with Stripe", "s", [(_SINCE, "seconds")]),
    ],
    "After the sale": [
        (
            "Age of the oldest message that no reader was handed",
            "s",
            [("max by (group) (onsale_consumer_lag_seconds)", "{{group}}")],
        ),
        (
            "Age of the oldest message that is not finished",
            "s",
            [("max by (group) (onsale_consumer_pending_seconds)", "{{group}}")],
        ),
        (
            "Messages handled a second, and given up",
            "short",
            [
                (rate("ray_onsale_messages_handled_total", "group"), "{{group}}"),
                ("sum by (group) (ray_onsale_messages_buried_total)", "{{group}} given up"),
            ],
        ),
        (
            "Letters to buyers",
            "short",
            [
                ("sum by (status) (ray_onsale_letters)", "{{status}}"),
                (
                    rate("ray_onsale_letters_ended_total", "end, channel", "5m", 60),
                    "{{channel}} {{end}} a minute",
                ),
            ],
        ),
        (
            "From confirmation to the mail server",
            "s",
            quantiles("ray_onsale_letter_delay_seconds", 50, 95, over="5m"),
        ),
        (
            "Doors, a minute",
            "short",
            [
                (rate("ray_onsale_tickets_admitted_total", over="1m", times=60), "admitted"),
                (rate("onsale_scans_total", "result", "1m", 60), "{{result}}"),
            ],
        ),
    ],
}


def _panel(number: int, x: int, y: int, panel: Panel) -> dict[str, Any]:
    title, unit, queries = panel
    source = {"type": "prometheus", "uid": "${datasource}"}
    return {
        "id": number,
        "type": "timeseries",
        "title": title,
        "datasource": source,
        "gridPos": {"x": x, "y": y, "w": _COLUMNS // _PER_ROW, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {
            "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "expr": query,
                "legendFormat": legend,
                "datasource": source,
            }
            for index, (query, legend) in enumerate(queries)
        ],
    }


def dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana reads it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for name, row in ROWS.items():
        place = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
        panels.append(
            {"id": len(panels) + 1, "type": "row", "title": name, "gridPos": place, "panels": []}
        )
        y += 1
        for index, panel in enumerate(row):
            x = index % _PER_ROW * (_COLUMNS // _PER_ROW)
            panels.append(_panel(len(panels) + 1, x, y, panel))
            if index % _PER_ROW == _PER_ROW - 1 or index == len(row) - 1:
                y += _HEIGHT
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "hide": 0}
    return {
        "uid": UID,
        "title": "onsale",
        "tags": ["onsale"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "5s",
        "time": {"from": "now-15m", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }


if __name__ == "__main__":
    json.dump(dashboard(), sys.stdout, indent=1)
    sys.stdout.write("\n")
