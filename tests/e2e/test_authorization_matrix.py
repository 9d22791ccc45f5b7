"""Principal x session x command x role, generated, over real sockets: who is served, and who not.

A stranger's connection is to be answered with the very bytes that a missing session is answered
with, whatever it sends; a watcher's driving command with `forbidden`; and nothing that was refused
leaves a trace on any timeline.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from itertools import count, product
from typing import Any, Final, Literal

import trio
from attrs import frozen

from bargein.gateway.secret import Secret
from bargein.gateway.settings import Auth
from bargein.protocol.commands import COMMANDS, FOR_WATCHERS
from tests.e2e.client import Client
from tests.e2e.harness import World, world
from tests.fakes.anthropic_answers import saying
from tests.fakes.tokens import SECRET, SHARED
from tests.gateway.raw_client import CLOSE, TEXT, RawClient, frame, opened

OWNER: Final = {"sub": "ann", "tenant": "acme"}
STRANGERS: Final[dict[str, dict[str, Any]]] = {
    "another principal": {"sub": "bob", "tenant": "acme"},
    "the same name elsewhere": {"sub": "ann", "tenant": "other"},
    "the same name nowhere": {"sub": "ann"},
    "an operator": {"sub": "root", "tenant": "acme", "role": "operator"},
    "a look-alike": {"sub": "Ann", "tenant": "acme"},
}
SESSIONS: Final = ("live", "asleep", "closed", "missing")
WAYS: Final = ("header", "subprotocol")
TRACE: Final = "cell-"
"""Stands in each text that a cell sends, so that one which was taken is found."""

Role = Literal["drive", "watch", "watch token"]
ROLES: Final[tuple[Role, ...]] = ("drive", "watch", "watch token")
AT_ONCE: Final = 16

FIELDS: Final[dict[str, dict[str, Any]]] = {
    "say": {},
    "interrupt": {},
    "speech.start": {"utterance_id": "u"},
    "speech.stop": {"utterance_id": "u"},
    "audio.chunk": {"utterance_id": "u", "index": 0, "format": "pcm16", "data": ""},
    "asr.partial": {"utterance_id": "u", "revision": 1},
    "asr.final": {"utterance_id": "u", "revision": 1},
    "turn.end": {},
    "playback.start": {"turn_id": "turn_1"},
    "playback.progress": {"turn_id": "turn_1", "chars": 1},
    "playback.stop": {"turn_id": "turn_1"},
    "confirm": {"confirmation_id": "c"},
    "reject": {"confirmation_id": "c"},
    "revert": {"action_id": "a"},
    "configure": {"on_disconnect": "cancel"},
    "ack": {"seq": 0},
    "history": {"after": 0, "limit": 5},
    "projection": {"name": "session"},
    "auth": {},
    "ping": {},
    "close": {},
}
SAYS_SOMETHING: Final = ("say", "asr.partial", "asr.final")

_ids = count(1)


@frozen
class Cell:
    """One square of the matrix."""

    who: str
    session: str
    verb: str
    role: Role
    way: str

    @property
    def claims(self) -> dict[str, Any]:
        claims = OWNER if self.who == "the owner" else STRANGERS[self.who]
        return {**claims, "role": "watch"} if self.role == "watch token" else claims

    @property
    def headers(self) -> dict[str, Any]:
        token = SHARED.sign(**self.claims)
        if self.way == "header":
            return {"Authorization": f"Bearer {token}", "Sec_WebSocket_Protocol": "bargein.v1"}
        return {"Sec_WebSocket_Protocol": f"bargein.v1, bargein.jwt.{token}"}

    def path(self, session_id: str) -> str:
        query = "" if self.role == "watch token" else f"?role={self.role}"
        return f"/v1/session/{session_id}{query}"

    def command(self) -> dict[str, Any]:
        number = next(_ids)
        body: dict[str, Any] = {"type": self.verb, "id": f"m{number}", **FIELDS[self.verb]}
        if self.verb in SAYS_SOMETHING:
            body["text"] = f"{TRACE}{number}"
        if self.verb == "auth":
            body["token"] = SHARED.sign(**self.claims)
        return body


def cells_of_strangers() -> Iterator[Cell]:
    for number, (who, session, verb, role) in enumerate(
        product(STRANGERS, SESSIONS, COMMANDS, ("drive", "watch"))
    ):
        yield Cell(who, session, verb, role, WAYS[number % 2])


def cells_of_the_owner(session: str) -> Iterator[Cell]:
    for verb, role, way in product(COMMANDS, ROLES, WAYS):
        yield Cell("the owner", session, verb, role, way)


async def answered(raw: RawClient, command: dict[str, Any]) -> dict[str, Any]:
    """Send a command once the replay is over; return its answer, or the close."""
    while (body := await next_message(raw)).get("type") != "live":
        pass
    await raw.say(json.dumps(command).encode())
    while "event_id" in (body := await next_message(raw)) or body["type"] not in ENDS:
        pass
    return body


ENDS: Final = ("reply", "error", "close")


async def next_message(raw: RawClient) -> dict[str, Any]:
    while True:
        opcode, payload = await raw.read_frame()
        if opcode == CLOSE:
            return {"type": "close", "code": int.from_bytes(payload[:2])}
        if opcode == TEXT:
            return json.loads(payload)


async def everything(raw: RawClient) -> tuple[tuple[int, bytes], ...]:
    """Read all there is up to the close, and answer that, or the server would wait for it."""
    came: list[tuple[int, bytes]] = []
    while not came or came[-1][0] != CLOSE:
        came.append(await raw.read_frame())
    await raw.send(frame(CLOSE, came[-1][1][:2]))
    return tuple(came)


async def in_groups(cells: list[Cell], one: Any) -> None:
    """Try the cells, some at the same time."""
    waiting = iter(cells)

    async def some() -> None:
        for cell in waiting:
            try:
                await one(cell)
            except Exception as error:
                error.add_note(str(cell))
                raise

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(some)


async def prepared(w: World) -> tuple[dict[str, str], Client]:
    """Let the owner have a session of each kind."""
    token = SHARED.sign(**OWNER)
    live = await w.attach(token=token)
    await live.converse("Hi")
    closed = await w.attach(token=token)
    await closed.ask("close")
    assert await closed.until_closed() == 4102
    asleep = await w.attach(token=token)
    await asleep.leave()
    ids = {"live": live.session_id, "asleep": asleep.session_id, "closed": closed.session_id}
    return {**ids, "missing": "sess_none"}, live


def authed(**more: Any) -> dict[str, Any]:
    return {"auth": Auth(secret=Secret(SECRET)), **more}


def test_the_matrix_has_every_command_and_enough_squares():
    assert set(FIELDS) == set(COMMANDS)
    strangers, owner = list(cells_of_strangers()), list(cells_of_the_owner("live"))
    assert len(strangers) == len(STRANGERS) * len(SESSIONS) * len(COMMANDS) * 2
    assert len({*strangers, *owner}) >= 500


async def test_for_strangers_no_session_is_there_whatever_they_send():
    async with world([saying("Hello.")], idle_s=0.0, **authed()) as w:
        sessions, _ = await prepared(w)
        before = {name: await w.timeline(sid) for name, sid in sessions.items()}
        answers: Counter[tuple[tuple[int, bytes], ...]] = Counter()

        async def stranger(cell: Cell) -> None:
            async with opened(w.port, cell.path(sessions[cell.session]), **cell.headers) as raw:
                await raw.say(json.dumps(cell.command()).encode())
                answers[await everything(raw)] += 1

        cells = list(cells_of_strangers())
        await in_groups(cells, stranger)
        # One answer for all, also where there is no session: a close frame and nothing before it.
        nothing = ((CLOSE, (4104).to_bytes(2) + b"no such session"),)
        assert answers == {nothing: len(cells)}
        after = {name: await w.timeline(sid) for name, sid in sessions.items()}
        assert after == before


async def test_what_a_driver_may_do_a_watcher_may_not():
    async with world(lambda _: saying("Hello."), **authed()) as w:
        token = SHARED.sign(**OWNER)
        refused: list[str] = []
        watched: list[str] = []

        async def owner(cell: Cell) -> None:
            host = await w.dial(token=token)
            opened_at = await host.until("session.opened")
            assert opened_at.seq == 1
            command = cell.command()
            async with opened(w.port, cell.path(host.session_id), **cell.headers) as raw:
                body = await answered(raw, command)
            if cell.role == "drive" or COMMANDS[cell.verb] in FOR_WATCHERS:
                code = body["error"]["code"] if body["type"] == "error" else None
                assert code not in ("forbidden", "unauthorized"), (cell, body)
            else:
                assert body["type"] == "error", (cell, body)
                assert body["error"]["code"] == "forbidden", (cell, body)
                assert body["command_id"] == command["id"]
                refused.append(command.get("text", ""))
                watched.append(host.session_id)
            await host.leave()

        await in_groups(list(cells_of_the_owner("live")), owner)
        for session_id in watched:
            stored = b"".join(event.frame for event in await w.timeline(session_id))
            assert TRACE.encode() not in stored
            assert b"session.closed" not in stored
            assert b"session.configured" not in stored
        drivers = len(COMMANDS) - len(FOR_WATCHERS)
        assert len(refused) == drivers * 2 * len(WAYS)
