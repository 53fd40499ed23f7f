"""Plots as SVG, drawn by hand: lines over two axes, and bars. Nothing is loaded from anywhere."""

import math
from collections.abc import Callable
from html import escape

from msgspec import Struct

_WIDTH, _HEIGHT = 800, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 250, 40, 48
_COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
_BAR = 26
_BAR_LEFT = 270


class Series(Struct, frozen=True):
    """Named points, from left to right."""

    name: str
    points: list[tuple[float, float]]


class Axis(Struct, frozen=True):
    """What is on an axis. `names` stand at 0, 1, 2 …, instead of numbers."""

    label: str
    log: bool = False
    names: list[str] = []


class Bar(Struct, frozen=True):
    """A value, and the range in which it was found."""

    name: str
    value: float
    low: float
    high: float


def lines(title: str, x: Axis, y: Axis, series: list[Series]) -> str:
    """Return a plot of lines; logarithmic axes need values above 0."""
    xs = [point[0] for one in series for point in one.points]
    ys = [point[1] for one in series for point in one.points]
    x_ticks, y_ticks = _ticks(x, min(xs), max(xs)), _ticks(y, min(ys), max(ys))
    at_x = _scale(x, min(*xs, *x_ticks), max(*xs, *x_ticks), _LEFT, _WIDTH - _RIGHT)
    at_y = _scale(y, min(*ys, *y_ticks), max(*ys, *y_ticks), _HEIGHT - _BOTTOM, _TOP)
    drawn = [
        *(_grid_line(at_x(tick), None, _told(x, tick)) for tick in x_ticks),
        *(_grid_line(None, at_y(tick), _told(y, tick)) for tick in y_ticks),
        _text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - 8, x.label, "middle"),
        _text(_LEFT, _TOP - 8, y.label, "start"),
    ]
    for number, one in enumerate(series):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [(at_x(a), at_y(b)) for a, b in one.points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in places]
        height = _TOP + 8 + 18 * number
        right = _WIDTH - _RIGHT + 14
        drawn.append(f'<rect x="{right}" y="{height - 9}" width="10" height="10" fill="{colour}"/>')
        drawn.append(_text(right + 15, height, one.name, "start"))
    return _svg(title, _HEIGHT, drawn)


def bars(title: str, unit: str, shown: list[Bar]) -> str:
    """Return a plot of horizontal bars, each with a line from the lowest to the highest."""
    axis = Axis(unit)
    most = max(bar.high for bar in shown)
    at = _scale(axis, 0, most, _BAR_LEFT, _WIDTH - 80)
    drawn = []
    for number, bar in enumerate(shown):
        top = _TOP + number * _BAR
        middle = top + _BAR / 2 - 2
        drawn += [
            _text(_BAR_LEFT - 8, middle + 4, bar.name, "end"),
            (
                f'<rect x="{_BAR_LEFT}" y="{top + 2}" width="{at(bar.value) - _BAR_LEFT:.1f}" '
                f'height="{_BAR - 8}" fill="{_COLOURS[0]}"/>'
            ),
            (
                f'<line x1="{at(bar.low):.1f}" x2="{at(bar.high):.1f}" y1="{middle}" y2="{middle}" '
                'stroke="currentColor" stroke-width="2"/>'
            ),
            _text(at(bar.high) + 6, middle + 4, f"{bar.value:,.0f}", "start"),
        ]
    return _svg(f"{title}, {unit}", _TOP + _BAR * len(shown) + 8, drawn)


def _scale(
    axis: Axis, low: float, high: float, first: float, last: float
) -> Callable[[float], float]:
    def along(value: float) -> float:
        return math.log10(value) if axis.log else value

    span = along(high) - along(low) or 1.0
    return lambda value: first + (along(value) - along(low)) / span * (last - first)


def _ticks(axis: Axis, low: float, high: float) -> list[float]:
    if axis.names:
        return [float(number) for number in range(len(axis.names))]
    if axis.log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        steps = [part * 10.0**power for power in powers for part in (1, 2, 5)]
        return [step for step in steps if low <= step <= high] or [low, high]
    step = 10.0 ** math.floor(math.log10(high or 1.0))
    step = next(part * step for part in (0.1, 0.2, 0.5, 1.0, 2.0) if high / (part * step) <= 6)
    return [number * step for number in range(math.ceil(high / step) + 1)]


def _told(axis: Axis, tick: float) -> str:
    return axis.names[int(tick)] if axis.names else f"{tick:,g}"


def _grid_line(x: float | None, y: float | None, told: str) -> str:
    if x is not None:
        line = f'x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"'
        text = _text(x, _HEIGHT - _BOTTOM + 16, told, "middle")
    else:
        assert y is not None
        line = f'x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"'
        text = _text(_LEFT - 6, y + 4, told, "end")
    return f'<line {line} stroke="currentColor" stroke-opacity="0.15"/>{text}'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="12" fill="currentColor">{escape(text)}</text>'


def _svg(title: str, height: float, drawn: list[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:g}" role="img">'
    name = f'<title>{escape(title)}</title><text x="8" y="16" font-size="14" font-weight="bold" '
    return f'{head}{name}fill="currentColor">{escape(title)}</text>{"".join(drawn)}</svg>'
