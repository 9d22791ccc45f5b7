"""The provocations of the table by their names, and the trials that they make of its rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

from attrs import field, frozen

from tests.faults.ground import Ground, Seen, Stage
from tests.faults.table import ROWS, Row

Act: TypeAlias = Callable[[Ground, Any], Awaitable[Seen]]
Cases: TypeAlias = Callable[[Row], Sequence[tuple[str, Any]]]


def _one_case(_: Row) -> Sequence[tuple[str, Any]]:
    return (("", None),)


@frozen
class Provocation:
    """How a row is provoked.

    Attributes:
        act: Does it, and says what came of it.
        stage: What it needs.
        cases: Ways to do it, by name.
    """

    act: Act
    stage: Stage = field(factory=Stage)
    cases: Cases = _one_case


PROVOCATIONS: Final[dict[str, Provocation]] = {}


def provocation(
    name: str, stage: Stage | None = None, cases: Cases = _one_case
) -> Callable[[Act], Act]:
    """Declare a provocation: what the table calls *name*."""

    def declared(act: Act) -> Act:
        assert name not in PROVOCATIONS
        PROVOCATIONS[name] = Provocation(act, stage or Stage(), cases)
        return act

    return declared


@frozen
class Trial:
    """A row, one way of provoking it, and the case."""

    row: Row
    provocation: Provocation
    name: str
    case: Any

    def __str__(self) -> str:
        return f"{self.row.n} {self.name}"


def trials() -> Iterator[Trial]:
    """Return all there is to try, in the order of the table."""
    for row in ROWS:
        for name in row.by:
            chosen = PROVOCATIONS[name]
            for case_name, case in chosen.cases(row):
                yield Trial(row, chosen, f"{name} {case_name}".strip(), case)
