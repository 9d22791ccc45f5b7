"""Plots as SVG, small enough to write by hand: lines over two axes, and bars over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Final

from attrs import frozen

WIDTH: Final = 920
LEFT: Final = 64
RIGHT: Final = 20
TOP: Final = 14
BOTTOM: Final = 40
POINTS_MOST: Final = 400
"""Of a line: more than that no screen shows."""

LINE_HEIGHT: Final = 260
ROW_HEIGHT: Final = 16
BAR_HEIGHT: Final = 10
TICKS: Final = 6
"""On an axis, about."""

ROUND_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)


@frozen
class Line:
    """A line of a plot; *hue* is the number of its colour in the page's palette."""

    name: str
    hue: int
    points: tuple[tuple[float, float], ...]


@frozen
class Bar:
    """A stretch of time in a row, of a colour and with what it shows to who points at it."""

    begin: float
    end: float
    kind: str
    hint: str


@frozen
class Row:
    """A row of a waterfall."""

    name: str
    bars: tuple[Bar, ...]


@frozen
class _Scale:
    """From values to places."""

    low: float
    high: float
    begin: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, value
        if self.logarithmic:
            low, high, at = log10(low), log10(high), log10(max(value, self.low))
        share = (at - low) / (high - low)
        return round(self.begin + share * (self.end - self.begin), 1)


def _step(span: float) -> float:
    rough = span / TICKS
    power = 10 ** floor(log10(rough))
    return next(step * power for step in ROUND_STEPS if step * power >= rough * 0.999)


def _ticks(low: float, high: float, *, logarithmic: bool) -> list[float]:
    if logarithmic:
        return [10.0**power for power in range(floor(log10(low)), ceil(log10(high)) + 1)]
    step = _step(high - low)
    return [number * step for number in range(ceil(low / step), floor(high / step + 1e-9) + 1)]


def _axes(x: _Scale, y: _Scale | None, x_name: str, bottom: float) -> Iterator[str]:
    for at in _ticks(x.low, x.high, logarithmic=x.logarithmic):
        if x.low <= at <= x.high:
            yield f'<line class="grid" x1="{x(at)}" x2="{x(at)}" y1="{TOP}" y2="{bottom}"/>'
            yield f'<text class="tick" x="{x(at)}" y="{bottom + 16}">{at:g}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text class="axis" x="{middle}" y="{bottom + 34}">{escape(x_name)}</text>'
    if y is None:
        return
    for at in _ticks(y.low, y.high, logarithmic=False):
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(at)}" y2="{y(at)}"/>'
        yield f'<text class="tick left" x="{LEFT - 8}" y="{y(at) + 4}">{at:g}</text>'


def _svg(height: float, label: str, parts: Sequence[str]) -> str:
    inside = "".join(parts)
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{escape(label)}">'
        f"{inside}</svg>"
    )


def lines(label: str, x_name: str, drawn: Sequence[Line], *, logarithmic: bool = False) -> str:
    """Return a plot of *drawn* over an axis named *x_name*; an empty one says so."""
    points = [point for line in drawn for point in line.points]
    if not points:
        return '<p class="none">Nothing to draw.</p>'
    xs = [x for x, _ in points]
    low, high = (min(xs), max(xs)) if logarithmic else (0.0, max(xs))
    bottom = LINE_HEIGHT - BOTTOM
    x = _Scale(low, max(high, low * 1.01, 1e-9), LEFT, WIDTH - RIGHT, logarithmic)
    y = _Scale(0.0, max(max(y for _, y in points) * 1.05, 1e-9), bottom, TOP)
    parts = list(_axes(x, y, x_name, bottom))
    for line in drawn:
        path = " ".join(f"{x(at)},{y(value)}" for at, value in line.points)
        parts.append(f'<polyline class="hue{line.hue}" points="{path}"/>')
    return _svg(LINE_HEIGHT, label, parts)


def shares(samples: Sequence[float]) -> tuple[tuple[float, float], ...]:
    """Return for each of *samples* the share, in percent, that is not above it: a CDF.

    Of many samples a few hundred are kept, the ends among them.
    """
    ordered = sorted(samples)
    count = len(ordered)
    picked = range(count)
    if count > POINTS_MOST:
        # Dense where it matters: half of the points are in the last twentieth.
        early = [round(n * count * 0.95 / (POINTS_MOST // 2)) for n in range(POINTS_MOST // 2)]
        tail = count - early[-1]
        late = [early[-1] + ceil((n + 1) * tail / (POINTS_MOST // 2)) - 1 for n in range(200)]
        picked = sorted({*early, *late, count - 1})
    return tuple((ordered[n], (n + 1) / count * 100) for n in picked)


def waterfall(label: str, x_name: str, rows: Sequence[Row], name: Callable[[Row], str]) -> str:
    """Return *rows* below each other, each with its bars; *name* says what stands before one."""
    ends = [bar.end for row in rows for bar in row.bars]
    if not ends:
        return '<p class="none">Nothing to draw.</p>'
    bottom = TOP + len(rows) * ROW_HEIGHT
    x = _Scale(0.0, max(*ends, 1e-9), LEFT, WIDTH - RIGHT)
    parts = list(_axes(x, None, x_name, bottom))
    for number, row in enumerate(rows):
        top = TOP + number * ROW_HEIGHT
        parts.append(
            f'<text class="tick left" x="{LEFT - 8}" y="{top + 10}">{escape(name(row))}</text>'
        )
        for bar in row.bars:
            width = max(1.5, x(bar.end) - x(bar.begin))
            parts.append(
                f'<rect class="{bar.kind}" x="{x(bar.begin)}" y="{top + 1}" width="{width:.1f}" '
                f'height="{BAR_HEIGHT}"><title>{escape(bar.hint)}</title></rect>'
            )
    return _svg(bottom + BOTTOM, label, parts)
