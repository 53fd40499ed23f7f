"""A benchmark as one HTML page with plots: no script, nothing from elsewhere."""

from collections.abc import Callable
from html import escape
from statistics import median

from loadtests.bench import grids, markdown
from loadtests.bench.document import Document
from loadtests.bench.found import Found
from loadtests.bench.grids import Grid
from loadtests.bench.plots import Axis, Bar, Series, bars, lines
from loadtests.bench.rounds import CONTENDERS
from loadtests.crowd import Latency, Result

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1.5rem 0; width: 100%; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #8884; text-align: left; }
table.numbers :is(td + td, th + th) { text-align: right; font-variant-numeric: tabular-nums; }
svg { width: 100%; height: auto; margin: 1rem 0; }
"""


def page(kept: Document) -> str:
    """Return the whole page."""
    found, connections = kept.found, max(kept.plan.connections)
    plots = [
        _throughput(found, connections),
        _latencies(found, connections),
        *_offered(found),
        *_growth(found),
    ]
    tables = map(_table, grids.all_of(kept))
    absent = [
        f"<p>Not measured: {escape(f'{name} ({why})')}</p>" for name, why in found.absent.items()
    ]
    packages = ", ".join(f"{name} {number}" for name, number in kept.machine["packages"].items())
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            f"<title>onsale: benchmark of {kept.at[:10]}</title><style>{_STYLE}</style></head>",
            f"<body><h1>Benchmark</h1><p>{escape(markdown.circumstances(kept))}</p>",
            f"<p>{escape(kept.machine['system'])}; {escape(packages)}</p>",
            *plots,
            *tables,
            *absent,
            "</body></html>\n",
        ]
    )


def _throughput(found: Found, connections: int) -> str:
    shown = []
    for contender in CONTENDERS:
        rates = [one.result.rate for one in found.of(contender, connections)]
        if rates:
            shown.append(Bar(contender, median(rates), min(rates), max(rates)))
    return bars(f"Throughput, {connections} connections", "requests a second", shown)


def _latencies(found: Found, connections: int) -> str:
    names = list(Latency.__struct_fields__)
    series = []
    for contender in CONTENDERS:
        results = [one.result.latency_ms for one in found.of(contender, connections)]
        if results:
            points = [
                (float(number), median(getattr(latency, name) for latency in results))
                for number, name in enumerate(names)
            ]
            series.append(Series(contender, points))
    title = f"Latency, {connections} connections, median of the rounds"
    return lines(title, Axis("share of the requests", names=names), Axis("ms", log=True), series)


def _offered(found: Found) -> list[str]:
    offers = sorted(found.offered.offers, key=lambda offer: offer.per_second)
    x = Axis("holds offered a second", log=True)
    granted = [(offer.per_second, offer.granted_per_second) for offer in offers]
    asked = [(offer.per_second, offer.per_second) for offer in offers if offer.share <= 2]
    waits: dict[str, Callable[[Result], float]] = {
        "p50": lambda result: result.granted_ms.p50,
        "p99": lambda result: result.granted_ms.p99,
    }
    latencies = [
        Series(name, [(offer.per_second, offer.middle(waited)) for offer in offers])
        for name, waited in waits.items()
    ]
    return [
        lines(
            "Holds granted against holds offered, by the clock",
            *(x, Axis("a second")),
            [Series("granted", granted), Series("offered", asked)],
        ),
        lines("… and how long the admitted waited", x, Axis("ms", log=True), latencies),
    ]


def _growth(found: Found) -> list[str]:
    rates: dict[int, dict[int, list[float]]] = {}
    for one in found.growth:
        if one.awake == one.events:
            of_crowd = rates.setdefault(one.connections, {})
            of_crowd.setdefault(one.events, []).append(one.result.rate)
    holds = [
        Series(
            f"{connections:,} connections",
            [(float(count), median(of_crowd[count])) for count in sorted(of_crowd)],
        )
        for connections, of_crowd in sorted(rates.items())
    ]
    sizes = found.in_process["decisions"]["per_second"]
    decisions = [(float(size), float(rate)) for size, rate in sizes.items()]
    return [
        lines(
            "Events on sale at once",
            *(Axis("events", log=True), Axis("holds a second, all events together")),
            holds,
        ),
        lines(
            "Bookings that an event holds already",
            *(Axis("bookings", log=True), Axis("decisions a second, in process")),
            [Series("decide + apply", decisions)],
        ),
    ]


def _table(grid: Grid) -> str:
    def row(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    kind = ' class="numbers"' if len(grid.columns) > 2 else ""
    lines_of_it = [row(grid.columns, "th"), *(row(cells, "td") for cells in grid.rows)]
    return f"<table{kind}>{''.join(lines_of_it)}</table>"
