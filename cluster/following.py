"""A session that another node owns, as the clients of this node are attached to it.

client ──command──→ Following ──Sent──→ owner
client ←──cursor─── timeline  ←─read─── store ←─append── owner
client ←──frame──── Following ←──Show── owner
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

import structlog
import trio
from attrs import define, field

from bargein.actors.answers import Answer, Answers
from bargein.actors.asides import answer_aside, answer_page, note_forbidden
from bargein.actors.audience import Client
from bargein.actors.clock import Clock
from bargein.actors.mailbox import ActorGone
from bargein.actors.session import MOVED
from bargein.cluster.letters import (
    Advanced,
    Attach,
    Detach,
    End,
    Followed,
    GuestId,
    Letter,
    Sent,
    Show,
    body_of,
)
from bargein.protocol.codec import encode_frame
from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.commands import Ack, Authenticate, Command, History, Interrupt, Ping
from bargein.protocol.frames import Refused, problem
from bargein.protocol.ids import ConfirmationId, NodeId, Seq, SessionId, TurnId
from bargein.timeline.log import Timeline
from bargein.timeline.store import StoreError, TimelineCorrupt

ANSWER_S: Final = 2.0
"""How long an owner may take to answer: then it is not there, or can't help now."""

OTHER_HISTORY: Final = "the session has another history"
UNREADABLE: Final = "the session can't be shown here now"
PAGE_EVENTS: Final = 256
PAGE_BYTES: Final = 256 * 1024
READ_AGAIN_S: Final = 0.05
MISSING_S: Final = 2.0
"""How long the store may take to show what the owner says that it has."""

_log = structlog.get_logger()


@define(eq=False)
class Seat:
    """One client of this node, as the owner's guest.

    Attributes:
        sent: How many commands went to the owner.
        received: How many numbered letters came back.
        reported: What the owner was told of `taken_seq`.
        announced: The owner was told of it.
        acks: Its client says itself what it has: what it has taken changes by that alone.
        ends_at: After which event the owner ends it; None as long as it does not.
        welcomed: It is attached, or never will be.
    """

    id: GuestId
    client: Client
    reported: Seq
    sent: int = field(default=0, init=False)
    received: int = field(default=0, init=False)
    announced: bool = field(default=False, init=False)
    acks: bool = field(default=False, init=False)
    ends_at: Seq | None = field(default=None, init=False)
    welcomed: trio.Event = field(factory=trio.Event, init=False)


class Roster(Protocol):
    """Knows all clients of this node that are guests elsewhere."""

    def new_id(self) -> GuestId:
        """Return an id that no guest of this node has had."""
        ...

    def seated(self, following: Following, seat: Seat, /) -> None:
        """Note that a client has come."""
        ...

    def left(self, following: Following, seat: Seat, /) -> None:
        """Note that a client has gone."""
        ...

    def moved(self, following: Following, /) -> None:
        """Note that clients were sent something, so that the owner is told what was taken."""
        ...


@define(eq=False)
class Following:
    """Lives while clients of this node are attached to the session.

    Attributes:
        owner: The node that runs the session.
        timeline: What the owner says that the store has, as far as it was read.
        known_seq: How far the owner says that the store has it.
        heard_s: When the owner last said something (trio's clock).
        moved_s: When something last happened.
        looked_s: When the owner was last asked what was missed.
        seats: The clients.
        ended: Nobody can be attached any more; follow it anew.
    """

    owner: NodeId
    timeline: Timeline
    known_seq: Seq
    heard_s: float
    _principal: str
    _tenant: str | None
    _clock: Clock
    _tasks: trio.Nursery
    _tell: Callable[[Letter], None]
    _roster: Roster
    moved_s: float = field(init=False)
    looked_s: float = field(init=False)
    ended: bool = field(default=False, init=False)
    seats: dict[GuestId, Seat] = field(factory=dict[GuestId, Seat], init=False)
    _by_client: dict[Client, Seat] = field(factory=dict[Client, Seat], init=False)
    _answers: Answers = field(factory=Answers, init=False)
    _stoppable: TurnId | None = field(default=None, init=False)
    _stopped: TurnId | None = field(default=None, init=False)
    _decisions: tuple[tuple[ConfirmationId, str], ...] = field(default=(), init=False)
    _reading: bool = field(default=False, init=False)
    _pages: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(2), init=False)

    def __attrs_post_init__(self) -> None:
        self.moved_s = self.looked_s = self.heard_s

    @property
    def session_id(self) -> SessionId:
        """The session's id."""
        return self.timeline.session_id

    # --- for connections ----------------------------------------------------------

    @property
    def is_writable(self) -> bool:
        """Whether what a client asks for now is likely to be stored, as seen from here."""
        return self.timeline.is_writable

    @property
    def open_decisions(self) -> tuple[tuple[ConfirmationId, str], ...]:
        """What waits for a yes or no, as the owner said last."""
        return self._decisions

    def would_stop(self, command: Interrupt) -> bool:
        """Say whether *command* is the first from here to stop the turn that is open."""
        turn_id = self._stoppable
        if turn_id is None or turn_id == self._stopped:
            return False
        return command.turn_id in (None, turn_id)

    def note_forbidden(self, command: Command, principal: str) -> None:
        """Put on the audit that somebody tried to decide who may not."""
        owner = self._principal, self._tenant
        note_forbidden(command, principal, self.timeline, self._clock, owner)

    def attach(self, client: Client) -> None:
        """Let *client* follow the timeline from its cursor on."""
        seat = Seat(self._roster.new_id(), client, client.taken_seq)
        self.seats[seat.id] = self._by_client[client] = seat
        self.timeline.follow(client)
        self._roster.seated(self, seat)

    async def announce(self, client: Client) -> None:
        """Tell the owner that *client* is attached; after this it is on the timeline.

        Raises:
            ActorGone: If the owner does not take it; attach again.
        """
        seat = self._by_client.get(client)
        if seat is not None and not self.ended:
            seat.announced = True
            who = self.session_id, seat.id, client.role, client.principal
            self._tell(Attach(*who, seat.reported, client.tier))
            with trio.move_on_after(ANSWER_S):
                await seat.welcomed.wait()
                if not self.ended:
                    self._roster.moved(self)
                    return
        raise ActorGone("owner")

    async def detach(self, client: Client) -> None:
        """Let *client* go."""
        seat = self._by_client.pop(client, None)
        if seat is not None:
            del self.seats[seat.id]
            self.timeline.unfollow(client)
            self._tell(Detach(seat.id, client.taken_seq))
            self._roster.left(self, seat)
        await trio.lowlevel.checkpoint()

    async def receive(self, command: Command, digest: bytes, client: Client) -> None:
        """Answer what concerns this connection alone, and send the owner the rest.

        Raises:
            ActorGone: If the owner has gone, or the session.
        """
        seat = self._by_client.get(client)
        if seat is None or self.ended:
            raise ActorGone("owner")
        match command:
            case Ping() | Ack() | Authenticate():
                self._answer_aside(command, digest, client)
                if isinstance(command, Ack):
                    seat.acks = True
                    self._roster.moved(self)
            case History():
                answer = Answer(command.id, True, digest, [client])  # noqa: FBT003
                self._tasks.start_soon(self._page, command, answer)
            case _:
                if isinstance(command, Interrupt) and command.turn_id in (None, self._stoppable):
                    self._stopped = self._stoppable
                self.moved_s = trio.current_time()
                seat.sent += 1
                seat.reported = client.taken_seq
                body = body_of(command)
                self._tell(Sent(seat.id, seat.sent, body, digest, seat.reported, client.tier))
        await trio.lowlevel.checkpoint()

    def _answer_aside(
        self, command: Ping | Ack | Authenticate, digest: bytes, client: Client
    ) -> None:
        first = self._answers.find(command.id)
        if first is not None and first.digest != digest:
            refusal = Answer(command.id, False, digest, [client])  # noqa: FBT003
            refusal.refuse(problem(ErrorCode.DUPLICATE, param="id"))
        elif first is not None and not isinstance(command, Authenticate):
            first.also_to(client)
        else:
            answer = self._answers.begin(command.id, digest, client)
            answer_aside(command, answer, client, self.timeline, self._clock)

    async def _page(self, command: History, answer: Answer) -> None:
        try:
            async with self._pages:
                await answer_page(command, answer, self.timeline)
        except Exception:  # noqa: BLE001 - the boundary of one session
            _log.exception("following.page_failed", session=self.session_id)
            answer.refuse(problem(ErrorCode.INTERNAL))

    # --- for the owner ------------------------------------------------------------

    @property
    def seen(self) -> Followed:
        """What the owner is to hold against what it knows."""
        guests = {seat.id: seat.sent for seat in self.seats.values() if seat.announced}
        return Followed(self.session_id, self.timeline.durable, guests)

    def hear(self, advanced: Advanced) -> None:
        """Take note of where the session stands."""
        self._stoppable, self._decisions = advanced.stoppable, advanced.decisions
        if advanced.epoch != self.timeline.epoch:
            self._end_all(CloseCode.DRAIN, OTHER_HISTORY)
        else:
            if not (self._reading or self.ended):
                self._take(advanced)
            self.know(advanced.seq)

    def _take(self, advanced: Advanced) -> None:
        """Show the events that came with a letter, if they are the next."""
        missing = advanced.seq - self.timeline.durable
        if 0 < missing <= len(advanced.frames):
            self.moved_s = trio.current_time()
            self.timeline.take_in(advanced.frames[-missing:])
            self._roster.moved(self)

    def know(self, seq: Seq) -> None:
        """Read up to *seq*: the owner says that the store has it."""
        if seq > self.known_seq:
            self.known_seq = seq
            self.moved_s = trio.current_time()
        if self.timeline.durable < self.known_seq and not (self._reading or self.ended):
            self._reading = True
            self._tasks.start_soon(self._read)

    def show(self, seat: Seat, letter: Show | End) -> None:
        """Give a client what the owner has for it, after the events that come before."""
        seat.received += 1
        if letter.number != seat.received:
            self.lose(seat)
            return
        client = seat.client
        if isinstance(letter, End):
            seat.ends_at = letter.seq
            client.end_at(letter.seq, letter.code, letter.reason)
        elif letter.first:
            client.show_first(letter.frame)
        else:
            client.show_at(letter.seq, letter.frame)

    def lose(self, seat: Seat) -> None:
        """Let a client come back, because something between it and the owner was lost."""
        _log.warning("following.letters_lost", session=self.session_id, owner=self.owner)
        seat.client.end(CloseCode.MOVED, MOVED)

    def end(self, code: CloseCode, reason: str) -> None:
        """Send all clients away; whoever comes back finds out who owns the session.

        Those that the owner has ended itself get the events before that, if it had them stored.
        """
        self.ended = True
        for seat in tuple(self.seats.values()):
            if not self._is_seen_off(seat):
                seat.client.end(code, reason)
            seat.welcomed.set()

    def _is_seen_off(self, seat: Seat) -> bool:
        return seat.ends_at is not None and seat.ends_at <= self.known_seq

    @property
    def _is_wanted(self) -> bool:
        """Whether anybody still waits for events."""
        return not self.ended or any(map(self._is_seen_off, self.seats.values()))

    async def _read(self) -> None:
        """Read what the store has, up to where the owner says that it may be seen."""
        timeline = self.timeline
        late_s = trio.current_time() + MISSING_S
        try:
            while timeline.durable < self.known_seq and self._is_wanted:
                limit = min(PAGE_EVENTS, self.known_seq - timeline.durable)
                page = await timeline.read_back(
                    timeline.durable, limit=limit, most_bytes=PAGE_BYTES
                )
                if page:
                    timeline.take_in([stored.frame for stored in page])
                    self._roster.moved(self)
                    late_s = trio.current_time() + MISSING_S
                elif trio.current_time() < late_s:
                    await trio.sleep(READ_AGAIN_S)
                else:
                    self._end_all(CloseCode.DRAIN, OTHER_HISTORY)
        except StoreError as error:
            self._give_up(error)
        except Exception:  # noqa: BLE001 - the boundary of one session
            _log.exception("following.failed", session=self.session_id)
            self._end_all(CloseCode.DRAIN, UNREADABLE)
        finally:
            self._reading = False

    def _give_up(self, error: StoreError) -> None:
        _log.warning("following.unreadable", session=self.session_id, error=str(error))
        if isinstance(error, TimelineCorrupt):
            code, close = ErrorCode.TIMELINE_CORRUPT, CloseCode.SESSION_CLOSED
        else:
            code, close = ErrorCode.STORE_UNAVAILABLE, CloseCode.DRAIN
        for seat in self.seats.values():
            seat.client.show(encode_frame(Refused(None, problem(code))))
        self._end_all(close, code.value)

    def _end_all(self, code: CloseCode, reason: str) -> None:
        """Send away also those that wait for what can't be read."""
        for seat in self.seats.values():
            seat.ends_at = None
        self.end(code, reason)
