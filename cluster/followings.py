"""The follower's side: sessions of other nodes that clients of this one are attached to."""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import Final, assert_never

import structlog
import trio
from attrs import define, evolve, field

from bargein.actors.clock import Clock
from bargein.actors.draining import Draining
from bargein.actors.place import Place
from bargein.actors.registry import Sessions
from bargein.actors.session import MOVED
from bargein.cluster.counters import FOLLOWINGS
from bargein.cluster.following import ANSWER_S, OTHER_HISTORY, Following, Seat
from bargein.cluster.letters import (
    Advanced,
    Counted,
    End,
    Followed,
    Gone,
    GuestId,
    Leave,
    Lost,
    Present,
    Show,
    Taken,
    ToFollower,
    Watch,
    Welcome,
)
from bargein.cluster.post import Post
from bargein.protocol.codes import CloseCode
from bargein.protocol.ids import NOTHING, NodeId, Seq, SessionId
from bargein.timeline.store import StoreUnavailable, TimelineCorrupt

LOOK_S: Final = 1.0
"""How soon it is found out what got lost, of a session in which something happens."""

QUIET_LOOK_S: Final = 5.0
"""The same, of one in which nothing happens."""

SILENT_S: Final = 15.0
"""An owner that has answered nothing for so long is given up."""

LINGER_S: Final = 5.0
"""How long a session is followed after the last client: it mostly comes back."""

REPORT_S: Final = 0.1
"""How often an owner is told what sockets have taken, while that changes."""

MOST_LISTED: Final = 256
"""Sessions in one letter."""

_log = structlog.get_logger()


@define(eq=False)
class _Opening:
    """A session whose owner was asked where it stands."""

    place: Place
    answered: trio.Event = field(factory=trio.Event, init=False)
    outcome: Following | Gone | None = field(default=None, init=False)

    def answer(self, outcome: Following | Gone) -> None:
        self.outcome = outcome
        self.answered.set()


@define(eq=False)
class Followings:
    """Takes the letters of owners.  Lives as long as the process."""

    _sessions: Sessions
    _clock: Clock
    _post: Post
    _tasks: trio.Nursery
    _followed: dict[SessionId, Following] = field(factory=dict[SessionId, Following], init=False)
    _openings: dict[tuple[NodeId, SessionId], _Opening] = field(
        factory=dict[tuple[NodeId, SessionId], _Opening], init=False
    )
    _seats: dict[GuestId, tuple[Following, Seat]] = field(
        factory=dict[GuestId, tuple[Following, Seat]], init=False
    )
    _moving: set[Following] = field(factory=set[Following], init=False)
    _moved: trio.Event = field(factory=trio.Event, init=False)
    _ids: count[int] = field(factory=lambda: count(1), init=False)

    async def enter(self, place: Place, owner: NodeId) -> Following | None:
        """Return the session at *place* as it is followed; None if *owner* has it no more.

        Raises:
            StoreError: If the owner can't read it, or does not answer.
        """
        session_id = place.session_id
        following = self._followed.get(session_id)
        if following is not None and not following.ended:
            if following.owner == owner and following.timeline.epoch == place.epoch:
                return following
            self._drop(following)
        opening = self._openings.get((owner, session_id))
        if opening is None:
            opening = self._openings[owner, session_id] = _Opening(place)
            self._post.tell(owner, Watch(session_id))
        try:
            with trio.move_on_after(ANSWER_S):
                await opening.answered.wait()
        finally:
            if self._openings.get((owner, session_id)) is opening:
                del self._openings[owner, session_id]
        match opening.outcome:
            case Following() as found:
                return found
            case Gone(why="elsewhere"):
                return None
            case Gone(why="draining"):
                raise Draining
            case Gone(why="corrupt"):
                raise TimelineCorrupt(session_id, NOTHING)
            case Gone():
                raise StoreUnavailable("the session's node can't serve it now")
            case None:
                raise StoreUnavailable("the session's node does not answer")

    # --- letters -------------------------------------------------------------------

    def take(self, node: NodeId, letter: ToFollower) -> None:
        """Do what a letter of *node* says.  Never waits."""
        match letter:
            case Advanced():
                self._hear(node, letter)
            case Gone():
                self._hear_gone(node, letter)
            case Counted():
                for guest_id, sent in letter.guests.items():
                    found = self._seat(node, guest_id)
                    if found is not None and found[1].received != sent:
                        found[0].lose(found[1])
            case Welcome():
                if (found := self._seat(node, letter.guest)) is not None:
                    found[1].welcomed.set()
            case Show() | End():
                if (found := self._seat(node, letter.guest)) is not None:
                    found[0].show(found[1], letter)
            case Lost():
                if (found := self._seat(node, letter.guest)) is not None:
                    found[0].lose(found[1])
            case _:
                assert_never(letter)

    def lose(self, node: NodeId) -> None:
        """Send everybody back who was a guest of a node that has died, or is about to be one."""
        for (owner, session_id), opening in tuple(self._openings.items()):
            if owner == node:
                opening.answer(Gone(session_id, "elsewhere"))
        for following in tuple(self._followed.values()):
            if following.owner == node:
                self._drop(following)

    def _seat(self, node: NodeId, guest_id: GuestId) -> tuple[Following, Seat] | None:
        found = self._seats.get(guest_id)
        if found is None or found[0].owner != node:
            return None
        found[0].heard_s = trio.current_time()
        return found

    def _hear(self, node: NodeId, advanced: Advanced) -> None:
        session_id = advanced.session_id
        following = self._followed.get(session_id)
        if following is not None and following.owner == node and not following.ended:
            following.heard_s = trio.current_time()
            following.hear(advanced)
        elif (opening := self._openings.pop((node, session_id), None)) is not None:
            following = self._begin(node, opening.place, advanced)
            opening.answer(following)

    def _hear_gone(self, node: NodeId, gone: Gone) -> None:
        opening = self._openings.pop((node, gone.session_id), None)
        if opening is not None:
            opening.answer(gone)
        following = self._followed.get(gone.session_id)
        if following is not None and following.owner == node:
            self._drop(following)

    def _begin(self, owner: NodeId, place: Place, advanced: Advanced) -> Following:
        if (former := self._followed.get(place.session_id)) is not None:
            self._drop(former)
        standing = evolve(place, last_seq=advanced.seq, epoch=advanced.epoch)
        following = Following(
            owner,
            self._sessions.read_only(standing),
            advanced.seq,
            trio.current_time(),
            place.principal,
            place.tenant,
            self._clock,
            self._tasks,
            partial(self._post.tell, owner),
            self,
        )
        following.hear(advanced)
        if advanced.epoch != place.epoch:  # its client was greeted with another history
            following.end(CloseCode.DRAIN, OTHER_HISTORY)
        self._followed[place.session_id] = following
        FOLLOWINGS.set(len(self._followed))
        return following

    def _drop(self, following: Following) -> None:
        following.end(CloseCode.MOVED, MOVED)
        if self._followed.get(following.session_id) is following:
            del self._followed[following.session_id]
        self._moving.discard(following)
        FOLLOWINGS.set(len(self._followed))

    # --- clients -------------------------------------------------------------------

    def new_id(self) -> GuestId:
        """Return an id that no guest of this node has had."""
        return GuestId(str(next(self._ids)))

    def seated(self, following: Following, seat: Seat) -> None:
        """Note that a client has come."""
        self._seats[seat.id] = following, seat
        self.moved(following)

    def left(self, following: Following, seat: Seat) -> None:
        """Note that a client has gone."""
        del self._seats[seat.id]
        following.moved_s = trio.current_time()

    def moved(self, following: Following) -> None:
        """Note that clients were sent something, so that the owner is told what was taken."""
        self._moving.add(following)
        self._moved.set()

    # --- what goes on beside --------------------------------------------------------

    async def report(self) -> None:
        """Tell owners what the sockets have taken, until cancelled."""
        while True:
            await self._moved.wait()
            await trio.sleep(REPORT_S)
            self._moved = trio.Event()
            positions: dict[NodeId, dict[GuestId, Seq]] = {}
            for following in tuple(self._moving):
                of_owner = positions.setdefault(following.owner, {})
                if self._positions(following, of_owner):
                    self._moving.discard(following)
            if self._moving:
                self._moved.set()
            for owner, taken in positions.items():
                if taken:
                    self._post.tell(owner, Taken(taken))

    def _positions(self, following: Following, taken: dict[GuestId, Seq]) -> bool:
        """Add what is new to *taken*; return whether nothing more can come by itself."""
        is_done = True
        for seat in following.seats.values():
            seq = seat.client.taken_seq
            if seq != seat.reported and seat.welcomed.is_set():
                taken[seat.id] = seat.reported = seq
            is_done = is_done and (seat.acks or seq >= following.timeline.durable)
        return is_done

    async def look(self) -> None:
        """Find out what got lost, until cancelled."""
        while True:
            await trio.sleep(LOOK_S)
            self.look_once()

    def look_once(self) -> None:
        """Ask the owners about all sessions that are due, and let go those without clients."""
        now_s = trio.current_time()
        due: dict[NodeId, list[Followed]] = {}
        for following in tuple(self._followed.values()):
            quiet_s = now_s - following.moved_s
            if following.ended or not following.seats:
                if following.ended or quiet_s >= LINGER_S:
                    self._drop(following)
                    self._post.tell(following.owner, Leave(following.session_id))
                continue
            if now_s - following.heard_s > SILENT_S:
                _log.warning("following.owner_silent", session=following.session_id)
                self._drop(following)
                continue
            every_s = LOOK_S if quiet_s < QUIET_LOOK_S else QUIET_LOOK_S
            if now_s - following.looked_s >= every_s:
                following.looked_s = now_s
                due.setdefault(following.owner, []).append(following.seen)
        for owner, followed in due.items():
            for start in range(0, len(followed), MOST_LISTED):
                self._post.tell(owner, Present(tuple(followed[start : start + MOST_LISTED])))
