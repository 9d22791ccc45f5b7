"""The messages of a session's actors: closed unions of frozen values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias, TypeVar

from attrs import frozen

from bargein.actors.answers import Answer
from bargein.actors.audience import Client
from bargein.actors.mailbox import Receipt
from bargein.actors.slots import GRANTED, Claim
from bargein.actors.turn import Ladder, Turn
from bargein.protocol.commands import (
    Command,
    Confirm,
    Interrupt,
    Reject,
    ReportPlayback,
    Revert,
    Say,
    StartPlayback,
    StopPlayback,
)
from bargein.protocol.events import Payload
from bargein.protocol.ids import CallId, Seq, TurnId
from bargein.protocol.state import SessionState
from bargein.speech.turn_taking import EndOfTurn
from bargein.tools.tool import Tool

T = TypeVar("T")

Draft: TypeAlias = Payload | Callable[[SessionState], Payload | None]
"""An event to be; a function is asked when its place on the timeline is reached."""


# --- to input -----------------------------------------------------------------


@frozen(eq=False)
class Joined:
    """A client is attached, and has been greeted."""

    client: Client


@frozen(eq=False)
class Left:
    """A client is gone."""

    client: Client


@frozen(eq=False)
class Received:
    """A command came in.

    Attributes:
        digest: Of the command's body, to tell a re-sent command from another.
        ladder: What the reader of the socket interrupted for it already.
        received_s: When it was read from the socket.
    """

    command: Command
    digest: bytes
    client: Client
    ladder: Ladder | None
    received_s: float


@frozen(eq=False)
class Played:
    """The app's speaker reports what is heard, as a client would."""

    command: StartPlayback | ReportPlayback | StopPlayback


InputMessage: TypeAlias = Joined | Left | Received | Played


# --- to the planner -------------------------------------------------------------


@frozen(eq=False)
class UserSaid:
    """The user finished an utterance, which asks for a turn.

    Attributes:
        spoken: What was said aloud, and how the turn was ended; None where it was typed.
    """

    say: Say
    answer: Answer
    ladder: Ladder | None
    received_s: float
    spoken: EndOfTurn | None = None


@frozen(eq=False)
class StopAsked:
    """The user wants the agent to stop."""

    interrupt: Interrupt
    answer: Answer
    ladder: Ladder | None


@frozen(eq=False)
class Attended:
    """A driver is there; what waited for one may go on."""


@frozen(eq=False)
class FloorGiven:
    """Nobody speaks any more: what waited for that may go on."""


@frozen(eq=False)
class Deserted:
    """Nobody who could drive is there, and the grace is over: start nothing."""


@frozen(eq=False)
class CloseAsked:
    """The session shall end for good."""

    answer: Answer


@frozen(eq=False)
class Foresee:
    """These words may be the user's next turn, or, where there are none, nothing may be."""

    words: str | None


PlannerMessage: TypeAlias = (
    UserSaid | StopAsked | Attended | FloorGiven | Deserted | CloseAsked | Foresee
)


# --- to the pipeline --------------------------------------------------------------


@frozen(eq=False)
class Perform:
    """Do the work of a turn, inside its scope.

    Attributes:
        claim: To a model slot, which it waits for and then keeps while it works.
    """

    turn: Turn
    continues: TurnId | None = None
    claim: Claim = GRANTED


PipelineMessage: TypeAlias = Perform | Foresee


# --- to the ledger ----------------------------------------------------------------


@frozen
class Told:
    """What the model is told at once of an action that it asked for."""

    status: Literal["proposed", "ok", "error", "timeout"]
    result: Any
    text: str


@frozen(eq=False)
class Propose:
    """The agent wants something done.

    Attributes:
        receipt: Answered when it waits for a person, or, where it needs none, when it is done;
            not at all where the turn was interrupted first.
    """

    turn: Turn
    call_id: CallId
    tool: Tool
    args: dict[str, Any]
    receipt: Receipt[Told]


@frozen(eq=False)
class DecisionAsked:
    """Somebody decides a proposal, or what is in doubt."""

    command: Confirm | Reject
    answer: Answer
    principal: str


@frozen(eq=False)
class RevertAsked:
    """Somebody wants undone what was done."""

    command: Revert
    answer: Answer
    principal: str


LedgerMessage: TypeAlias = Propose | DecisionAsked | RevertAsked


# --- to output ----------------------------------------------------------------------


@frozen(eq=False)
class Spoken:
    """Text of the model; worthless once its turn is interrupted."""

    turn: Turn
    text: str
    deltas: int


@frozen(eq=False)
class Noted:
    """Events of a turn's work; worthless once the turn is interrupted.

    Attributes:
        then: As in `Record`; not called where the events are dropped.
    """

    turn: Turn
    drafts: tuple[Draft, ...]
    then: Callable[[Seq], None] | None = None


@frozen(eq=False)
class Record:
    """Events that are always written.

    Attributes:
        then: Called by the output actor with the seq of the last event written
            (or of the head, where every draft came to nothing), before these
            events are visible.  Must not wait.
    """

    turn_id: TurnId | None
    drafts: tuple[Draft, ...]
    then: Callable[[Seq], None] | None = None


OutputMessage: TypeAlias = Spoken | Noted | Record


class Outlet(Protocol):
    """Where the work of a turn sends its events: the output loop, or what stands before it."""

    async def tell(self, message: OutputMessage) -> None:
        """Deliver *message*, waiting while there is no room."""
        ...

    def offer(self, message: OutputMessage) -> bool:
        """Deliver *message* if there is room now; say whether there was."""
        ...

    async def ask(self, request: Callable[[Receipt[T]], OutputMessage], *, within_s: float) -> T:
        """Send `request(receipt)` and return the answer."""
        ...
