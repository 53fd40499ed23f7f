"""`onsale top`: a sale under way, live in the terminal. Reads HTTP only."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Annotated

import typer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.cli.admin import service_of
from gateway.cli.console import fail, read_settings

#: Time to wait for a page or a name, seconds.
_SECONDS_MAX = 5.0
_EVENT_COLUMNS = (
    *("event", "name", "granted/s", "other/s"),
    *("available", "held", "sold", "queue", "p99"),
)
#: Labels of a sample, in the order of their names.
_Labels = tuple[tuple[str, str], ...]


class Page:
    """The metrics of a service at one moment: by name, values by labels."""

    def __init__(self, text: str, at: float) -> None:
        self.at = at
        self._samples: dict[str, dict[_Labels, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values = self._samples.setdefault(sample.name, {})
                values[tuple(sorted(sample.labels.items()))] = sample.value

    def all(self, name: str) -> Mapping[_Labels, float]:
        """Return every sample of a metric."""
        return self._samples.get(name, {})

    def one(self, name: str, **labels: str) -> float | None:
        """Return one sample, None if it is not there."""
        return self.all(name).get(tuple(sorted(labels.items())))

    def by(self, name: str, label: str) -> dict[str, float]:
        """Return the samples of a metric by one of its labels, summed over the others."""
        found: dict[str, float] = {}
        for labels, value in self.all(name).items():
            key = dict(labels)[label]
            found[key] = found.get(key, 0.0) + value
        return found


class Frame:
    """What is shown: a page, and how it differs from the one before."""

    def __init__(self, before: Page, now: Page, names: Mapping[str, str]) -> None:
        self._before, self._now = before, now
        self._names = names
        self._seconds = max(now.at - before.at, 1e-3)

    def holds(self) -> dict[str, float]:
        """Return holds a second by outcome, the most frequent first."""
        before = self._before.by("onsale_holds_total", "outcome")
        now = self._now.by("onsale_holds_total", "outcome")
        rates = {name: self._rate(before.get(name, 0.0), count) for name, count in now.items()}
        return dict(sorted(rates.items(), key=lambda one: -one[1]))

    def answered_within(self, share: float) -> float | None:
        """Return within which time this share of holds was answered since; None: none was."""
        name = "onsale_hold_seconds_bucket"
        before, now = self._before.by(name, "le"), self._now.by(name, "le")
        buckets = sorted(
            (float(bound), count - before.get(bound, 0.0)) for bound, count in now.items()
        )
        if not buckets or buckets[-1][1] <= 0:
            return None
        wanted = share * buckets[-1][1]
        return next(bound for bound, count in buckets if count >= wanted)

    def events(self) -> Iterator[tuple[str, ...]]:
        """Yield a row for each busy event, in the order of the page: the busiest first."""
        holds = "onsale_event_holds_total"
        for event in self._now.by("onsale_event_units", "event"):
            pace = [
                self._rate(
                    self._before.one(holds, event=event, outcome=outcome),
                    self._now.one(holds, event=event, outcome=outcome) or 0.0,
                )
                for outcome in ("granted", "not_granted")
            ]
            stock = [
                self._now.one("onsale_event_units", event=event, state=state) or 0.0
                for state in ("available", "held", "sold")
            ]
            queue = self._now.one("onsale_event_inbox_commands", event=event) or 0.0
            p99 = self._now.one("onsale_event_answer_p99_seconds", event=event)
            yield (
                event,
                self._names.get(event, ""),
                *(f"{rate:,.0f}" for rate in pace),
                *(f"{units:,.0f}" for units in stock),
                f"{queue:,.0f}",
                _span(p99),
            )

    def readers(self) -> Iterator[tuple[str, ...]]:
        """Yield a row for each consumer group."""
        for labels, behind in sorted(self._now.all("onsale_consumer_lag_messages").items()):
            group = dict(labels)
            yield (
                f"{group['group']} of {group['stream']}",
                f"{behind:,.0f}",
                _span(self._now.one("onsale_consumer_lag_seconds", **group)),
                f"{self._now.one('onsale_consumer_pending_messages', **group) or 0:,.0f}",
                _span(self._now.one("onsale_consumer_pending_seconds", **group)),
            )

    def draw(self) -> Group:
        """Return what the terminal shows."""
        return Group(
            self._headline(),
            Text(),
            _table(self.events(), *_EVENT_COLUMNS),
            Text(),
            _table(self.readers(), "reader", "behind", "oldest", "in hand", "oldest"),
        )

    def _headline(self) -> Text:
        line = Text()
        for outcome, rate in self.holds().items():
            if rate or outcome == "granted":
                line.append(f"{outcome} ", "dim").append(f"{rate:,.0f}/s  ")
        line.append("\np50 ", "dim").append(_span(self.answered_within(0.5)))
        line.append("  p99 ", "dim").append(_span(self.answered_within(0.99)))
        waiting = self._now.one("onsale_gateway_commands_waiting") or 0.0
        line.append("  waiting ", "dim").append(f"{waiting:,.0f}")
        if self._now.one("onsale_store_up") == 0:
            line.append("  THE STORE DOES NOT ANSWER", "bold red")
        if self._now.one("onsale_sales_stopped"):
            line.append("  SALES ARE STOPPED", "bold red")
        pace = self._now.one("onsale_throttle_holds_per_second")
        if pace is not None:
            line.append(f"  at most {pace:g} holds/s", "bold yellow")
        events = self._now.one("onsale_throttled_events") or 0.0
        if events:
            line.append(f"  {events:.0f} events slowed down", "bold yellow")
        return line

    def _rate(self, before: float | None, now: float) -> float:
        """Return the growth a second; what begins anew, or was not there, has none yet."""
        return 0.0 if before is None or now < before else (now - before) / self._seconds


def top(
    url: Annotated[str | None, typer.Option(help="Of a gateway; else that of `onsale up`.")] = None,
    once: Annotated[bool, typer.Option(help="Print one frame.")] = False,
    every: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between frames.")] = 1.0,
) -> None:
    """Show the sale that is under way: holds, the busiest events, queues, and who is behind.

    Figures of events are at most three seconds old, those of readers ten.
    """
    base = (url or service_of(read_settings()).url).rstrip("/")
    names: dict[str, str] = {}
    console = Console(highlight=False)
    before = _page(base)
    if once:
        time.sleep(every)
        console.print(_frame(base, before, names)[1].draw())
        return
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every)
                before, frame = _frame(base, before, names)
                live.update(frame.draw(), refresh=True)
        except KeyboardInterrupt:
            return


def _frame(base: str, before: Page, names: dict[str, str]) -> tuple[Page, Frame]:
    now = _page(base)
    for event in now.by("onsale_event_units", "event"):
        if event not in names:
            names[event] = str(json.loads(_get(f"{base}/api/v1/events/{event}")).get("name", ""))
    return now, Frame(before, now, names)


def _page(base: str) -> Page:
    return Page(_get(f"{base}/metrics"), time.monotonic())


def _get(url: str) -> str:
    """Return what is there; an error document is a document, too. Leaves if nobody answers."""
    if not url.startswith(("http://", "https://")):
        raise fail(f"{url} is not the URL of a gateway")
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS_MAX) as answer:  # noqa: S310 - see above
            text: str = answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise fail(f"nobody answers at {url} ({error})") from error
    return text


def _span(seconds: float | None) -> str:
    """Return a time for people; "-" where there is none."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1_000:.1f} ms"
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _table(rows: Iterator[tuple[str, ...]], *columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for index, column in enumerate(columns):
        left = index == 0 or column == "name"
        table.add_column(column, justify="left" if left else "right", no_wrap=column != "name")
    for row in rows:
        table.add_row(*row)
    return table
