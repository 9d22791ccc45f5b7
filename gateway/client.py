"""One attached client: greets it, lets it follow, and hands on what it sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any, Final

import msgspec
import structlog
import trio
from attrs import define, field, frozen

from bargein.actors.mailbox import ActorGone
from bargein.actors.registry import Place, Sessions
from bargein.actors.session import Session
from bargein.gateway.attached import AttachedClient
from bargein.gateway.auth.identity import Credential, Denial, Identity
from bargein.gateway.auth.stays import Stay, Stays
from bargein.gateway.connection import WireConnection
from bargein.gateway.counters import RATE_LIMITED
from bargein.gateway.cursor import Cursor, rendered
from bargein.gateway.handshake import Upgrade
from bargein.gateway.inbox import BinaryFrame, Incoming, NotUtf8, Oversized, TextFrame
from bargein.gateway.rates import Rates, Strikes, Throttle
from bargein.gateway.text_view import TextView
from bargein.protocol.codec import CommandRefused, command_of, decode_command, encode_frame
from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.commands import FOR_WATCHERS, Command, Interrupt, Role, Say
from bargein.protocol.frames import Hello, Problem, Refused, Reply, You, problem
from bargein.protocol.ids import NOTHING, CommandId, Seq, SessionId
from bargein.protocol.lines import HELP, Decide, Help, Quit, only_open_proposal, read_line
from bargein.timeline.log import Timeline
from bargein.timeline.store import StoreError, TimelineCorrupt

PROTOCOL: Final = "bargein.v1"
LEAVE_LIMIT_S: Final = 1.0
"""A session's input drains in microseconds; one that doesn't is gone."""

UNKNOWN: Final = Denial(CloseCode.UNAUTHORIZED, "nobody has said who you are")
"""A client that passed no doorkeeper is not served, whoever forgot to ask one."""

_log = structlog.get_logger()


Renew = Callable[[Stay, Upgrade, str], Problem | None]


def take_no_token(_: Stay, __: Upgrade, ___: str) -> Problem | None:
    """Refuse a fresh token where there is nobody to look at it."""
    message = "This server takes no tokens; everybody here is the same principal."
    return problem(ErrorCode.UNAUTHORIZED, message)


@frozen
class Manners:
    """What a client is told and held to.

    Attributes:
        server: Name and version, as in `hello.server`.
        limits: What `hello.limits` says.
        rates: How fast it may send.
    """

    server: str
    limits: Mapping[str, Any]
    heartbeat_s: float = 20.0
    strikes_most: int = 10
    strikes_window_s: float = 60.0
    lagging_events: int = 256
    lagging_s: float = 30.0
    rates: Rates = field(factory=Rates)


@define(eq=False)
class Reception:
    """Serves every client of the port.  Lives as long as the process.

    Attributes:
        stays: Everybody who is served.
        renew: Takes a fresh token of somebody who is here, or says why not.
    """

    _sessions: Sessions
    _manners: Manners
    stays: Stays = field(factory=Stays)
    renew: Renew = take_no_token

    async def serve(self, wire: WireConnection, upgrade: Upgrade) -> None:
        """Serve one client until it leaves or is sent away."""
        caller = upgrade.caller
        if not isinstance(caller, Credential):
            self._deny(wire, upgrade, caller or UNKNOWN)
            return
        with self.stays.begin(caller, wire.close_soon) as stay:
            await self._serve_known(wire, upgrade, stay)

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
        after, resumed = start_of_replay(upgrade, place)
        view = TextView() if upgrade.view == "text" else None
        hello = self._hello(place, identity, upgrade.role, after, resumed=resumed)
        for frame in rendered(encode_frame(hello), view):
            wire.put_first(frame)  # or a flush could overtake it, where all has to wait for TLS
        async with trio.open_nursery() as tasks:
            authenticate = partial(self.renew, stay, upgrade)
            visit = Visit(
                wire, upgrade, identity, self._manners, view, place, after, tasks, authenticate
            )
            if place.closed:
                await visit.read_closed(self._sessions.read_only(place))
            else:
                await self._serve_live(visit, place, upgrade)
            tasks.cancel_scope.cancel(reason="the client has left")

    async def _find(self, upgrade: Upgrade, identity: Identity) -> Place | None:
        if upgrade.session_id is None:
            return self._sessions.new_place(identity.principal, identity.tenant)
        place = await self._sessions.find(SessionId(upgrade.session_id), identity.owner)
        # Somebody else's session is answered exactly as a missing one.
        mine = place is not None and (place.principal, place.tenant) == identity.owner
        return place if mine else None

    async def _serve_live(self, visit: Visit, place: Place, upgrade: Upgrade) -> None:
        try:
            if upgrade.session_id is None:
                session = self._sessions.open(place)
            else:
                session = await self._sessions.enter(place.session_id)
        except StoreError as error:
            self._turn_away(visit.wire, upgrade, error)
            return
        await visit.attend(session)

    def _deny(self, wire: WireConnection, upgrade: Upgrade, denial: Denial) -> None:
        if denial.problem is not None:
            view = TextView() if upgrade.view == "text" else None
            wire.put_many(rendered(encode_frame(Refused(None, denial.problem)), view))
        wire.close_soon(denial.code, denial.reason)

    def _turn_away(self, wire: WireConnection, upgrade: Upgrade, error: StoreError) -> None:
        _log.error("client.turned_away", error=str(error))
        corrupt = isinstance(error, TimelineCorrupt)
        code = ErrorCode.TIMELINE_CORRUPT if corrupt else ErrorCode.STORE_UNAVAILABLE
        view = TextView() if upgrade.view == "text" else None
        wire.put_many(rendered(encode_frame(Refused(None, problem(code))), view))
        wire.close_soon(CloseCode.SESSION_CLOSED if corrupt else CloseCode.DRAIN, code.value)

    def _hello(
        self, place: Place, identity: Identity, role: Role, after: Seq, *, resumed: bool
    ) -> Hello:
        return Hello(
            PROTOCOL,
            self._manners.server,
            place.session_id,
            place.epoch,
            resumed,
            Seq(after + 1),
            place.last_seq,
            self._manners.heartbeat_s,
            dict(self._manners.limits),
            You(identity.principal, role, identity.tier),
        )


def start_of_replay(upgrade: Upgrade, place: Place) -> tuple[Seq, bool]:
    """Return after which seq the replay starts, and whether that resumes the client's history.

    Never a part: what does not fit exactly starts at the first event.
    """
    after = upgrade.after
    same = place.epoch == upgrade.epoch or (upgrade.epoch is None and not place.epoch_changed)
    if after is None or not same or after > place.last_seq:
        return NOTHING, False
    return Seq(after), True


@define(eq=False)
class Visit:
    """One client's stay: its cursor, its commands, its rates, its strikes."""

    wire: WireConnection
    _upgrade: Upgrade
    _identity: Identity
    _manners: Manners
    _view: TextView | None
    _place: Place
    _after: Seq
    _tasks: trio.Nursery
    _authenticate: Callable[[str], Problem | None]
    _strikes: Strikes = field(init=False)
    _throttle: Throttle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._throttle = Throttle(self._manners.rates)
        self._strikes = Strikes(self._manners.strikes_most, self._manners.strikes_window_s)

    async def read_closed(self, timeline: Timeline) -> None:
        """Show a closed session and end the connection; nothing is taken."""
        cursor = self._cursor_on(timeline)
        end = partial(self.wire.close_soon, CloseCode.SESSION_CLOSED, "session closed")
        cursor.when_at(self._place.last_seq, end)
        cursor.advance()
        while await self.wire.receive() is not None:
            pass

    async def attend(self, session: Session) -> None:
        """Let the client follow and drive *session* until it leaves."""
        cursor = self._cursor_on(session.timeline)
        client = AttachedClient(
            self._upgrade.role, self._identity.principal, self.wire, cursor, self._authenticate
        )
        session.attach(client)
        try:
            cursor.advance()
            await session.announce(client)
            while (incoming := await self.wire.receive()) is not None:
                await self._take(incoming, session, client)
        except ActorGone:
            # The session ends; it has said so on this connection, or will not
            # any more: then the client comes back to a new one.
            self.wire.close_soon(CloseCode.DRAIN, "session restarting")
        finally:
            with trio.move_on_after(LEAVE_LIMIT_S, shield=True):  # bounded, or it would stay
                await session.detach(client)

    def _cursor_on(self, timeline: Timeline) -> Cursor:
        return Cursor(
            self.wire,
            timeline,
            self._view,
            self._tasks,
            self._after,
            self._place.last_seq,
            self._manners.lagging_events,
            self._manners.lagging_s,
        )

    # --- what the client sends --------------------------------------------------------

    async def _take(self, incoming: Incoming, session: Session, client: AttachedClient) -> None:
        try:
            read = self._read(incoming, session)
        except CommandRefused as refused:
            self._refuse(client, refused.command_id, refused.problem)
            return
        if read is None:
            return
        if isinstance(read, (Problem, Help)):  # of a line that a person typed
            self._answer_line(read, session, client)
            return
        command, body = read
        if self._upgrade.role == "watch" and not isinstance(command, FOR_WATCHERS):
            self._refuse(client, command.id, problem(ErrorCode.FORBIDDEN))
            session.note_forbidden(command, self._identity.principal)
            return
        if self._slow_down(command, session, client):
            return
        digest = digest_of(body) if command.id is not None else b""
        if self._view is not None and isinstance(command, Say):
            self._view.typed(command.text)
        await session.receive(command, digest, client)

    def _read(
        self, incoming: Incoming, session: Session
    ) -> tuple[Command, dict[str, Any]] | Problem | Help | None:
        match incoming:
            case TextFrame(text):
                if self._upgrade.strict or text.startswith("{"):
                    return decode_command(text)
                return self._read_line(text, session)
            case BinaryFrame():
                raise CommandRefused(None, problem(ErrorCode.BINARY_NOT_SUPPORTED))
            case NotUtf8():
                raise CommandRefused(None, problem(ErrorCode.NOT_UTF8))
            case Oversized():
                raise CommandRefused(None, problem(ErrorCode.FRAME_TOO_LARGE))

    def _read_line(
        self, text: str, session: Session
    ) -> tuple[Command, dict[str, Any]] | Problem | Help | None:
        match read_line(text):
            case None:
                return None
            case Help() as asked:
                return asked
            case Quit():
                self.wire.close_soon(CloseCode.NORMAL, "bye")
                return None
            case Decide() as decide:
                return self._taken(only_open_proposal(decide, session.open_decisions))
            case found:
                return self._taken(found)

    def _taken(self, found: dict[str, Any] | Problem) -> tuple[Command, dict[str, Any]] | Problem:
        return found if isinstance(found, Problem) else (command_of(found), found)

    def _answer_line(self, read: Problem | Help, session: Session, client: AttachedClient) -> None:
        if self._slow_down(None, session, client):
            return
        if isinstance(read, Problem):  # no strike for a typo
            client.show(encode_frame(Refused(None, read)))
        else:
            lines = {"help": HELP.splitlines()}
            client.show(encode_frame(Reply(None, lines, self._place.last_seq)))

    def _slow_down(self, command: Command | None, session: Session, client: AttachedClient) -> bool:
        """Refuse what is over its rate: it must not reach the session, and cost others nothing."""
        stops = isinstance(command, Interrupt) and session.would_stop(command)
        slowed = self._throttle.slow(command, trio.current_time(), stops=stops)
        if slowed is None:
            return False
        RATE_LIMITED.labels(slowed.stream).inc()
        command_id = None if command is None else command.id
        self._refuse(client, command_id, slowed.problem, strike=slowed.strike)
        return True

    def _refuse(
        self,
        client: AttachedClient,
        command_id: CommandId | None,
        trouble: Problem,
        *,
        strike: bool = True,
    ) -> None:
        client.show(encode_frame(Refused(command_id, trouble)))
        if strike and self._strikes.add(trio.current_time()):
            reason = "too many invalid frames"
            self.wire.close_soon(CloseCode.TOO_MANY_INVALID_FRAMES, reason)


def digest_of(body: Mapping[str, Any]) -> bytes:
    """Return what tells one command body from another, whatever the order of its keys."""
    return blake2b(msgspec.json.encode(body, order="sorted"), digest_size=16).digest()
