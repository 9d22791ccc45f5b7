"""Greets each client, and says what it may read and drive."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import structlog
import trio
from attrs import define, field

from bargein.actors.draining import Draining
from bargein.actors.ownership import OwnedElsewhere
from bargein.actors.place import Place
from bargein.actors.registry import Sessions
from bargein.cluster.following import OTHER_HISTORY
from bargein.gateway.auth.identity import Credential, Denial, Identity
from bargein.gateway.auth.stays import Stay, Stays
from bargein.gateway.connection import WireConnection
from bargein.gateway.cursor import rendered
from bargein.gateway.handshake import Upgrade
from bargein.gateway.manners import Manners
from bargein.gateway.quotas import Accounts
from bargein.gateway.text_view import TextView
from bargein.gateway.visit import Attended, Visit
from bargein.protocol.codec import encode_frame
from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.frames import Hello, Problem, Refused, You, problem
from bargein.protocol.ids import NOTHING, NodeId, Seq, SessionId
from bargein.timeline.store import StoreError, StoreUnavailable, TimelineCorrupt

PROTOCOL: Final = "bargein.v1"
UNKNOWN: Final = Denial(CloseCode.UNAUTHORIZED, "nobody has said who you are")
"""A client that passed no doorkeeper is not served, whoever forgot to ask one."""

_log = structlog.get_logger()


Renew = Callable[[Stay, Upgrade, str], Problem | None]


def take_no_token(_: Stay, __: Upgrade, ___: str) -> Problem | None:
    """Refuse a fresh token where there is nobody to look at it."""
    message = "This server takes no tokens; everybody here is the same principal."
    return problem(ErrorCode.UNAUTHORIZED, message)


Follow = Callable[[Place, NodeId], Awaitable[Attended | None]]
"""Returns a session that another node owns, as it is followed; None if that has it no more.

Raises a `StoreError` where it can't be reached.
"""

CLAIMS: Final = 3
"""How often a session is looked for, whose owner changes meanwhile."""


async def follow_nobody(place: Place, owner: NodeId) -> None:
    """Say that no other node can be reached: this one serves alone."""
    raise StoreUnavailable(f"{place.session_id} is owned by {owner}")


@define(eq=False)
class Reception:
    """Serves every client of the port.  Lives as long as the process.

    Attributes:
        manners: What clients are held to now, whenever they came; others may be put in their place.
        stays: Everybody who is served.
        renew: Takes a fresh token of somebody who is here, or says why not.
        _follow: Finds a session that another node owns.
    """

    _sessions: Sessions
    manners: Manners
    stays: Stays = field(factory=Stays)
    renew: Renew = take_no_token
    _accounts: Accounts = field(factory=Accounts)
    _follow: Follow = field(default=follow_nobody, alias="follow")

    async def serve(self, wire: WireConnection, upgrade: Upgrade) -> None:
        """Serve one client until it leaves or is sent away."""
        caller = upgrade.caller
        if not isinstance(caller, Credential):
            self._deny(wire, upgrade, caller or UNKNOWN)
            return
        with (
            self.stays.begin(caller, wire.close_soon) as stay,
            self._accounts.connected(caller.identity) as refusal,
        ):
            if refusal is None:
                await self._serve_known(wire, upgrade, stay)
            else:
                self._deny(wire, upgrade, over_quota(refusal))

    async def _serve_known(self, wire: WireConnection, upgrade: Upgrade, stay: Stay) -> None:
        identity = stay.credential.identity
        try:
            place = await self._find(upgrade, identity)
        except StoreError as error:
            self._turn_away(wire, upgrade, error)
            return
        if place is None:
            self.stays.note_denied(stay, upgrade.session_id)
            wire.close_soon(CloseCode.NO_SUCH_SESSION, "no such session")
            return
        if upgrade.session_id is None and not self._sessions.can_write:
            # Before `hello`, or it would come back to a session that never was.
            self._send_away(wire, upgrade, ErrorCode.STORE_UNAVAILABLE, CloseCode.DRAIN)
            return
        if place.closed:
            await self._serve_place(wire, upgrade, stay, place)
            return
        new = upgrade.session_id is None
        with self._accounts.seated(identity, place.session_id, new=new) as refusal:
            if refusal is None:
                await self._serve_place(wire, upgrade, stay, place)
            else:
                self._deny(wire, upgrade, over_quota(refusal))

    async def _serve_place(
        self, wire: WireConnection, upgrade: Upgrade, stay: Stay, place: Place
    ) -> None:
        identity = stay.credential.identity
        after, resumed = start_of_replay(upgrade, place)
        view = TextView() if upgrade.view == "text" else None
        hello = self._hello(place, identity, upgrade, after, resumed=resumed)
        for frame in rendered(encode_frame(hello), view):
            wire.put_first(frame)  # or a flush could overtake it, where all has to wait for TLS
        async with trio.open_nursery() as tasks:
            authenticate = partial(self._renew, stay, upgrade)
            greeted = view, place, after, tasks, authenticate
            own = wire, upgrade, identity, lambda: stay.credential.identity.tier, self._now
            visit = Visit(*own, *greeted, self._sessions)
            if place.closed:
                await visit.read_closed(self._sessions.read_only(place))
            elif not self._sessions.can_write:
                await visit.read_along()
            else:
                await self._serve_live(visit, place, upgrade)
            tasks.cancel_scope.cancel(reason="the client has left")

    def _now(self) -> Manners:
        return self.manners

    def _renew(self, stay: Stay, upgrade: Upgrade, token: str) -> Problem | None:
        if (trouble := self.renew(stay, upgrade, token)) is None:
            self._accounts.renewed(stay.credential.identity)
        return trouble

    async def _find(self, upgrade: Upgrade, identity: Identity) -> Place | None:
        if upgrade.session_id is None:
            return self._sessions.new_place(identity.principal, identity.tenant)
        session_id, seen = SessionId(upgrade.session_id), Seq(upgrade.after or NOTHING)
        place = await self._sessions.find(session_id, identity.owner, seen)
        # Somebody else's session is answered exactly as a missing one.
        mine = place is not None and (place.principal, place.tenant) == identity.owner
        return place if mine else None

    async def _serve_live(self, visit: Visit, place: Place, upgrade: Upgrade) -> None:
        try:
            if upgrade.session_id is None:
                session, is_ours = self._sessions.open(place), True
            else:
                session, is_ours = await self._found(place)
        except StoreError as error:
            self._turn_away(visit.wire, upgrade, error)
            return
        if session.timeline.epoch != place.epoch:
            # Redis lost events, and that was declared since the client was greeted.
            visit.wire.close_soon(CloseCode.DRAIN, OTHER_HISTORY)
        elif is_ours:
            await visit.attend(session)
        else:
            await visit.attend_elsewhere(session)

    async def _found(self, place: Place) -> tuple[Attended, bool]:
        """Return the session at *place*, and whether it is one of this process."""
        trouble = StoreUnavailable("the session moves from node to node")
        for _ in range(CLAIMS):
            try:
                return await self._sessions.enter(place.session_id), True
            except OwnedElsewhere as elsewhere:
                owner = elsewhere.owner
            try:
                session = await self._follow(place, owner)
            except StoreUnavailable as error:  # it may be dead, and then it can be claimed
                trouble = error
            else:
                if session is not None:
                    return session, False
        raise trouble

    def _deny(self, wire: WireConnection, upgrade: Upgrade, denial: Denial) -> None:
        if denial.problem is not None:
            view = TextView() if upgrade.view == "text" else None
            wire.put_many(rendered(encode_frame(Refused(None, denial.problem)), view))
        wire.close_soon(denial.code, denial.reason)

    def _turn_away(self, wire: WireConnection, upgrade: Upgrade, error: StoreError) -> None:
        # A drain is nothing to look at: whoever comes back finds the session elsewhere.
        note = _log.info if isinstance(error, Draining) else _log.error
        note("client.turned_away", error=str(error))
        if isinstance(error, TimelineCorrupt):
            closed = CloseCode.SESSION_CLOSED
            self._send_away(wire, upgrade, ErrorCode.TIMELINE_CORRUPT, closed)
        else:
            self._send_away(wire, upgrade, ErrorCode.STORE_UNAVAILABLE, CloseCode.DRAIN)

    def _send_away(
        self, wire: WireConnection, upgrade: Upgrade, code: ErrorCode, close: CloseCode
    ) -> None:
        view = TextView() if upgrade.view == "text" else None
        wire.put_many(rendered(encode_frame(Refused(None, problem(code))), view))
        wire.close_soon(close, code.value)

    def _hello(
        self, place: Place, identity: Identity, upgrade: Upgrade, after: Seq, *, resumed: bool
    ) -> Hello:
        limits = dict(self.manners.limits)
        if (agreed := upgrade.agreed) is not None:  # settings may have changed since it came
            limits |= {"command_bytes": agreed.message_bytes, "frame_bytes": agreed.frame_bytes}
        return Hello(
            PROTOCOL,
            self.manners.server,
            place.session_id,
            place.epoch,
            resumed,
            Seq(after + 1),
            place.last_seq,
            self.manners.heartbeat_s,
            limits,
            You(identity.principal, upgrade.role, identity.tier),
        )


def over_quota(refusal: Problem) -> Denial:
    """Return what somebody is told who has as much as they may, and may come back later."""
    return Denial(CloseCode.OVERLOADED, "over a quota", refusal)


def start_of_replay(upgrade: Upgrade, place: Place) -> tuple[Seq, bool]:
    """Return after which seq the replay starts, and whether that resumes the client's history.

    Never a part: what does not fit exactly starts at the first event.
    """
    after = upgrade.after
    same = place.epoch == upgrade.epoch or (upgrade.epoch is None and not place.epoch_changed)
    if after is None or not same or after > place.last_seq:
        return NOTHING, False
    return Seq(after), True
