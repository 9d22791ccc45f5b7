"""The table of goals, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from examples.bench.contenders import ContenderName
from examples.bench.goals import Figures, Goal, judged, ratio

HEADS = ("what", "goal", "bargein", "Node", "FastAPI", "ratios", "verdict")
ABSENT = "-"


@frozen
class Line:
    """A row as it is printed."""

    cells: tuple[str, ...]


def _cell(goal: Goal, figures: Mapping[str, Figures], contender: ContenderName) -> str:
    """Return the medians of what the goal shows for *contender*."""
    said: list[str] = []
    for key, form in goal.shown:
        rounds = figures.get(key, {}).get(contender, ())
        if rounds:
            said.append(form.format(sorted(rounds)[len(rounds) // 2]))
    return " / ".join(said) or ABSENT


def _ratios(goal: Goal, figures: Mapping[str, Figures]) -> str:
    """Return what the first figure of the row is of each peer's."""
    of = figures.get(goal.shown[0][0], {})
    peers: tuple[ContenderName, ...] = ("Node", "FastAPI")
    found = [ratio(of.get("bargein", ()), of.get(peer, ())) for peer in peers]
    if found == [None, None]:
        return ABSENT
    return " ".join(ABSENT if each is None else f"{each:.2f}" for each in found)


def line(goal: Goal, figures: Mapping[str, Figures]) -> Line:
    """Return the row of *goal*."""
    return Line(
        (
            goal.what,
            ", ".join(bound.text() for bound in goal.bounds),
            _cell(goal, figures, "bargein"),
            _cell(goal, figures, "Node"),
            _cell(goal, figures, "FastAPI"),
            _ratios(goal, figures),
            judged(goal, figures),
        )
    )


def table(goals: Sequence[Goal], figures: Mapping[str, Figures]) -> str:
    """Return the rows of *goals* in Markdown, which is also readable as it is."""
    return _markdown([HEADS, *(line(goal, figures).cells for goal in goals)])


def headline_table(said: Mapping[ContenderName, Sequence[tuple[str, str]]]) -> str:
    """Return what a person asks for first, a column for each contender, in the same way."""
    names = dict.fromkeys(name for lines in said.values() for name, _ in lines)
    by_name = [dict(lines) for lines in said.values()]
    rows = [(name, *(of.get(name, ABSENT) for of in by_name)) for name in names]
    return _markdown([("", *said), *rows])


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]

    def printed(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f"| {' | '.join(padded)} |"

    rule = f"|{'|'.join('-' * (width + 2) for width in widths)}|"
    return "\n".join([printed(rows[0]), rule, *map(printed, rows[1:])])
