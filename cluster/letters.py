"""What two nodes write to each other about a session that one owns and the other follows.

A guest is a connection of one node that drives or watches a session of another.  Letters to
the owner and back are numbered for each guest, so that a lost one is noticed: see `Present`.
"""

from __future__ import annotations

from typing import Any, Final, Literal, NewType, TypeAlias, get_args

import msgspec
from attrs import frozen

from bargein.protocol.codec import CommandRefused, command_of
from bargein.protocol.commands import Command, Role
from bargein.protocol.ids import ConfirmationId, Epoch, Seq, SessionId, TurnId

GuestId = NewType("GuestId", str)
"""Names a connection among those of its node, for the life of that."""

Reason: TypeAlias = Literal["elsewhere", "unavailable", "corrupt", "draining"]


# --- from a follower to the owner ---------------------------------------------------


@frozen
class Watch:
    """Say where the session stands, and from now on whenever it goes on."""

    session_id: SessionId


@frozen
class Leave:
    """Say no more of the session."""

    session_id: SessionId


@frozen
class Attach:
    """A client of mine is attached.

    Attributes:
        taken_seq: What it has already.
        tier: By its token; empty where its node does not say.
    """

    session_id: SessionId
    guest: GuestId
    role: Role
    principal: str
    taken_seq: Seq
    tier: str = ""


@frozen
class Sent:
    """A guest sent a command.

    Attributes:
        number: How many it has sent, with this one.
        body: The command, as JSON.
        digest: Of what the client wrote.
        taken_seq: What its socket had taken by then.
        tier: By its latest token; empty where its node does not say.
    """

    guest: GuestId
    number: int
    body: bytes
    digest: bytes
    taken_seq: Seq
    tier: str = ""


@frozen
class Taken:
    """What the sockets of guests have taken."""

    positions: dict[GuestId, Seq]


@frozen
class Detach:
    """A guest has gone."""

    guest: GuestId
    taken_seq: Seq


@frozen
class Followed:
    """How a follower sees one session.

    Attributes:
        seq: The last event that it has.
        guests: All that it has there, and how many commands each has sent.
    """

    session_id: SessionId
    seq: Seq
    guests: dict[GuestId, int]


@frozen
class Present:
    """All that I follow of yours and know of it: say what I have missed.

    Sent every few seconds, so that whatever got lost is found out.
    """

    followed: tuple[Followed, ...]


# --- from the owner to a follower ---------------------------------------------------


@frozen
class Advanced:
    """The session stands at `seq`, and the store has all up to there.

    Attributes:
        frames: The last events up to `seq`, so that they need not be read; perhaps none.
        stoppable: The open turn, while nobody has interrupted it.
        decisions: Confirmation id and summary of what waits for a yes or no.
    """

    session_id: SessionId
    epoch: Epoch
    seq: Seq
    frames: tuple[bytes, ...]
    stoppable: TurnId | None
    decisions: tuple[tuple[ConfirmationId, str], ...]


@frozen
class Gone:
    """I don't have that session for you.

    Attributes:
        why: It is not mine, or can't be read now, or is damaged, or I am about to end.
    """

    session_id: SessionId
    why: Reason


@frozen
class Welcome:
    """A guest is attached: that is on the timeline."""

    guest: GuestId


@frozen
class Show:
    """Send a guest a connection frame.

    Attributes:
        number: How many letters to this guest there were, with this one.
        seq: The events up to here come before it, unless it goes ahead of all.
    """

    guest: GuestId
    number: int
    frame: bytes
    seq: Seq
    first: bool


@frozen
class End:
    """Close a guest's connection, once it has the events up to `seq`."""

    guest: GuestId
    number: int
    code: int
    reason: str
    seq: Seq


@frozen
class Counted:
    """How many letters there were to each of these guests."""

    guests: dict[GuestId, int]


@frozen
class Lost:
    """I don't know that guest, or not all that it sent: let it come back."""

    guest: GuestId


# --- between servers that share model slots ------------------------------------------


@frozen
class SlotsMoved:
    """Some of your turns have a model slot now, or are to give theirs back.

    Attributes:
        granted: Numbers of claims, as you have given them.
        stopped: The same of those that lose their slot to a higher tier.
    """

    granted: tuple[int, ...] = ()
    stopped: tuple[int, ...] = ()


ToOwner: TypeAlias = Watch | Leave | Attach | Sent | Taken | Detach | Present
ToFollower: TypeAlias = Advanced | Gone | Welcome | Show | End | Counted | Lost
Letter: TypeAlias = ToOwner | ToFollower | SlotsMoved

TO_OWNER: Final = (Watch, Leave, Attach, Sent, Taken, Detach, Present)

_KINDS: Final[dict[str, type[Letter]]] = {
    kind.__name__.lower(): kind for kind in (*TO_OWNER, *get_args(ToFollower), SlotsMoved)
}
_NAMES: Final = {kind: name for name, kind in _KINDS.items()}
_encode: Final = msgspec.msgpack.Encoder().encode
_decode_envelope: Final = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw]).decode
_decoders: Final[dict[str, msgspec.msgpack.Decoder[Letter]]] = {
    name: msgspec.msgpack.Decoder(kind) for name, kind in _KINDS.items()
}


class LetterRefused(ValueError):
    """What came is no letter that this version knows; others are as good as ever.

    Attributes:
        reason: What does not fit, in words.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"not a letter: {reason}")
        self.reason = reason


def kind_of(letter: Letter) -> str:
    """Return what a letter is called, for the operator."""
    return _NAMES[type(letter)]


def encode_letter(letter: Letter) -> bytes:
    """Return a letter as bytes."""
    return _encode((_NAMES[type(letter)], letter))


def decode_letter(message: bytes) -> Letter:
    """Return the letter in *message*.

    Raises:
        LetterRefused: If there is none that this version knows; drop it.
    """
    try:
        name, body = _decode_envelope(message)
        decoder = _decoders.get(name)
        if decoder is not None:
            return decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise LetterRefused(str(error)) from None
    raise LetterRefused(f"there is no kind {name[:40]!r}")


def body_of(command: Command) -> bytes:
    """Return a command as the JSON that `command_in` reads."""
    fields: dict[str, Any] = msgspec.to_builtins(command)
    given = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.encode({"type": command.type, **given})


def command_in(body: bytes) -> Command:
    """Return the command that a letter holds.

    Raises:
        LetterRefused: If there is none; whoever wrote it runs other code.
    """
    try:
        return command_of(msgspec.json.decode(body, type=dict[str, Any]))
    except (msgspec.MsgspecError, CommandRefused) as error:
        raise LetterRefused(str(error)) from None
