"""A client of the real server, on another WebSocket implementation than the server's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any, TypeAlias
from urllib.parse import urlencode

import trio
from attrs import define, field, frozen
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    connect_websocket_url,
)

from tests import contract

DEADLINE_S = 15.0
"""Far beyond what anything here takes, on a machine that does a lot beside."""

MESSAGE_BYTES = 16 * 1024 * 1024

_ids = count(1)
"""Of all clients together: an id is the session's, whoever sends it."""


@frozen(eq=False)
class Frame:
    """One text frame from the server.

    Attributes:
        text: As it came.
        at_s: When, on trio's clock.
        place: How many frames came before it on this connection.
    """

    body: dict[str, Any]
    text: str
    at_s: float
    place: int

    def __getitem__(self, key: str) -> Any:
        return self.body[key]

    @property
    def type(self) -> str:
        return self.body["type"]

    @property
    def is_event(self) -> bool:
        return "event_id" in self.body

    @property
    def seq(self) -> int:
        return self.body["seq"]

    @property
    def turn_id(self) -> str | None:
        return self.body["turn_id"]

    @property
    def payload(self) -> dict[str, Any]:
        return self.body["payload"]

    def has(self, **fields: Any) -> bool:
        """Whether each field stands in the frame or in its payload, with that value."""
        payload = self.body.get("payload", {})
        return all(self.body.get(key, payload.get(key)) == value for key, value in fields.items())


Wanted: TypeAlias = str | Callable[[Frame], bool]


class NeverCame(AssertionError):
    """What a test waited for did not come; the latest frames say what came instead."""

    def __init__(self, wanted: object, frames: list[Frame], close_code: int | None) -> None:
        latest = "\n".join(f"  {frame.text[:300]}" for frame in frames[-12:])
        super().__init__(f"{wanted} never came (closed: {close_code}); the latest:\n{latest}")
        self.close_code = close_code


@define(eq=False)
class Client:
    """One connection, with all that it received.

    Attributes:
        closed: The connection is over.
        close_code: With which code; None where it was cut.
        sent_again: Command ids that were sent more than once, and so have several answers.
    """

    _ws: WebSocketConnection
    frames: list[Frame] = field(factory=list[Frame], init=False)
    closed: trio.Event = field(factory=trio.Event, init=False)
    close_code: int | None = field(default=None, init=False)
    close_reason: str | None = field(default=None, init=False)
    sent_again: set[str] = field(factory=set[str], init=False)
    _sent: set[str] = field(factory=set[str], init=False)
    _views: dict[str | None, str] = field(factory=dict[str | None, str], init=False)
    _changed: trio.Event = field(factory=trio.Event, init=False)

    async def read(self) -> None:
        """Collect frames until the connection is over."""
        try:
            while True:
                text = await self._ws.get_message()
                assert isinstance(text, str)
                frame = Frame(json.loads(text), text, trio.current_time(), len(self.frames))
                self.frames.append(frame)
                self._tell()
                self._hold_to_contract(frame)
        except ConnectionClosed as over:
            if over.reason is not None:
                self.close_code, self.close_reason = over.reason.code, over.reason.reason
        finally:
            self.closed.set()
            self._tell()
            await self._drop()  # the library leaves the socket open where it is cancelled

    def _hold_to_contract(self, frame: Frame) -> None:
        contract.check_sent(frame.body)
        if frame.type == "reply" and (view := self._views.get(frame["command_id"])):
            contract.check_view(view, frame["result"])

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # --- what came ----------------------------------------------------------------

    @property
    def hello(self) -> Frame:
        return self.frames[0]

    @property
    def session_id(self) -> str:
        return self.hello["session_id"]

    @property
    def epoch(self) -> str:
        return self.hello["epoch"]

    @property
    def events(self) -> list[Frame]:
        return [frame for frame in self.frames if frame.is_event]

    @property
    def last_seq(self) -> int:
        """The last event that came; 0 before the first."""
        return next((frame.seq for frame in reversed(self.frames) if frame.is_event), 0)

    def of_turn(self, turn_id: str) -> list[Frame]:
        return [event for event in self.events if event.turn_id == turn_id]

    def answer_of(self, turn_id: str) -> str:
        tokens = (e for e in self.of_turn(turn_id) if e.type == "model.token")
        return "".join(token.payload["text"] for token in tokens)

    def find(self, wanted: Wanted, since: int = 0, **fields: Any) -> Frame | None:
        """Return the first frame from place *since* on that is *wanted* and has the *fields*."""
        for frame in self.frames[since:]:
            fits = frame.type == wanted if isinstance(wanted, str) else wanted(frame)
            if fits and frame.has(**fields):
                return frame
        return None

    async def until(
        self, wanted: Wanted, *, since: int = 0, within_s: float = DEADLINE_S, **fields: Any
    ) -> Frame:
        """Wait for the first such frame; one that came already counts."""
        place = since
        with trio.move_on_after(within_s):
            while True:
                changed = self._changed
                found = self.find(wanted, place, **fields)
                if found is not None:
                    return found
                if self.closed.is_set():
                    break
                place = max(since, len(self.frames))
                await changed.wait()
        raise NeverCame((wanted, fields), self.frames, self.close_code)

    async def until_closed(self, within_s: float = DEADLINE_S) -> int | None:
        """Wait until the server has closed the connection; return the code."""
        with trio.move_on_after(within_s):
            await self.closed.wait()
            return self.close_code
        raise NeverCame("the close", self.frames, None)

    # --- what is sent -------------------------------------------------------------

    async def send(self, type_: str, **fields: Any) -> None:
        if (command_id := fields.get("id")) is not None:
            (self.sent_again if command_id in self._sent else self._sent).add(command_id)
        await self.send_text(json.dumps({"type": type_, **fields}))

    async def send_text(self, text: str) -> None:
        view = contract.check_command(text)
        if view is not None and (command_id := json.loads(text).get("id")) is not None:
            self._views[command_id] = view
        await self._ws.send_message(text)

    async def ask(self, type_: str, *, id: str | None = None, **fields: Any) -> Frame:  # noqa: A002
        """Send a command with an id of its own; return its answer, `reply` or `error`."""
        command_id = id or f"c{next(_ids)}"
        since = len(self.frames)
        await self.send(type_, id=command_id, **fields)
        return await self.answer_to(command_id, since=since)

    async def answer_to(self, command_id: str | None, *, since: int = 0) -> Frame:
        return await self.until(is_answer, since=since, command_id=command_id)

    async def say(self, text: str, **fields: Any) -> Frame:
        """Say *text*; return the answer to the command."""
        return await self.ask("say", text=text, **fields)

    async def converse(self, text: str, **fields: Any) -> str:
        """Say *text* and wait for the end of its turn; return the turn's id."""
        turn_id = (await self.say(text, **fields))["result"]["turn_id"]
        await self.until("turn.trace", turn_id=turn_id)
        return turn_id

    # --- the end ------------------------------------------------------------------

    async def leave(self) -> None:
        """Close as RFC 6455 asks for."""
        with suppress(ConnectionClosed):
            await self._ws.aclose()
        await self.closed.wait()

    async def cut(self) -> None:
        """Drop the TCP connection without a word."""
        await self._drop()
        await self.closed.wait()

    async def _drop(self) -> None:
        await trio.aclose_forcefully(self._ws._stream)  # pyright: ignore[reportPrivateUsage]


def is_answer(frame: Frame) -> bool:
    return frame.type in ("reply", "error") and not frame.is_event


def path_of(session_id: str | None, query: dict[str, Any]) -> str:
    path = "/v1/session" if session_id is None else f"/v1/session/{session_id}"
    named = {key: value for key, value in query.items() if value is not None}
    return f"{path}?{urlencode(named)}" if named else path


async def dial(
    nursery: trio.Nursery,
    port: int,
    session_id: str | None = None,
    *,
    strict: bool = True,
    token: str | None = None,
    offered_token: str | None = None,
    traceparent: str | None = None,
    **query: Any,
) -> Client:
    """Open a connection; *query* is `after`, `epoch`, `role`, `view`.

    A token goes into a header, or is offered as a subprotocol, as a browser has to.
    """
    offers = ["bargein.v1"] if strict else []
    offers += [] if offered_token is None else [f"bargein.jwt.{offered_token}"]
    headers = [] if token is None else [(b"Authorization", f"Bearer {token}".encode())]
    headers += [] if traceparent is None else [(b"traceparent", traceparent.encode())]
    with trio.fail_after(DEADLINE_S):
        ws = await connect_websocket_url(
            nursery,
            f"ws://127.0.0.1:{port}{path_of(session_id, query)}",
            subprotocols=offers or None,
            extra_headers=headers,
            message_queue_size=1000,
            max_message_size=MESSAGE_BYTES,
            receive_buffer_size=64 * 1024,
        )
    client = Client(ws)
    nursery.start_soon(client.read)
    return client


async def attached(
    nursery: trio.Nursery, port: int, session_id: str | None = None, **query: Any
) -> Client:
    """Open a connection that is to be served; return it once it is live and on the timeline."""
    client = await dial(nursery, port, session_id, **query)
    live = await client.until("live")
    await client.until("session.attached", since=live.place)
    return client


__all__ = ["DEADLINE_S", "Client", "Frame", "HandshakeError", "NeverCame", "attached", "dial"]
