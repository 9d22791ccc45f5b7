"""Where the time of a turn goes, for its `turn.trace`."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from attrs import define, field

from bargein.actors.clock import Clock
from bargein.protocol.events import Span

CANCEL: Final = "cancel"
"""From the interrupt on: a phase of its own, so that it is in no other's time."""

SILENT: Final = "cancel.silent"
UNWIND: Final = "cancel.unwind"
ACK: Final = "cancel.ack"
"""What it consists of: until every connection had the `flush`, until the work had stopped, and
until what became of it was written down."""

SLOT: Final = "slot"
"""The wait for a model slot; not there where one was free."""

FIRST_BYTE: Final = "first_byte"
"""From the first words of the model until they were durable, and on their way to the clients."""

RENDER: Final = "render"
"""From the first words of the model until a client said that it shows or plays the answer."""

TOOL_SPAN: Final = "tool:"
"""What the span of a tool's call begins with; the call's id follows."""

MOST_CHILDREN: Final = 1000
"""Spans within phases in one trace; more than this nobody reads, and an event has its limits."""


@define(eq=False)
class Phases:
    """Where the time of a turn goes: phases that follow each other without a gap.

    A phase may hold children, at the same time and with phases of their own.  What is begun in one
    phase and may be over in a later one is a child, too, of the phase in which it began.

    Attributes:
        _name: Of the present phase; None for a child that has not entered one.
        _within: The span that all of this is part of; None for the turn itself.
    """

    _clock: Clock
    _started_s: float
    _name: str | None
    _within: str | None = None
    _entered_s: float = field(init=False)
    _spans: list[Span] = field(factory=list[Span], init=False)
    _children: list[Span] = field(factory=list[Span], init=False)
    _open: list[_Child] = field(factory=list["_Child"], init=False)
    _begun: dict[str, _Begun] = field(factory=dict[str, "_Begun"], init=False)
    _finished: list[Span] = field(factory=list[Span], init=False)

    def __attrs_post_init__(self) -> None:
        self._entered_s = self._started_s

    def enter(self, name: str) -> None:
        """End the present phase, and its children with it, and begin the one called *name*."""
        if name == self._name:
            return
        now_s = self._clock.now_s()
        self.close(now_s)
        self._name, self._entered_s = name, now_s

    @contextmanager
    def child(self, name: str) -> Generator[Phases]:
        """Note a span called *name* within the present phase; yield the phases within it.

        It ends with its phase, should that be over before the block is.
        """
        child = _Child(name, self._clock.now_s(), Phases(self._clock, self._started_s, None, name))
        self._open.append(child)
        try:
            yield child.phases
        finally:
            self._end(child, self._clock.now_s())

    def begin(self, name: str, *, certain: bool = True) -> None:
        """Begin a span called *name* that may outlast the present phase; once for each name.

        Args:
            name: Of the span.
            certain: It ends with the turn at the latest.  Otherwise it is left out if nobody has
                said by then that it is over.
        """
        if name not in self._begun:
            within = self._within or self._name
            self._begun[name] = _Begun(self._clock.now_s(), within, certain=certain)

    def has_begun(self, name: str) -> bool:
        """Whether *name* was begun, and may be over."""
        return name in self._begun

    def finish(self, name: str) -> None:
        """End what was begun as *name*; only the first time counts."""
        begun = self._begun.get(name)
        if begun is not None and not begun.over:
            begun.over = True
            span = self._span(name, begun.began_s, self._clock.now_s(), begun.within)
            self._finished.append(span)

    def end(self) -> tuple[tuple[Span, ...], float]:
        """End the last phase; return all spans and the sum of those without a parent in ms.

        A parent stands before its children.
        """
        for name, begun in self._begun.items():
            if begun.certain:
                self.finish(name)
        now_s = self._clock.now_s()
        spans = [*self.close(now_s), *self._finished]
        self._entered_s = now_s
        inner = [span for span in spans if span.parent]
        left_out = {id(span) for span in inner[MOST_CHILDREN:]}
        total_ms = _ms(now_s - self._started_s)
        return tuple(span for span in spans if id(span) not in left_out), total_ms

    def close(self, now_s: float) -> list[Span]:
        """End what is open, as of *now_s*; return all spans so far."""
        for child in tuple(self._open):
            self._end(child, now_s)
        if self._name is not None:
            self._spans.append(self._span(self._name, self._entered_s, now_s, self._within))
        self._spans += self._children
        self._children = []
        return self._spans

    def _end(self, child: _Child, now_s: float) -> None:
        if child not in self._open:
            return  # its phase was over before it was
        self._open.remove(child)
        parent = self._within or self._name
        self._children.append(self._span(child.name, child.began_s, now_s, parent))
        self._children += child.phases.close(now_s)

    def _span(self, name: str, began_s: float, ended_s: float, parent: str | None) -> Span:
        start_ms = _ms(began_s - self._started_s)
        ms = round(_ms(ended_s - self._started_s) - start_ms, 3)
        return Span(name, start_ms, ms) if parent is None else Span(name, start_ms, ms, parent)


@define(eq=False)
class _Child:
    """A span that is open."""

    name: str
    began_s: float
    phases: Phases


@define(eq=False)
class _Begun:
    """A span that is not bound to its phase."""

    began_s: float
    within: str | None
    certain: bool = field(kw_only=True)
    over: bool = False


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
