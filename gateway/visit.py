"""One client's stay: what it is shown, and what becomes of what it sends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from typing import Any, Final, Protocol

import msgspec
import trio
from attrs import define, evolve, field

from bargein.actors.audience import Client
from bargein.actors.mailbox import ActorGone
from bargein.actors.place import Place
from bargein.actors.registry import Sessions
from bargein.gateway.attached import AttachedClient
from bargein.gateway.auth.identity import Identity
from bargein.gateway.connection import WireConnection
from bargein.gateway.counters import RATE_LIMITED
from bargein.gateway.cursor import Cursor
from bargein.gateway.handshake import Upgrade
from bargein.gateway.inbox import BinaryFrame, Incoming, NotUtf8, Oversized, TextFrame
from bargein.gateway.manners import Manners
from bargein.gateway.rates import Strikes, Throttle
from bargein.gateway.text_view import TextView
from bargein.protocol.codec import CommandRefused, command_of, decode_command, encode_frame
from bargein.protocol.codes import CloseCode, ErrorCode
from bargein.protocol.commands import FOR_WATCHERS, Command, Interrupt, Say
from bargein.protocol.frames import GoAway, Problem, Refused, Reply, problem
from bargein.protocol.ids import CommandId, ConfirmationId, Seq
from bargein.protocol.lines import HELP, Decide, Help, Quit, only_open_proposal, read_line
from bargein.timeline.log import Timeline

LEAVE_LIMIT_S: Final = 1.0
"""A session's input drains in microseconds; one that doesn't is gone."""

WELL_AGAIN: Final = "the store can be written again"
COME_BACK_MS: Final = 100
"""What waits for the store is settled by then."""

UNWRITTEN: Final = (*FOR_WATCHERS, Interrupt)
"""What is taken while nothing can be stored: an interrupt acts even if that can't be kept."""


class Host(Protocol):
    """What takes a client's commands: a session, or what can be read of one."""

    @property
    def is_writable(self) -> bool:
        """Whether what is asked for now is likely to be stored."""
        ...

    @property
    def open_decisions(self) -> tuple[tuple[ConfirmationId, str], ...]:
        """Confirmation id and summary of what waits for a yes or no, oldest first."""
        ...

    def would_stop(self, command: Interrupt, /) -> bool:
        """Say whether *command* is the first to stop the turn that is open."""
        ...

    def note_forbidden(self, command: Command, principal: str) -> None:
        """Put on the audit that somebody tried to decide who may not."""
        ...

    async def receive(self, command: Command, digest: bytes, client: Client) -> None:
        """Take a command."""
        ...


class Attended(Host, Protocol):
    """A session that can be driven: one of this process, or one that it follows."""

    @property
    def timeline(self) -> Timeline:
        """What has happened in it, as far as it can be seen from here."""
        ...

    def attach(self, client: Client) -> None:
        """Let *client* follow the timeline from its cursor on."""
        ...

    async def announce(self, client: Client) -> None:
        """Tell the session that *client* is attached; after this it is on the timeline.

        Raises:
            ActorGone: If the session is ending; attach again.
        """
        ...

    async def detach(self, client: Client) -> None:
        """Let *client* go."""
        ...


@define(eq=False)
class Visit:
    """One client's stay: its cursor, its commands, its rates, its strikes.

    Attributes:
        _tier: By its latest token.
        _manners: What it is held to now.
    """

    wire: WireConnection
    _upgrade: Upgrade
    _identity: Identity
    _tier: Callable[[], str]
    _manners: Callable[[], Manners]
    _view: TextView | None
    _place: Place
    _after: Seq
    _tasks: trio.Nursery
    _authenticate: Callable[[str], Problem | None]
    _sessions: Sessions
    _strikes: Strikes = field(init=False)
    _throttle: Throttle = field(init=False)

    def __attrs_post_init__(self) -> None:
        manners = self._manners()
        self._throttle = Throttle(manners.rates)
        self._strikes = Strikes(manners.strikes_most, manners.strikes_window_s)

    async def read_closed(self, timeline: Timeline) -> None:
        """Show a closed session and end the connection; nothing is taken."""
        cursor = self._cursor_on(timeline)
        end = partial(self.wire.close_soon, CloseCode.SESSION_CLOSED, "session closed")
        cursor.when_at(self._place.last_seq, end)
        with self._sessions.bystander(self._client_at(cursor)):
            cursor.advance()
            while await self.wire.receive() is not None:
                pass

    async def read_along(self) -> None:
        """Show what is stored of a session, until the store is well and the client comes back."""
        reading = self._sessions.reading(self._place, self._tasks)
        cursor = self._cursor_on(reading.timeline)
        client = self._client_at(cursor)
        with self._sessions.bystander(client):
            cursor.advance()
            self._tasks.start_soon(self._send_back, client)
            while (incoming := await self.wire.receive()) is not None:
                await self._take(incoming, reading, client)

    async def _send_back(self, client: AttachedClient) -> None:
        await self._sessions.until_can_write()
        client.show(encode_frame(GoAway(WELL_AGAIN, COME_BACK_MS)))
        client.end(CloseCode.DRAIN, WELL_AGAIN)

    async def attend_elsewhere(self, session: Attended) -> None:
        """Let the client drive a session of another node, until it leaves or this one drains."""
        client = self._client_on(session)
        with self._sessions.bystander(client):
            await self._stay(session, client)

    async def attend(self, session: Attended) -> None:
        """Let the client follow and drive *session* until it leaves."""
        await self._stay(session, self._client_on(session))

    async def _stay(self, session: Attended, client: AttachedClient) -> None:
        session.attach(client)
        try:
            client.advance()
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
            self._manners,
        )

    def _client_on(self, session: Attended) -> AttachedClient:
        return self._client_at(self._cursor_on(session.timeline))

    def _client_at(self, cursor: Cursor) -> AttachedClient:
        who = self._upgrade.role, self._identity.principal, self._tier
        return AttachedClient(*who, self.wire, cursor, self._authenticate)

    # --- what the client sends --------------------------------------------------------

    async def _take(self, incoming: Incoming, host: Host, client: AttachedClient) -> None:
        try:
            read = self._read(incoming, host)
        except CommandRefused as refused:
            self._refuse(client, refused.command_id, refused.problem)
            return
        if read is None:
            return
        if isinstance(read, (Problem, Help)):  # of a line that a person typed
            self._answer_line(read, host, client)
            return
        command, body = read
        if self._upgrade.role == "watch" and not isinstance(command, FOR_WATCHERS):
            self._refuse(client, command.id, problem(ErrorCode.FORBIDDEN))
            host.note_forbidden(command, self._identity.principal)
            return
        if self._slow_down(command, host, client):
            return
        if not (host.is_writable or isinstance(command, UNWRITTEN)):
            client.show(encode_frame(Refused(command.id, problem(ErrorCode.STORE_UNAVAILABLE))))
            return
        digest = digest_of(body) if command.id is not None else b""
        if isinstance(command, Say):
            if self._view is not None:
                self._view.typed(command.text)
            if command.traceparent is None and self._upgrade.traceparent is not None:
                command = evolve(command, traceparent=self._upgrade.traceparent)
        await host.receive(command, digest, client)

    def _read(
        self, incoming: Incoming, host: Host
    ) -> tuple[Command, dict[str, Any]] | Problem | Help | None:
        match incoming:
            case TextFrame(text):
                if self._upgrade.strict or text.startswith("{"):
                    return decode_command(text)
                return self._read_line(text, host)
            case BinaryFrame():
                raise CommandRefused(None, problem(ErrorCode.BINARY_NOT_SUPPORTED))
            case NotUtf8():
                raise CommandRefused(None, problem(ErrorCode.NOT_UTF8))
            case Oversized():
                raise CommandRefused(None, problem(ErrorCode.FRAME_TOO_LARGE))

    def _read_line(
        self, text: str, host: Host
    ) -> tuple[Command, dict[str, Any]] | Problem | Help | None:
        match read_line(text):
            case None:
                return None
            case Help() as asked:
                return asked
            case Quit():
                self.wire.close_soon(CloseCode.NORMAL, "bye")
                return None
            case Decide() if not host.is_writable:
                return problem(ErrorCode.STORE_UNAVAILABLE)
            case Decide() as decide:
                return self._taken(only_open_proposal(decide, host.open_decisions))
            case found:
                return self._taken(found)

    def _taken(self, found: dict[str, Any] | Problem) -> tuple[Command, dict[str, Any]] | Problem:
        return found if isinstance(found, Problem) else (command_of(found), found)

    def _answer_line(self, read: Problem | Help, host: Host, client: AttachedClient) -> None:
        if self._slow_down(None, host, client):
            return
        if isinstance(read, Problem):  # no strike for a typo
            client.show(encode_frame(Refused(None, read)))
        else:
            lines = {"help": HELP.splitlines()}
            client.show(encode_frame(Reply(None, lines, self._place.last_seq)))

    def _slow_down(self, command: Command | None, host: Host, client: AttachedClient) -> bool:
        """Refuse what is over its rate: it must not reach the session, and cost others nothing."""
        stops = isinstance(command, Interrupt) and host.would_stop(command)
        now_s = trio.current_time()
        self._throttle.hold_to(self._manners().rates, now_s)
        slowed = self._throttle.slow(command, now_s, stops=stops)
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
        manners, strikes = self._manners(), self._strikes
        strikes.most, strikes.window_s = manners.strikes_most, manners.strikes_window_s
        if strike and strikes.add(trio.current_time()):
            reason = "too many invalid frames"
            self.wire.close_soon(CloseCode.TOO_MANY_INVALID_FRAMES, reason)


def digest_of(body: Mapping[str, Any]) -> bytes:
    """Return what tells one command body from another, whatever the order of its keys."""
    return blake2b(msgspec.json.encode(body, order="sorted"), digest_size=16).digest()
