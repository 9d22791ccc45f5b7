"""The owner's side: sessions of this node that clients of other nodes are attached to."""

from __future__ import annotations

from functools import partial
from typing import Final, assert_never

import structlog
import trio
from attrs import define, field

from bargein.actors.mailbox import ActorGone
from bargein.actors.ownership import OwnedElsewhere
from bargein.actors.registry import Sessions
from bargein.actors.session import Session
from bargein.cluster.counters import GUESTS
from bargein.cluster.guest import Guest, Onlooker
from bargein.cluster.letters import (
    Attach,
    Counted,
    Detach,
    Followed,
    Gone,
    GuestId,
    Leave,
    LetterRefused,
    Lost,
    Present,
    Reason,
    Sent,
    Taken,
    ToOwner,
    Watch,
    command_in,
)
from bargein.cluster.post import Post
from bargein.protocol.codec import encode_frame
from bargein.protocol.codes import CloseCode
from bargein.protocol.frames import GoAway
from bargein.protocol.ids import NodeId, SessionId
from bargein.timeline.store import StoreError, TimelineCorrupt

MOST_WAITING: Final = 256
"""Commands of one guest that the session has not taken yet; a client is throttled long before."""

MOST_GUESTS: Final = 10_000
MOST_OPENINGS: Final = 1000
"""Sessions that are being looked up for other nodes; whoever finds no place asks again."""

LEAVE_LIMIT_S: Final = 1.0
FORGOTTEN_S: Final = 20.0
"""After that long without a word of it, a session is followed by that node no more."""

_log = structlog.get_logger()


@define(eq=False)
class Guests:
    """Takes the letters of followers.  Lives as long as the process.

    Attributes:
        farewell: What who comes is told while the process drains: then only those are taken in
            whose session is in memory and has something to be seen, or stopped.
    """

    _sessions: Sessions
    _post: Post
    _tasks: trio.Nursery
    farewell: GoAway | None = field(default=None, init=False)
    _guests: dict[tuple[NodeId, GuestId], Guest] = field(
        factory=dict[tuple[NodeId, GuestId], Guest], init=False
    )
    _onlookers: dict[tuple[NodeId, SessionId], Onlooker] = field(
        factory=dict[tuple[NodeId, SessionId], Onlooker], init=False
    )
    _openings: int = field(default=0, init=False)

    @property
    def count(self) -> int:
        """How many guests there are."""
        return len(self._guests)

    def take(self, node: NodeId, letter: ToOwner) -> None:
        """Do what a letter of *node* asks for.  Never waits."""
        match letter:
            case Watch():
                self._watch(node, letter.session_id)
            case Leave():
                self._look_away(node, letter.session_id)
            case Attach():
                self._attach(node, letter)
            case Sent():
                self._take_command(node, letter)
            case Taken():
                for guest_id, seq in letter.positions.items():
                    if (guest := self._guests.get((node, guest_id))) is not None:
                        guest.taken_seq = seq
            case Detach():
                if (guest := self._guests.get((node, letter.guest))) is not None:
                    guest.taken_seq = letter.taken_seq
                    self._dismiss(guest)
            case Present():
                for followed in letter.followed:
                    self._compare(node, followed)
            case _:
                assert_never(letter)

    def forget(self, node: NodeId) -> None:
        """Let all guests of a node go that has died."""
        for of_node, session_id in tuple(self._onlookers):
            if of_node == node:
                self._look_away(node, session_id)

    def sweep(self) -> None:
        """Let go what its node has not spoken of for long: a word of it was lost."""
        limit_s = trio.current_time() - FORGOTTEN_S
        for (node, session_id), onlooker in tuple(self._onlookers.items()):
            if onlooker.heard_s < limit_s:
                self._look_away(node, session_id)

    # --- who follows -----------------------------------------------------------------

    def _watch(self, node: NodeId, session_id: SessionId) -> None:
        at_hand = None if self.farewell is None else self._sessions.at_hand(session_id)
        if self._openings >= MOST_OPENINGS or not self._serves(at_hand):
            why = "unavailable" if self.farewell is None else "draining"
            self._post.tell(node, Gone(session_id, why))
        else:
            self._openings += 1
            self._tasks.start_soon(self._open, node, session_id, at_hand)

    def _serves(self, session: Session | None) -> bool:
        """Say whether somebody may still come to a session; None: it may have to be revived."""
        return self.farewell is None or (session is not None and not session.is_quiet)

    async def _open(self, node: NodeId, session_id: SessionId, at_hand: Session | None) -> None:
        try:
            found = at_hand or await self._entered(session_id)
        finally:
            self._openings -= 1
        if isinstance(found, Session):
            await self._show(node, found)
        else:
            self._post.tell(node, Gone(session_id, found))

    async def _show(self, node: NodeId, session: Session) -> None:
        """Let a node look on until the session ends here, and tell it then."""
        known = self._onlookers.get((node, session.id))
        onlooker = self._look_on(node, session)
        if onlooker is known:
            return
        with onlooker.stay:
            await session.until_ended()
            self._look_away(node, session.id)
            self._post.tell(node, Gone(session.id, "elsewhere"))

    def _look_on(self, node: NodeId, session: Session) -> Onlooker:
        onlooker = self._onlookers.get((node, session.id))
        if onlooker is None or onlooker.session is not session:
            self._look_away(node, session.id)
            onlooker = Onlooker(
                session,
                partial(self._post.tell, node),
                trio.current_time(),
                session.timeline.durable,
            )
            self._onlookers[node, session.id] = onlooker
            session.timeline.follow(onlooker)
        onlooker.heard_s = trio.current_time()
        onlooker.advance()
        return onlooker

    async def _entered(self, session_id: SessionId) -> Session | Reason:
        try:
            return await self._sessions.enter(session_id)
        except OwnedElsewhere:
            return "elsewhere"
        except TimelineCorrupt:
            return "corrupt"
        except StoreError as error:
            _log.warning("guest.turned_away", session=session_id, error=str(error))
        except Exception:  # noqa: BLE001 - the boundary of one session
            _log.exception("guest.not_found", session=session_id)
        return "unavailable"

    def _look_away(self, node: NodeId, session_id: SessionId) -> None:
        onlooker = self._onlookers.pop((node, session_id), None)
        if onlooker is not None:
            onlooker.stay.cancel(reason="the node follows it no more")
            onlooker.session.timeline.unfollow(onlooker)
            for guest in tuple(onlooker.guests.values()):
                self._dismiss(guest)

    def _compare(self, node: NodeId, followed: Followed) -> None:
        """Find out what got lost between a follower and this node."""
        session_id = followed.session_id
        onlooker = self._onlookers.get((node, session_id))
        if onlooker is None or onlooker.session.ending:
            self._look_away(node, session_id)
            self._post.tell(node, Gone(session_id, "elsewhere"))
            return
        onlooker.heard_s = trio.current_time()
        if onlooker.session.timeline.durable != followed.seq:
            onlooker.told_seq = followed.seq
            onlooker.advance()
        for guest in tuple(onlooker.guests.values()):
            if guest.id not in followed.guests:
                self._dismiss(guest)
        counts: dict[GuestId, int] = {}
        for guest_id, sent in followed.guests.items():
            guest = onlooker.guests.get(guest_id)
            if guest is None or guest.heard != sent:
                self._post.tell(node, Lost(guest_id))
            else:
                counts[guest_id] = guest.number
        if counts:
            self._post.tell(node, Counted(counts))

    # --- guests ----------------------------------------------------------------------

    def _attach(self, node: NodeId, letter: Attach) -> None:
        key = node, letter.guest
        onlooker = self._onlookers.get((node, letter.session_id))
        if onlooker is None or onlooker.session.ending:
            self._post.tell(node, Gone(letter.session_id, "elsewhere"))  # follow it anew
        is_full = len(self._guests) >= MOST_GUESTS or key in self._guests
        if onlooker is None or is_full or not self._serves(onlooker.session):
            self._post.tell(node, Lost(letter.guest))
            return
        tell = partial(self._post.tell, node)
        inbox, commands = trio.open_memory_channel[Sent](MOST_WAITING)
        session = onlooker.session
        if letter.tier and letter.principal == session.principal:
            session.allowance.renewed(letter.tier)  # its token was shown elsewhere
        who = letter.role, letter.principal, letter.tier, letter.taken_seq
        guest = Guest(node, letter.guest, session, *who, tell, inbox)
        self._guests[key] = onlooker.guests[guest.id] = guest
        self._tasks.start_soon(self._host, guest, commands)

    async def _host(self, guest: Guest, commands: trio.MemoryReceiveChannel[Sent]) -> None:
        """Keep a guest attached until it goes; what it breaks is its own affair."""
        try:
            await self._attend(guest, commands)
        except Exception:  # noqa: BLE001 - the boundary of one guest
            _log.exception("guest.failed", session=guest.session.id, node=guest.node)
            self._post.tell(guest.node, Lost(guest.id))
            if self._guests.get((guest.node, guest.id)) is guest:
                self._dismiss(guest)

    async def _attend(self, guest: Guest, commands: trio.MemoryReceiveChannel[Sent]) -> None:
        session = guest.session
        session.attach(guest)
        try:
            with GUESTS.track_inprogress():
                await session.announce(guest)
                guest.welcome()
                if self.farewell is not None:
                    guest.show(encode_frame(self.farewell))
                async for sent in commands:
                    await self._obey(sent, guest)
        except ActorGone:
            guest.end(CloseCode.DRAIN, "session restarting")
        finally:
            with trio.move_on_after(LEAVE_LIMIT_S, shield=True):  # bounded, or it would stay
                await session.detach(guest)

    async def _obey(self, sent: Sent, guest: Guest) -> None:
        try:
            command = command_in(sent.body)
        except LetterRefused as error:
            _log.error("letter.refused", node=guest.node, error=str(error))
            self._post.tell(guest.node, Lost(guest.id))
            return
        await guest.session.receive(command, sent.digest, guest)

    def _take_command(self, node: NodeId, sent: Sent) -> None:
        guest = self._guests.get((node, sent.guest))
        if guest is None:
            self._post.tell(node, Lost(sent.guest))
            return
        guest.heard += 1
        guest.taken_seq = sent.taken_seq
        if sent.tier and sent.tier != guest.tier:  # it was given a fresh token there
            guest.tier = sent.tier
            if guest.principal == guest.session.principal:
                guest.session.allowance.renewed(sent.tier)
        try:
            is_next = sent.number == guest.heard
            if is_next:
                guest.inbox.send_nowait(sent)
        except (trio.WouldBlock, trio.BrokenResourceError):
            is_next = False
        if not is_next:
            # One before it was lost, or too many wait, or the session has ended.
            self._post.tell(node, Lost(sent.guest))
            self._dismiss(guest)

    def _dismiss(self, guest: Guest) -> None:
        """Let a guest go, once the session has taken what the guest had sent."""
        del self._guests[guest.node, guest.id]
        if (onlooker := self._onlookers.get((guest.node, guest.session.id))) is not None:
            onlooker.guests.pop(guest.id, None)
        guest.inbox.close()
