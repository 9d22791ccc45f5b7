"""A notebook of a running tool, and the context around it."""

from __future__ import annotations

from attrs import define, field

from bargein.protocol.events import Payload
from bargein.protocol.ids import CallId, SessionId, TurnId
from bargein.tools.tool import ToolContext


@define(eq=False)
class KeptNotes:
    """Keeps what a tool notes; a list takes appends from any thread."""

    told: list[tuple[str, float | None]] = field(factory=list[tuple[str, float | None]])
    noted: list[Payload] = field(factory=list[Payload])

    def progress(self, text: str, fraction: float | None = None) -> None:
        self.told.append((text, fraction))

    def note(self, payload: Payload) -> None:
        self.noted.append(payload)


def context(notes: KeptNotes | None = None, key: str | None = None) -> ToolContext:
    return ToolContext(
        SessionId(f"sess_{'0' * 32}"),
        TurnId("turn_1"),
        CallId("call_1"),
        "somebody",
        notes or KeptNotes(),
        key,
    )
