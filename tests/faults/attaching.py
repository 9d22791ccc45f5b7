"""Provocations of those who attach: who they are, where they come from, what they ask for."""

from __future__ import annotations

import json
from typing import Any, Final

from tests.e2e.harness import eventually
from tests.fakes.tokens import SECRET, SHARED, forged, soon
from tests.faults.bytes_in import refused
from tests.faults.ground import Ground, Seen, Stage, clients_strike, replying
from tests.faults.table import Row
from tests.faults.trials import Cases, provocation
from tests.gateway.raw_client import CLOSE, opened, request

PAGE: Final[dict[str, Any]] = {
    "Origin": "http://localhost:3000",
    "Sec_WebSocket_Protocol": "bargein.v1",
}


def bad_tokens(_: Row) -> list[tuple[str, str]]:
    return [
        ("another secret", forged({"alg": "HS256"}, {"sub": "ann"}, b"x" * 32)),
        ("none", forged({"alg": "none"}, {"sub": "ann"}) + "AA"),
        ("another algorithm", forged({"alg": "HS512"}, {"sub": "ann"}, SECRET.encode())),
        ("expired", SHARED.sign("ann", exp=soon(-3600))),
        ("nonsense", "nonsense"),
    ]


async def closed_with(here: Ground, path: str = "/v1/session", **headers: Any) -> list[Any]:
    """Connect by hand; return all that came, and last the code of the close."""
    async with opened(here.world.port, path, **headers) as raw:
        came: list[Any] = []
        while True:
            opcode, payload = await raw.read_frame()
            if opcode == CLOSE:
                here.texts.append(payload[2:].decode())
                return [*came, int.from_bytes(payload[:2])]
            here.texts.append(payload.decode())
            came.append(json.loads(payload))


@provocation(
    "a bad token", cases=lambda row: [("no token", None), *bad_tokens(row), ("in the URL", "")]
)
async def bad_token(here: Ground, token: str | None) -> Seen:
    if token == "":  # a good one, in the wrong place
        sent = request(f"/v1/session?token={here.token}")
    else:
        sent = request(Authorization=None if token is None else f"Bearer {token}")
    seen = await refused(here, sent)
    shown = token or here.token
    assert shown not in here.texts[-1]
    assert shown == "nonsense" or shown not in repr(here.world.logs)
    return seen


@provocation("a bad token of a browser", cases=bad_tokens)
async def bad_token_of_a_browser(here: Ground, token: str) -> Seen:
    offered: Any = {"Sec_WebSocket_Protocol": f"bargein.v1, bargein.jwt.{token}"}
    (code,) = await closed_with(here, **offered)
    assert token == "nonsense" or token not in repr(here.world.logs)  # noqa: S105
    return Seen(closes=frozenset({code}))


def _headers(name: str, *values: str) -> Cases:
    def named(_: Row) -> list[tuple[str, Any]]:
        return [(value, {name: value}) for value in values]

    return named


@provocation(
    "a foreign origin",
    cases=_headers("Origin", "https://evil.example", "null", "http://localhost.evil.example"),
)
async def foreign_origin(here: Ground, headers: dict[str, str]) -> Seen:
    return await refused(here, request(**here.headers, **headers))


@provocation("a foreign host", cases=_headers("Host", "evil.example", "localhost.evil.example"))
async def foreign_host(here: Ground, headers: dict[str, str]) -> Seen:
    return await refused(here, request(**here.headers, **headers))


@provocation(
    "an `after` that is none", cases=lambda _: [(after, after) for after in ("-1", "1.5", "x", "")]
)
async def after_that_is_none(here: Ground, after: str) -> Seen:
    return await refused(here, request(f"/v1/session/sess_x?after={after}", **here.headers))


@provocation("a resume", cases=lambda _: [("with the epoch", True), ("without one", False)])
async def resume(here: Ground, with_epoch: bool) -> Seen:
    ann = await here.attach()
    await ann.converse("Hello")
    after, epoch = 3, ann.epoch if with_epoch else None
    back = await here.attach(ann.session_id, after=after, epoch=epoch)
    assert back.hello["resumed"] is True
    replayed = [event.seq for event in back.events if event.seq <= back.hello["replay_to"]]
    assert replayed == list(range(after + 1, back.hello["replay_to"] + 1))
    return replying(back)


@provocation(
    "a resume of nothing",
    cases=lambda _: [("beyond the end", (999, None)), ("another epoch", (1, "foreign"))],
)
async def resume_of_nothing(here: Ground, case: tuple[int, str | None]) -> Seen:
    ann = await here.attach()
    await ann.converse("Hello")
    after, epoch = case
    back = await here.attach(ann.session_id, after=after, epoch=epoch or ann.epoch)
    assert (back.hello["resumed"], back.hello["replay_from"]) == (False, 1)
    assert [event.seq for event in back.events] == list(range(1, len(back.events) + 1))
    return replying(back)


@provocation("a session of somebody else")
async def session_of_somebody_else(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    answers: list[list[Any]] = []
    for session_id in (ann.session_id, "sess_00000000000000000000000000"):
        token = SHARED.sign("mallory", exp=soon())
        headers: Any = {
            "Sec_WebSocket_Protocol": "bargein.v1",
            "Authorization": f"Bearer {token}",
        }
        answers.append(await closed_with(here, f"/v1/session/{session_id}", **headers))
    assert answers[0] == answers[1]
    assert here.texts[-1] == here.texts[-2]
    return Seen(closes=frozenset(answers[0]), session_id=ann.session_id)


@provocation("a closed session")
async def closed_session(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    await ann.converse("Hello")
    await ann.ask("close")
    assert await ann.until_closed() == 4102
    before = await here.types_of(ann.session_id)
    late = await here.dial(ann.session_id, after=2, epoch=ann.epoch)
    code = await late.until_closed()
    assert code is not None
    assert [event.seq for event in late.events] == list(range(3, len(before) + 1))
    assert late.frames[-1].type == "live"
    assert await here.types_of(ann.session_id) == before
    return Seen(closes=frozenset({code}), session_id=ann.session_id)


@provocation("two tabs")
async def two_tabs(here: Ground, _: None) -> Seen:
    one = await here.attach()
    other = await here.attach(one.session_id)
    turn_id = await one.converse("Hello")
    await other.until("turn.trace", turn_id=turn_id)
    both = [[event.text for event in tab.of_turn(turn_id)] for tab in (one, other)]
    assert both[0] == both[1]
    return replying(other)


@provocation("a full server", Stage(limits={"connections_most": 1}))
async def full_server(here: Ground, _: None) -> Seen:
    seen = await refused(here, request(**here.headers))
    assert "Retry-After" in here.texts[-1]
    await _leave_room(here)
    return seen


@provocation("a full server and a page", Stage(limits={"connections_most": 1}))
async def full_server_and_a_page(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    (code,) = await closed_with(here, **PAGE, **here.headers)
    await _leave_room(here)
    return Seen(closes=frozenset({code}), session_id=ann.session_id)


async def _leave_room(here: Ground) -> None:
    for client in here.world.clients:
        await client.leave()
    await eventually(lambda: not here.world.edge.connections)


@provocation("a watcher that drives", cases=lambda _: [("say", "say"), ("interrupt", "interrupt")])
async def watcher_that_drives(here: Ground, type_: str) -> Seen:
    ann = await here.attach()
    await here.busy(ann)
    watcher = await here.attach(ann.session_id, role="watch")
    before = [t for t in await here.types_of(ann.session_id) if t != "model.token"]
    answer = await watcher.ask(type_, **({"text": "Hi"} if type_ == "say" else {}))
    after = [t for t in await here.types_of(ann.session_id) if t != "model.token"]
    assert after == before
    code = answer["error"]["code"]
    return Seen(frozenset({code}), session_id=ann.session_id, striking=clients_strike(watcher))
