"""GET /v1/sessions: who is told of which sessions, in which order, and what is said instead."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, field

from bargein.agents.app import Agent, App
from bargein.agents.planning import Titling
from bargein.gateway.auth.identity import Credential
from bargein.gateway.secret import Secret
from bargein.gateway.session_list import ANSWER_S, AT_ONCE, SessionList
from bargein.gateway.settings import Auth, Limits
from bargein.timeline.memory import MemoryStore
from bargein.timeline.recent import Asked, RecentPage
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import StoreUnavailable
from tests.e2e.ailments import locked
from tests.e2e.harness import World, eventually, world
from tests.e2e.scripts import FOR_EVER
from tests.fakes.anthropic_answers import Answer, saying
from tests.fakes.anthropic_api import Exchange
from tests.fakes.tokens import SECRET, SHARED, forged, soon
from tests.gateway.fetching import Answer as Told
from tests.gateway.fetching import get

BY_SECRET = Auth(secret=Secret(SECRET))
PATH = "/v1/sessions"
FIELDS = ["session_id", "title", "first_words", "opened_at", "last_at", "last_seq", "state", "live"]


def hello(times: int) -> list[Any]:
    return [saying("Hello.")] * times


async def listed(w: World, query: str = "", **headers: str) -> Told:
    return await get(w.port, PATH + query, **headers)


def bearer(sub: str | None, **claims: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {SHARED.sign(sub, **claims)}"}


def ids(answer: Told) -> list[str]:
    assert answer.status == 200, answer
    return [each["session_id"] for each in answer.json["sessions"]]


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """Load what the first conversation needs before any deadline runs: on a busy machine, long."""
    importlib.import_module("anthropic.resources.messages")


# --- what is told --------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", ["memory", "sqlite"])
async def test_the_sessions_of_this_machine_are_told_by_their_latest_activity(
    stored: str, tmp_path: Path
):
    store = tmp_path / "a.sqlite3" if stored == "sqlite" else None
    async with world(hello(4), store=store) as w:
        assert (await listed(w)).json == {"sessions": [], "next": None}
        first, second, third = [await w.attach() for _ in range(3)]
        for client, words in ((first, "one"), (second, "two"), (third, "three"), (first, "again")):
            await client.converse(words)
        await second.ask("close")
        await second.until_closed()
        answer = await listed(w)
        told = {each["session_id"]: each for each in answer.json["sessions"]}
        assert set(told) == {first.session_id, second.session_id, third.session_id}
        assert ids(answer).index(first.session_id) < ids(answer).index(third.session_id)
        one, two = told[first.session_id], told[second.session_id]
        assert list(one) == FIELDS
        assert (one["first_words"], one["title"]) == ("one", None)
        assert (one["state"], one["live"], one["last_seq"]) == ("open", True, first.last_seq)
        assert two["state"] == "closed"
        assert one["opened_at"] <= json.loads(first.events[0].text)["ts"] <= one["last_at"]
        assert one["last_at"] == json.loads(first.events[-1].text)["ts"]
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("stored", ["memory", "sqlite"])
async def test_a_session_is_told_by_its_title(stored: str, tmp_path: Path):
    store = tmp_path / "a.sqlite3" if stored == "sqlite" else None
    titled = App("titled", (Agent("writer", "You write."),), titling=Titling())

    def script(exchange: Exchange) -> Answer:
        return saying("Turns") if "title" in str(exchange.body.get("system")) else FOR_EVER

    async with world(script, store=store, app=titled) as w:
        client = await w.attach()
        await client.say("Why do people interrupt?")
        await client.until("session.titled")
        (told,) = (await listed(w)).json["sessions"]
        await client.ask("interrupt")
        assert (told["title"], told["first_words"]) == ("Turns", "Why do people interrupt?")


async def test_a_session_that_sleeps_is_told_and_is_not_live():
    async with world(hello(1), idle_s=0.05, grace_s=0.01) as w:
        client = await w.attach()
        await client.converse("Hi")
        await client.leave()
        with trio.fail_after(30):
            while (await listed(w)).json["sessions"][0]["live"]:
                await trio.lowlevel.checkpoint()
        (asleep,) = (await listed(w)).json["sessions"]
        assert (asleep["session_id"], asleep["state"]) == (client.session_id, "open")


async def test_pages_follow_each_other_to_the_end():
    async with world([]) as w:
        opened = {(await w.attach()).session_id for _ in range(5)}
        seen: list[str] = []
        query = "?limit=2"
        for size in (2, 2, 1):
            answer = await listed(w, query)
            assert len(ids(answer)) == size
            seen += ids(answer)
            query = f"?limit=2&before={answer.json['next']}"
        assert answer.json["next"] is None
        assert set(seen) == opened
        assert len(seen) == 5


async def test_head_is_get_without_the_body_and_nothing_else_is_taken():
    async with world([]) as w:
        await w.attach()
        got, headed = await listed(w), await get(w.port, PATH, method="HEAD")
        assert (headed.status, headed.body) == (200, b"")
        assert headed.headers["content-length"] == str(len(got.body))
        for method in ("POST", "DELETE", "OPTIONS"):
            refused = await get(w.port, PATH, method=method)
            assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


# --- to whom -------------------------------------------------------------------------------------

OWNER: dict[str, Any] = {"sub": "ann", "tenant": "acme"}
OTHERS: dict[str, dict[str, Any]] = {
    "another principal": {"sub": "bob", "tenant": "acme"},
    "the same name elsewhere": {"sub": "ann", "tenant": "other"},
    "the same name nowhere": {"sub": "ann"},
    "a look-alike": {"sub": "Ann", "tenant": "acme"},
    "the anonymous one": {"sub": "anonymous"},
}


async def test_a_principal_is_told_of_its_own_sessions_and_of_no_others():
    async with world(hello(2), auth=BY_SECRET) as w:
        mine = await w.attach(token=SHARED.sign(**OWNER))
        await mine.converse("canary")
        for name, claims in OTHERS.items():
            answer = await listed(w, **bearer(**claims))
            assert answer.json == {"sessions": [], "next": None}, name
        theirs = await w.attach(token=SHARED.sign(**OTHERS["the same name elsewhere"]))
        await theirs.converse("theirs")
        assert ids(await listed(w, **bearer(**OWNER))) == [mine.session_id]
        elsewhere = await listed(w, **bearer(**OTHERS["the same name elsewhere"]))
        assert ids(elsewhere) == [theirs.session_id]
        assert b"canary" not in elsewhere.body


async def test_the_cursor_of_another_opens_nothing():
    async with world([], auth=BY_SECRET) as w:
        for _ in range(2):
            await w.attach(token=SHARED.sign(**OWNER))
        page = await listed(w, "?limit=1", **bearer(**OWNER))
        stolen = f"?before={page.json['next']}"
        assert ids(await listed(w, stolen, **bearer("bob", tenant="acme"))) == []
        assert len(ids(await listed(w, stolen, **bearer(**OWNER)))) == 1


async def test_a_token_that_may_only_watch_may_read_the_list():
    async with world([], auth=BY_SECRET) as w:
        mine = await w.attach(token=SHARED.sign(**OWNER))
        watching = bearer(**OWNER, role="watch", exp=soon())
        assert ids(await listed(w, **watching)) == [mine.session_id]


async def test_who_has_no_good_token_is_told_nothing(tmp_path: Path):
    revoked = tmp_path / "revoked"
    revoked.write_text("sub eve\n", encoding="utf-8")
    async with world([], auth=Auth(Secret(SECRET), revoked=str(revoked))) as w:
        await w.attach(token=SHARED.sign(**OWNER))
        expired = SHARED.sign("ann", tenant="acme", exp=soon(-3600))
        unsigned = forged({"alg": "none"}, {"sub": "ann", "tenant": "acme"})
        cases: dict[str, dict[str, str]] = {
            "none": {},
            "expired": {"Authorization": f"Bearer {expired}"},
            "unsigned": {"Authorization": f"Bearer {unsigned}"},
            "another scheme": {"Authorization": "Basic YW5uOmFubg=="},
            "revoked": bearer("eve"),
            "as a subprotocol": {"Sec_WebSocket_Protocol": f"bargein.jwt.{SHARED.sign(**OWNER)}"},
        }
        for name, headers in cases.items():
            answer = await listed(w, **headers)
            assert answer.status == 401, name
            assert answer.json["error"]["code"] == "unauthorized"
            assert answer.json["error"]["retryable"] is False
            assert answer.headers["www-authenticate"] == 'Bearer realm="bargein"'
            assert b"sess_" not in answer.body


async def test_a_token_in_the_address_is_refused_and_not_repeated():
    async with world([], auth=BY_SECRET) as w:
        token = SHARED.sign(**OWNER)
        for query in (f"?token={token}", f"?x={token}"):
            for headers in (bearer(**OWNER), {}):
                answer = await listed(w, query, **headers)
                assert answer.status == 401
                assert token.encode() not in answer.body


async def test_two_tokens_are_one_too_many():
    async with world([], auth=BY_SECRET) as w:
        line = f"Authorization: Bearer {SHARED.sign(**OWNER)}"
        answer = await get(w.port, PATH, line, line)
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_command")


async def test_bad_tokens_are_counted_here_too():
    async with world([], auth=BY_SECRET, limits=Limits(uncounted_networks=())) as w:
        for _ in range(10):
            assert (await listed(w, Authorization="Bearer nonsense")).status == 401
        shut = await listed(w, **bearer(**OWNER))
        assert (shut.status, shut.json["error"]["code"]) == (429, "rate_limited")
        assert 1 <= int(shut.headers["retry-after"]) <= 60
        assert (await get(w.port, "/v1/session", **bearer(**OWNER))).status == 429


# --- from where ----------------------------------------------------------------------------------


async def test_pages_of_elsewhere_are_refused_and_none_may_read_it_across_origins():
    async with world([], origins=("https://app.example",)) as w:
        for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example"):
            assert (await listed(w, Origin=origin)).status == 403, origin
        for origin in ("http://127.0.0.1:8000", "https://app.example"):
            answer = await listed(w, Origin=origin)
            assert answer.status == 200
            assert not [name for name in answer.headers if name.startswith("access-control")]
        assert (await listed(w, Host="evil.example")).status == 421
        twice = await get(w.port, PATH, "Origin: http://localhost", "Origin: http://localhost")
        assert twice.status == 400


# --- what is asked for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("?limit=0", "limit"),
        ("?limit=201", "limit"),
        ("?limit=-1", "limit"),
        ("?limit=1.5", "limit"),
        ("?limit=", "limit"),
        ("?limit=9999999999999999999999", "limit"),
        ("?limit=%D9%A3", "limit"),
        ("?before=", "before"),
        ("?before=x", "before"),
        ("?before=!!!!", "before"),
        ("?before=AAAA", "before"),
        ("?before=" + "A" * 400, "before"),
        ("?limit=1&limit=2", None),
        ("?limit", None),
        ("?limit=%ff", None),
    ],
)
async def test_a_query_that_makes_no_sense_is_named(query: str, param: str | None):
    async with world([]) as w:
        answer = await listed(w, query)
        assert answer.status == 400
        error = answer.json["error"]
        assert (error["code"], error["param"]) == ("invalid_command", param)
        assert error["message"]


async def test_what_is_not_known_in_a_query_is_left_alone():
    async with world([]) as w:
        assert (await listed(w, "?limit=200&later=1")).status == 200


async def test_the_path_is_this_one_alone():
    async with world([]) as w:
        for path in ("/v1/sessions/", "/v1/sessions/x", "/v1/Sessions", "/v1"):
            assert (await get(w.port, path)).status == 404, path


# --- when it can't be told -----------------------------------------------------------------------


@define(eq=False)
class Slow(MemoryStore):
    """A store whose lists take for ever, and which counts them."""

    reading: int = field(default=0, init=False)

    async def recent_of(self, asked: Asked) -> RecentPage:
        self.reading += 1
        await trio.sleep_forever()
        raise AssertionError(asked)


def anonymous(_: str, __: str | None) -> Credential:
    return Credential()


def holds(_: object) -> bool:
    return False


async def test_a_store_that_does_not_answer_is_named_in_time(autojump_clock: trio.abc.Clock):
    store = Slow()
    list_of = SessionList(store, holds, anonymous)
    answers: list[tuple[int, str]] = []

    async def one() -> None:
        page = await list_of.answer("GET", PATH, "127.0.0.1", ())
        assert ("Retry-After", "1") in page.headers
        answers.append((page.status, json.loads(page.body)["error"]["code"]))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(one)
        await trio.testing.wait_all_tasks_blocked()
        assert store.reading == AT_ONCE, "others need the store, too"
    assert answers == [(503, "store_unavailable")] * 10
    assert trio.current_time() == pytest.approx(ANSWER_S)


async def test_a_store_that_can_not_be_read_is_named(tmp_path: Path):
    unopened = SqliteStore(tmp_path / "a.sqlite3")
    with pytest.raises(StoreUnavailable):
        await unopened.recent_of(Asked("ann", None, None, 1))
    page = await SessionList(unopened, holds, anonymous).answer("GET", PATH, "127.0.0.1", ())
    said = json.loads(page.body)
    assert page.status == 503
    assert said["error"]["code"] == "store_unavailable"
    assert said["error"]["retryable"] is True
    assert str(tmp_path) not in page.body.decode()


async def test_a_store_that_only_reads_goes_on_to_tell(tmp_path: Path):
    path = tmp_path / "a.sqlite3"
    async with world(hello(1), store=path) as w:
        w.forgiven |= {"store.failed", "session.crashed"}
        client = await w.attach()
        await client.converse("Hi")
        async with locked(path):
            await client.send("say", text="This can't be kept")
            await eventually(lambda: not w.store.health.is_sound)
            assert ids(await listed(w)) == [client.session_id]
