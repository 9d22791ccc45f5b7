"""A timeline as a test reads it: events by name, what was said, and what was heard of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, TypeVar

import attrs
from attrs import frozen

from bargein.protocol.codec import encode_payload
from bargein.protocol.events import CancelStage, Event, KnownPayload, ModelToken
from bargein.protocol.ladder import TRANSCRIPT
from bargein.testing.checker import broken_rules

T = TypeVar("T", bound=KnownPayload)

MOST_SHOWN: Final = 200
"""Lines of a timeline in a failing assertion; more than that nobody reads."""

MOST_CHARS: Final = 160
"""Of one line."""


@frozen(repr=False)
class Fact:
    """One event of a timeline.

    Attributes:
        event: As the protocol has it, its payload of the class of its type.
    """

    event: Event

    @property
    def seq(self) -> int:
        """Its place, from 1."""
        return self.event.seq

    @property
    def type(self) -> str:
        """Its name on the wire."""
        return self.event.type

    @property
    def turn_id(self) -> str | None:
        """The turn that it belongs to; None outside of turns."""
        return self.event.turn_id

    @property
    def payload(self) -> Any:
        """The instance of a class of `bargein.protocol.events` that its type names."""
        return self.event.payload

    def fits(self, *patterns: str, **fields: Any) -> bool:
        """Say whether its type fits one of *patterns*, and its payload has all of *fields*."""
        return any(fnmatchcase(self.type, pattern) for pattern in patterns) and all(
            getattr(self.payload, name, attrs.NOTHING) == fields[name] for name in fields
        )

    def __repr__(self) -> str:
        said = encode_payload(self.event.payload).decode()
        line = f"{self.seq:4} {self.type} {self.turn_id or '-'} {said}"
        return line if len(line) <= MOST_CHARS else f"{line[:MOST_CHARS]}…"


@frozen(repr=False)
class Timeline:
    """Events in order: of a session, of one turn of it, or those that fit a name."""

    facts: tuple[Fact, ...]

    @classmethod
    def of_events(cls, events: Sequence[Event]) -> Timeline:
        """Return the timeline that *events* are."""
        return cls(tuple(map(Fact, events)))

    def of(self, *patterns: str, **fields: Any) -> Timeline:
        """Return the events whose type fits one of *patterns*, such as `action.*`.

        With *fields*, only those whose payload has these values.
        """
        return Timeline(tuple(fact for fact in self.facts if fact.fits(*patterns, **fields)))

    def turn(self, turn_id: str) -> Timeline:
        """Return the events of one turn."""
        return Timeline(tuple(fact for fact in self.facts if fact.turn_id == turn_id))

    def after(self, seq: int) -> Timeline:
        """Return the events behind *seq*."""
        return Timeline(tuple(fact for fact in self.facts if fact.seq > seq))

    @property
    def turns(self) -> tuple[str, ...]:
        """The turns that began, in order."""
        started = self.of("turn.start")
        return tuple(fact.turn_id for fact in started if fact.turn_id is not None)

    @property
    def types(self) -> list[str]:
        """The type of each event."""
        return [fact.type for fact in self.facts]

    @property
    def last(self) -> Fact:
        """The last event.

        Raises:
            IndexError: If there is none.
        """
        return self.facts[-1]

    def payloads(self, kind: type[T]) -> list[T]:
        """Return the payloads of one class of `bargein.protocol.events`, in order."""
        return [fact.payload for fact in self.facts if isinstance(fact.payload, kind)]

    def shows(self, *patterns: str) -> bool:
        """Say whether events that fit *patterns* come in this order, others between them."""
        types = iter(self.types)
        return all(any(fnmatchcase(name, pattern) for name in types) for pattern in patterns)

    def spoken(self, turn_id: str | None = None) -> str:
        """Return what the model said in a turn, heard or not; by default in the last one."""
        return "".join(token.text for token in self._of_turn(turn_id).payloads(ModelToken))

    def heard(self, turn_id: str | None = None) -> str:
        """Return what was heard or shown of a turn: all of it, unless it was interrupted."""
        for stage in self._of_turn(turn_id).payloads(CancelStage):
            if stage.target == TRANSCRIPT and isinstance(stage.heard, str):
                return stage.heard
        return self.spoken(turn_id)

    @property
    def open_proposals(self) -> tuple[str, ...]:
        """The `confirmation_id` of each action that waits for a person, doubts too."""
        names: dict[str, str] = {}
        waiting: list[str] = []
        for fact in self.of("action.*"):
            action_id: str = fact.payload.action_id
            waiting = [other for other in waiting if other != action_id]
            if fact.type == "action.proposed":
                names[action_id] = fact.payload.confirmation_id
            if fact.type in {"action.proposed", "action.in_doubt"}:
                waiting.append(action_id)
        return tuple(names[action_id] for action_id in waiting if action_id in names)

    def broken(self, *, finished: bool = False) -> list[str]:
        """Name each rule of the protocol that it breaks; *finished*: nothing goes on any more."""
        return broken_rules([fact.event for fact in self.facts], finished=finished)

    def _of_turn(self, turn_id: str | None) -> Timeline:
        if turn_id is None and self.turns:
            turn_id = self.turns[-1]
        return Timeline(()) if turn_id is None else self.turn(turn_id)

    def __iter__(self) -> Iterator[Fact]:
        return iter(self.facts)

    def __len__(self) -> int:
        return len(self.facts)

    def __getitem__(self, place: int) -> Fact:
        return self.facts[place]

    def __repr__(self) -> str:
        shown = self.facts[-MOST_SHOWN:]
        head = f"Timeline of {len(self)} events"
        return "\n".join((head, *map(repr, shown)))
