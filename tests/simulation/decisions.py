"""What a client knows of actions, and what it does about them: soon, late, twice, or never."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from attrs import define, field, frozen

from tests.simulation.tools import CARD

Body = dict[str, Any]

UNKNOWN: Final = "99"
"""The number of an action that nobody proposes."""

SOON: Final = (0, 0, 1, 2, 5, 12)


@frozen
class Known:
    """A proposal that the client has seen."""

    confirmation_id: str
    action_id: str
    action: str


@frozen
class Reaction:
    """A command that a client sends a while after it saw something.

    Attributes:
        ticks: How long after, in steps of 10 ms.
        twice: It is sent again at once, under another id.
    """

    ticks: int
    body: Body
    twice: bool = False


@define(eq=False)
class Decisions:
    """What one client knows of the actions of its session.

    Attributes:
        known: What it saw proposed, oldest first.
    """

    known: list[Known] = field(factory=list[Known], init=False)

    def heard(self, body: Body) -> None:
        """Take in an event of an action."""
        payload = body["payload"]
        if body["type"] == "action.proposed":
            seen = Known(payload["confirmation_id"], payload["action_id"], payload["action"])
            if seen not in self.known:
                self.known.append(seen)

    def drawn(self, chance: Random) -> Body:
        """Return a decision on something that was proposed at some time, or on nothing at all."""
        about = Known(f"conf_{UNKNOWN}", f"act_{UNKNOWN}", "buy")
        if self.known and chance.random() < 0.9:
            about = chance.choice((self.known[-1], self.known[-1], chance.choice(self.known)))
        kind = chance.choice(("confirm", "confirm", "reject", "revert"))
        return self._of(kind, about, chance)

    def reaction(self, chance: Random, body: Body) -> Reaction | None:
        """Return what the client does about an event of an action, if it does anything."""
        about = next(k for k in self.known if k.action_id == body["payload"]["action_id"])
        kinds, weights = _REACTIONS.get(body["type"], (("nothing",), (1,)))
        kind = chance.choices(kinds, weights)[0]
        if kind == "nothing":
            return None
        late = body["type"] == "action.in_doubt" and chance.random() < 0.3
        ticks = 30 if late else chance.choice(SOON)
        if kind == "interrupt":
            return Reaction(chance.choice((0, 1, 2)), {"type": "interrupt"})
        return Reaction(ticks, self._of(kind, about, chance), twice=chance.random() < 0.25)

    def _of(self, kind: str, about: Known, chance: Random) -> Body:
        if kind == "revert":
            return {"type": kind, "action_id": about.action_id}
        body: Body = {"type": kind, "confirmation_id": about.confirmation_id}
        if kind == "confirm" and chance.random() < 0.25:
            body["args"] = _edited(about.action, chance)
        elif kind == "reject" and chance.random() < 0.5:
            body["reason"] = "too dear"
        return body


_REACTIONS: Final[dict[str, tuple[tuple[str, ...], tuple[int, ...]]]] = {
    "action.proposed": (("nothing", "confirm", "reject", "interrupt", "revert"), (4, 12, 2, 2, 1)),
    "action.confirmed": (("nothing", "confirm", "reject", "interrupt"), (14, 2, 1, 2)),
    "action.committing": (("nothing", "confirm", "interrupt", "revert"), (14, 1, 3, 1)),
    "action.committed": (("nothing", "revert", "confirm"), (10, 7, 1)),
    "action.in_doubt": (("nothing", "confirm", "reject"), (4, 2, 2)),
    "action.reverting": (("nothing", "revert", "interrupt"), (10, 2, 1)),
    "action.rejected": (("nothing", "confirm"), (8, 1)),
    "action.expired": (("nothing", "confirm"), (6, 1)),
}


def _edited(action: str, chance: Random) -> Body:
    if chance.random() < 0.3:
        return chance.choice(({}, {"ticks": "many"}, {"ticks": 1, "more": 2}))
    args: Body = {"ticks": chance.choice((0, 2, 4))}
    return {**args, "card": CARD} if action == "pay" else args


def fits(action: str, args: Body) -> bool:
    """Whether the tool of *action* takes these arguments."""
    names = {"ticks", "card"} if action == "pay" else {"ticks"}
    return set(args) == names and isinstance(args["ticks"], int)
