"""A connection that comes back: one wire after the other, until it is told not to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, Protocol

import msgspec
import trio
from attrs import define, field, frozen

from bargein.gateway.terminal.address import Address
from bargein.gateway.terminal.backoff import Backoff
from bargein.gateway.terminal.wire import Closed, NotConnected, Wire, dial
from bargein.protocol.codes import RECONNECT, CloseCode
from bargein.protocol.commands import Role
from bargein.protocol.ids import Epoch, Seq, SessionId

Phase = Literal["connecting", "live", "waiting"]

HELLO_S: Final = 10.0
"""The server speaks first; one that doesn't by then is no server of ours."""

MOST_UNSENT: Final = 256
FIRST_TRIES: Final = 5
"""A server that was never reached, but is full or starts, is asked again so often."""


@frozen
class Place:
    """Where a client stands on a session's timeline.

    Attributes:
        session_id: None: a session that is yet to be opened.
        epoch: None: nothing was seen yet.
    """

    session_id: SessionId | None
    epoch: Epoch | None
    seq: Seq


@frozen
class Ended:
    """There will be no other connection.

    Attributes:
        reason: For a person.
        close: The close code that said so; None where it was no close.
        status: The HTTP status that said so; None where there was none.
    """

    reason: str
    close: int | None = None
    status: int | None = None


class Owner(Protocol):
    """Whom the connection works for."""

    @property
    def place(self) -> Place:
        """Where to come back to."""
        ...

    def receive(self, text: str) -> None:
        """Take what the server said."""
        ...

    def changed(self, phase: Phase, wait_s: float, reason: str) -> None:
        """Hear how the connection is, and in how many seconds there will be the next."""
        ...

    def forget_session(self) -> None:
        """Hear that the session was lost before anything of it was stored."""
        ...


@define(eq=False)
class Link:
    """Keeps *owner* connected.  Lives as long as `run`.

    Attributes:
        token: Read before each dial, since it may have been renewed.
        patience_s: How long to come back to a server that does not answer; None: for ever.
    """

    _address: Address
    _role: Role | None
    token: Callable[[], str | None]
    owner: Owner
    patience_s: float | None = None
    _backoff: Backoff = field(factory=Backoff)
    _greeted: bool = field(default=False, init=False)
    _tries: int = field(default=0, init=False)
    _lost_at_s: float | None = field(default=None, init=False)
    _away_s: float = field(default=0.0, init=False)
    _used_token: str | None = field(default=None, init=False, repr=False)
    _heartbeat_s: float = field(default=20.0, init=False)
    _unsent: trio.MemorySendChannel[str] | None = field(default=None, init=False)
    _written: trio.Event = field(factory=trio.Event, init=False)
    _scope: trio.CancelScope | None = field(default=None, init=False)
    _hurry: trio.Event = field(factory=trio.Event, init=False)

    # --- for the owner ----------------------------------------------------------------

    def greeted(self, heartbeat_s: float) -> None:
        """Take note of a `hello`."""
        self._greeted = True
        self._heartbeat_s = max(heartbeat_s, 1.0)

    def live(self) -> None:
        """Take note that all that was missed has come."""
        self._backoff.reset()
        self._tries, self._lost_at_s = 0, None

    def away(self, after_s: float) -> None:
        """Stay away so long when this connection ends."""
        self._away_s = after_s

    def send(self, text: str) -> bool:
        """Put a frame on its way; return False if nobody is there to take it."""
        if self._unsent is None:
            return False
        try:
            self._unsent.send_nowait(text)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            return False
        return True

    def redial(self) -> None:
        """Drop this connection, which is of no use any more, and come back where owner stands."""
        if self._scope is not None:
            self._scope.cancel(reason="the connection is of no use")

    async def finish(self) -> None:
        """Wait until all that was put is on its way; nothing can be put any more."""
        if self._unsent is not None:
            self._unsent.close()
            await self._written.wait()

    def hurry(self) -> None:
        """Come back now: somebody waits for it."""
        self._hurry.set()

    # --- one wire after the other -----------------------------------------------------

    async def run(self) -> Ended:
        """Stay connected; return why there is nothing to come back to."""
        while True:
            self.owner.changed("connecting", 0.0, "")
            outcome = await self._connect_once()
            if isinstance(outcome, Ended):
                return outcome
            now_s = trio.current_time()
            self._lost_at_s = now_s if self._lost_at_s is None else self._lost_at_s
            if self.patience_s is not None and now_s - self._lost_at_s > self.patience_s:
                return Ended(f"the server did not come back within {self.patience_s:g} s")
            wait_s = self._away_s + self._backoff.wait_s()
            self._away_s, self._hurry = 0.0, trio.Event()
            self.owner.changed("waiting", wait_s, outcome)
            with trio.move_on_after(wait_s):
                await self._hurry.wait()

    async def _connect_once(self) -> str | Ended:
        outcome: str | Ended = "the connection was of no use"
        async with trio.open_nursery() as nursery:
            place = self.owner.place
            url = self._address.dial_url(place.session_id, place.epoch, place.seq, self._role)
            self._used_token = self.token()
            try:
                wire = await dial(nursery, url, self._used_token, local=self._address.is_local)
            except NotConnected as error:
                outcome = self._after_refusal(error)
            else:
                with trio.CancelScope() as self._scope:
                    outcome = self._after_close(await self._serve(wire, nursery))
                self._scope = self._unsent = None
            nursery.cancel_scope.cancel(reason="this wire is done")
        return outcome

    async def _serve(self, wire: Wire, nursery: trio.Nursery) -> Closed:
        self._unsent, unsent = trio.open_memory_channel[str](MOST_UNSENT)
        self._written = trio.Event()
        nursery.start_soon(_write, wire, unsent, self._written)
        said_hello = False
        try:
            while True:
                limit_s = self._heartbeat_s if said_hello else HELLO_S
                received = await self._receive(wire, limit_s, asks=said_hello)
                if isinstance(received, Closed):
                    return received
                said_hello = True
                self.owner.receive(received)
        finally:
            self._unsent = None
            await wire.close()

    async def _receive(self, wire: Wire, limit_s: float, *, asks: bool) -> str | Closed:
        with trio.move_on_after(limit_s):
            return await wire.receive()
        if asks and self.send('{"type":"ping"}'):
            # A machine that slept finds a long silence: it has to ask before it judges.
            with trio.move_on_after(limit_s / 2):
                return await wire.receive()
        return Closed(CloseCode.HEARTBEAT_LOST, "the server has fallen silent")

    # --- and then ---------------------------------------------------------------------

    def _after_refusal(self, error: NotConnected) -> str | Ended:
        if error.status == 401 and self._token_is_new():  # noqa: PLR2004 - Unauthorized
            return error.reason
        self._tries += 1
        hopeless = not error.retryable
        never_there = not self._greeted and (error.status is None or self._tries >= FIRST_TRIES)
        if hopeless or never_there:
            return Ended(error.reason, status=error.status)
        return error.reason

    def _after_close(self, closed: Closed) -> str | Ended:
        reason = closed.reason or "the connection broke off"
        place = self.owner.place
        if closed.code == CloseCode.UNAUTHORIZED and self._token_is_new():
            return reason
        if closed.code == CloseCode.NO_SUCH_SESSION and place.session_id and self._is_unborn:
            self.owner.forget_session()
            return reason
        if RECONNECT.stop <= closed.code < RECONNECT.stop + 100:
            return Ended(reason, close=closed.code)
        self._tries += 1
        if not self._greeted and self._tries >= FIRST_TRIES:
            return Ended(reason, close=closed.code)
        return reason

    @property
    def _is_unborn(self) -> bool:
        return self._greeted and self.owner.place.seq == 0

    def _token_is_new(self) -> bool:
        """Whether a token that was refused has been replaced since: then it is worth a dial."""
        return self.token() not in (None, self._used_token)


async def _write(wire: Wire, unsent: trio.MemoryReceiveChannel[str], written: trio.Event) -> None:
    try:
        async for text in unsent:
            if not await wire.send(text):
                return
    finally:
        written.set()


def command_text(body: dict[str, Any]) -> str:
    """Return a command as it is sent."""
    return msgspec.json.encode(body).decode()
