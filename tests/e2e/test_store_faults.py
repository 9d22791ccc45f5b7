"""A live server whose store fails: rows 88 to 94 of the table of faults, over real sockets.

What was shown is stored, what is not stored is not shown, an interrupt silences at once, and who
was sent away comes back to a session that goes on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import trio

from bargein.protocol.codec import decode_event
from tests.e2e.ailments import damage, let_grow_by, locked
from tests.e2e.apps.obedient import vendor_obeys
from tests.e2e.apps.till import Till, ask, committed, propose, states
from tests.e2e.client import Client, Frame
from tests.e2e.harness import World, eventually, world
from tests.e2e.scripts import FOR_EVER, assert_ladder, by_words, words
from tests.e2e.test_hibernation import in_memory
from tests.fakes.anthropic_answers import saying

WELL_WITHIN_S = 5.0
SILENT_WITHIN_S = 1.0
"""The promise is 50 ms; a machine that does a lot beside gets more."""

FAULTS = {"store.failed", "session.crashed", "client.turned_away", "timeline.unreadable"}
SLOW = saying(*words(400), interval_s=0.01)
LONG = by_words({"long": FOR_EVER, "slow": SLOW})


def code_of(answer: Frame) -> str:
    assert answer.type == "error", answer.text
    assert not answer.is_event
    return answer["error"]["code"]


async def sent_away(client: Client) -> None:
    """Wait until the client was told that the store fails, and to come back."""
    assert await client.until_closed() == 4000
    told = [frame for frame in client.frames if frame.type in ("error", "go_away")]
    told = [frame for frame in told if not frame.is_event]
    assert [frame.type for frame in told[-2:]] == ["error", "go_away"], [f.text for f in told]
    assert told[-2]["error"]["code"] == "store_unavailable"
    assert told[-2]["error"]["retryable"] is True


async def page_of(w: World, path: str) -> tuple[int, str]:
    async with await trio.open_tcp_stream("127.0.0.1", w.port) as stream:
        await stream.send_all(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        answer = b"".join([piece async for piece in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


async def until_ready(w: World, within_s: float = WELL_WITHIN_S) -> None:
    with trio.fail_after(within_s):
        while (await page_of(w, "/readyz"))[0] != 200:  # noqa: ASYNC110 - nobody announces it
            await trio.sleep(0.05)


@asynccontextmanager
async def failing_world(path: Path, script: Any = LONG, **options: Any) -> AsyncGenerator[World]:
    """Run a server on a file, to which bad things may happen."""
    async with world(script, store=path, **options) as w:
        w.forgiven |= FAULTS
        yield w


async def reader_of(w: World, client: Client) -> Client:
    """Come back while nothing can be written: everything is shown, nothing is appended."""
    back = await w.dial(client.session_id, after=client.last_seq, epoch=client.epoch)
    live = await back.until("live")
    assert back.hello["resumed"] is True
    assert live["seq"] == back.hello["replay_to"]
    return back


# --- row 88: locked ----------------------------------------------------------------------


async def test_a_lock_of_two_seconds_delays_a_turn_and_nothing_else(tmp_path: Path):
    path = tmp_path / "a.sqlite3"
    async with failing_world(path) as w:
        alice = await w.attach()
        turn_id = (await alice.say("slow"))["result"]["turn_id"]
        await alice.until("model.token", turn_id=turn_id)
        async with locked(path):
            shown = len(alice.frames)
            await trio.sleep(2.2)  # the length of the fault itself
            assert len(alice.frames) <= shown + 2  # nothing is shown that is not stored
        await alice.until("turn.trace", turn_id=turn_id)
        assert alice.answer_of(turn_id) == "".join(words(400))
        assert not alice.closed.is_set()
    assert not [line for line in w.logs if line["event"] in FAULTS]


async def test_a_lock_that_stays_fails_the_turn_and_the_session_goes_on_when_it_is_free(
    tmp_path: Path,
):
    path = tmp_path / "a.sqlite3"
    async with failing_world(path) as w:
        alice, bob = await w.attach(), await w.attach()
        turn_id = (await alice.say("slow"))["result"]["turn_id"]
        await alice.until("model.token", turn_id=turn_id)
        async with locked(path):
            await sent_away(alice)
            status, why = await page_of(w, "/readyz")
            assert (status, "locked" in why) == (503, True)
            back = await reader_of(w, alice)
            assert code_of(await back.say("Are you there?")) == "store_unavailable"
            page = await back.ask("history", after=0, limit=1000)
            assert len(page["result"]["events"]) == back.hello["replay_to"]
            assert code_of(await bob.say("And you?")) == "store_unavailable"
            assert not bob.closed.is_set()  # his session has lost nothing
        assert await back.until_closed(2 * WELL_WITHIN_S) == 4000
        away = await back.until("go_away")
        assert away["reason"] == "the store can be written again"
        await until_ready(w)
        again = await w.back(back)
        fault = await again.until("error", turn_id=turn_id)
        assert fault.payload["code"] == "store_unavailable"
        assert fault.payload["retryable"] is True
        end = await again.until("response.end", turn_id=turn_id)
        seen = alice.answer_of(turn_id) + back.answer_of(turn_id)
        assert (end.payload["status"], end.payload["text"]) == ("failed", seen)
        token = fault.payload["recover"]["resume_token"]
        resumed = (await again.say("", resume=token))["result"]["turn_id"]
        await again.until("turn.trace", turn_id=resumed)
        assert await bob.converse("And now?")


async def test_an_interrupt_silences_at_once_while_the_store_hangs(tmp_path: Path):
    path = tmp_path / "a.sqlite3"
    async with failing_world(path) as w:
        alice = await w.attach()
        watcher = await w.attach(alice.session_id, role="watch")
        turn_id = (await alice.say("long"))["result"]["turn_id"]
        await eventually(lambda: alice.answer_of(turn_id) == "I go on ")
        exchange = w.exchange_about("long")
        assert exchange is not None
        async with locked(path):
            asked_s = trio.current_time()
            await alice.send("interrupt", id="stop")
            for client in (alice, watcher):
                flush = await client.until("flush", turn_id=turn_id)
                print(f"silent after {(flush.at_s - asked_s) * 1000:.1f} ms")  # noqa: T201
                assert flush.at_s - asked_s < SILENT_WITHIN_S
            await exchange.gone()
            assert alice.find("cancel.requested") is None
        reply = await alice.answer_to("stop")
        assert reply["result"]["interrupted"] is True
        assert_ladder(alice.of_turn(turn_id))


async def test_an_interrupt_whose_ladder_cannot_be_stored_ends_in_one_all_the_same(tmp_path: Path):
    path = tmp_path / "a.sqlite3"
    async with failing_world(path) as w:
        alice = await w.attach()
        turn_id = (await alice.say("long"))["result"]["turn_id"]
        await eventually(lambda: alice.answer_of(turn_id) == "I go on ")
        async with locked(path):
            await alice.send("interrupt", id="stop")
            await alice.until("flush", turn_id=turn_id)
            await sent_away(alice)
            assert alice.find("cancel.requested") is None
            back = await reader_of(w, alice)
            reply = await back.ask("interrupt", id="stop")
            assert reply["result"] == {"interrupted": False}
        await back.until_closed(2 * WELL_WITHIN_S)
        again = await w.back(back)
        await again.until("turn.trace", turn_id=turn_id)
        again.sent_again.add("stop")
        reply = await again.ask("interrupt", id="stop")
        assert reply["result"]["interrupted"] is False


# --- row 89: full ------------------------------------------------------------------------


async def test_a_full_disk_makes_the_server_read_only_and_space_brings_it_back(tmp_path: Path):
    path = tmp_path / "a.sqlite3"
    async with failing_world(path, idle_s=600.0) as w:
        alice, bob = await w.attach(), await w.attach()
        await alice.converse("Hi")
        await bob.converse("Hi")
        turn_id = (await alice.say("slow"))["result"]["turn_id"]
        await alice.until("model.token", turn_id=turn_id)
        let_grow_by(w, 0)
        await sent_away(alice)
        status, why = await page_of(w, "/readyz")
        assert (status, "full" in why) == (503, True)

        await reads_and_writes_nothing(bob)  # who was there stays
        carol = await reader_of(w, alice)  # who comes back reads
        await reads_and_writes_nothing(carol)
        stranger = await w.dial()  # who is new is told to come again
        assert await stranger.until_closed() == 4000
        assert [code_of(frame) for frame in stranger.frames] == ["store_unavailable"]

        let_grow_by(w, 100_000)
        await until_ready(w)
        assert await carol.until_closed() == 4000
        assert not bob.closed.is_set()
        assert await bob.converse("Hi again")
        back = await w.back(carol)
        fault = await back.until("error", turn_id=turn_id)
        assert fault.payload["code"] == "store_unavailable"
        assert await back.converse("Hi again")


async def reads_and_writes_nothing(client: Client) -> None:
    """Check what a client may do while nothing can be written, and what it is told."""
    head = max(client.last_seq, client.hello["replay_to"])
    for type_, fields in (
        ("say", {"text": "Hi"}),
        ("configure", {"on_disconnect": "continue"}),
        ("confirm", {"confirmation_id": "conf_1"}),
        ("close", {}),
    ):
        assert code_of(await client.ask(type_, **fields)) == "store_unavailable"
    page = await client.ask("history", after=0, limit=1000)
    assert len(page["result"]["events"]) == head
    view = await client.ask("projection", name="transcript")
    assert view["result"]["seq"] == head
    assert (await client.ask("interrupt"))["result"] == {"interrupted": False}
    assert (await client.ask("ack", seq=client.last_seq))["result"] == {}
    await client.send("ping", nonce="n1")
    assert (await client.until("pong"))["nonce"] == "n1"
    assert not client.closed.is_set()


async def test_who_reads_while_the_disk_is_full_is_told_by_typed_lines_too(tmp_path: Path):
    path = tmp_path / "a.sqlite3"
    async with failing_world(path) as w:
        alice = await w.attach()
        await alice.converse("Hi")
        await alice.say("slow")
        let_grow_by(w, 0)
        await sent_away(alice)
        back = await w.dial(alice.session_id, strict=False)
        await back.until("live")
        for line in ("Hello?", "/yes", "/no conf_1"):
            since = len(back.frames)
            await back.send_text(line)
            refusal = await back.until(lambda f: f.type == "error", since=since)
            assert code_of(refusal) == "store_unavailable"
        await back.send_text("/history")
        await back.until("reply")
        watcher = await w.dial(alice.session_id, role="watch")
        await watcher.until("live")
        assert code_of(await watcher.ask("confirm", confirmation_id="conf_1")) == "forbidden"
        let_grow_by(w, 100_000)
        for client in (back, watcher):
            assert await client.until_closed() == 4000
            await client.until("go_away")


async def test_a_server_that_drains_sends_those_away_who_only_read(tmp_path: Path):
    path = tmp_path / "a.sqlite3"
    async with failing_world(path) as w:
        alice = await w.attach()
        await alice.converse("Hi")
        await alice.say("slow")
        let_grow_by(w, 0)
        await sent_away(alice)
        back = await reader_of(w, alice)
        await w.edge.drain("the server stops", 1000)
        away = await back.until("go_away")
        assert away["reason"] == "the server stops"
        assert await back.until_closed() == 4000


# --- row 91: damaged ---------------------------------------------------------------------


async def test_a_damaged_timeline_is_refused_with_4102_and_the_others_go_on(tmp_path: Path):
    path = tmp_path / "a.sqlite3"
    async with failing_world(path, idle_s=0.05, grace_s=0.01) as w:
        alice, bob = await w.attach(), await w.attach()
        await alice.converse("Hi")
        await alice.leave()
        await eventually(lambda: not in_memory(alice.session_id))
        damage(path, alice.session_id, 3)
        w.clients.remove(alice)  # what she saw can't be read back any more
        damaged = await w.dial(alice.session_id)
        assert await damaged.until_closed() == 4102
        w.clients.remove(damaged)
        refusal = await damaged.until(lambda f: f.type == "error" and not f.is_event)
        assert code_of(refusal) == "timeline_corrupt"
        assert refusal["error"]["retryable"] is False
        assert damaged.events == []  # none of it is served
        assert await bob.converse("Hi")
        assert (await page_of(w, "/readyz"))[0] == 200
        with closing(sqlite3.connect(path)) as other:
            (kept,) = other.execute("SELECT count(*) FROM sessions").fetchone()
        assert kept == 2  # an operator can still look at it


# --- actions meanwhile -------------------------------------------------------------------


async def test_what_was_done_and_could_not_be_noted_is_asked_for_and_not_done_again(
    tmp_path: Path,
):
    till = Till()
    path = tmp_path / "a.sqlite3"
    async with failing_world(path, vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay", to="slow")
        await ask(ann, "confirm", proposed)
        await ann.until("action.committing")
        await eventually(lambda: till.waiting)
        async with locked(path):
            till.open.set()
            await eventually(lambda: till.paid)
            await sent_away(ann)  # the outcome could not be written
        await until_ready(w, 3 * WELL_WITHIN_S)
        # Nobody is there, and it is settled all the same.
        kinds = await settled(w, ann.session_id, "action.committed")
        assert kinds == ["proposed", "confirmed", "committing", "in_doubt", "committed"]
        assert (till.entered, len(till.paid)) == (1, 1)
        back = await w.back(ann)
        assert await states(back) == {"act_1": "committed"}


async def test_what_nobody_can_be_asked_about_stays_in_doubt_until_a_person_decides(
    tmp_path: Path,
):
    till = Till()
    path = tmp_path / "a.sqlite3"
    async with failing_world(path, vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "give", to="slow")
        await ask(ann, "confirm", proposed)
        await eventually(lambda: till.waiting)
        async with locked(path):
            till.open.set()
            await sent_away(ann)
        await until_ready(w, 3 * WELL_WITHIN_S)
        assert (await settled(w, ann.session_id, "action.in_doubt"))[-1] == "in_doubt"
        back = await w.back(ann)
        decided = await ask(back, "confirm", proposed)
        assert decided["result"]["state"] == "committed"
        assert (till.entered, len(till.paid)) == (1, 1)


async def test_what_was_confirmed_and_not_begun_is_done_once_when_the_store_is_well(
    tmp_path: Path,
):
    till = Till()
    path = tmp_path / "a.sqlite3"
    async with failing_world(path, vendor_obeys, app=till.app()) as w:
        ann = await w.attach()
        proposed = await propose(ann, "pay")
        async with locked(path):
            await ann.send("confirm", id="yes", confirmation_id=proposed.payload["confirmation_id"])
            await sent_away(ann)
            assert ann.find("reply", command_id="yes") is None
            assert till.entered == 0  # the intent was not durable
        await until_ready(w, 3 * WELL_WITHIN_S)
        back = await w.back(ann)
        back.sent_again.add("yes")
        await committed(back, proposed)
        assert (till.entered, len(till.paid)) == (1, 1)


async def settled(w: World, session_id: str, last: str) -> list[str]:
    """Wait until a stored timeline has an event *last*; return what became of its action."""
    with trio.fail_after(WELL_WITHIN_S):
        while True:
            kinds = [decode_event(stored.frame) for stored in await w.timeline(session_id)]
            types = [event.payload.type for event in kinds]
            if last in types:
                return [t.removeprefix("action.") for t in types if t.startswith("action.")]
            await trio.sleep(0.02)
