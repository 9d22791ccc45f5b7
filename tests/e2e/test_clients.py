"""Several clients of one session: what each gets, may do, and leaves behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.e2e.client import Client
from tests.e2e.harness import World, eventually, world
from tests.e2e.scripts import BRIEF, FOR_EVER, assert_ladder, by_words, words
from tests.fakes.anthropic_answers import saying

SCRIPT = by_words({"Long": FOR_EVER})


async def busy(client: Client) -> str:
    turn_id = (await client.say("Long story"))["result"]["turn_id"]
    await client.until("model.token", turn_id=turn_id)
    return turn_id


async def test_several_clients_see_identical_events():
    async with world([saying(*words(50), interval_s=0.005)]) as w:
        alice = await w.attach()
        others = [await w.attach(alice.session_id) for _ in range(4)]
        turn_id = (await alice.say("Hi"))["result"]["turn_id"]
        for client in (alice, *others):
            await client.until("turn.trace", turn_id=turn_id)
        whole = [event.text for event in alice.events]
        for client in others:
            assert [event.text for event in client.events] == whole[: len(client.events)]


async def test_every_driver_may_interrupt_and_every_client_is_told_to_flush():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        bob = await w.attach(alice.session_id)
        watcher = await w.attach(alice.session_id, role="watch")
        turn_id = await busy(alice)
        await bob.ask("interrupt")
        for client in (alice, bob, watcher):
            flush = await client.until("flush")
            assert flush["turn_id"] == turn_id
            await client.until("cancel.ack", turn_id=turn_id)
            assert_ladder(client.of_turn(turn_id))


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("say", {"text": "Hi"}),
        ("interrupt", {}),
        ("configure", {"on_disconnect": "cancel"}),
        ("playback.progress", {"turn_id": "turn_1", "chars": 1}),
        ("confirm", {"confirmation_id": "c"}),
        ("close", {}),
    ],
)
async def test_a_watcher_may_not_drive(command: str, fields: dict[str, str]):
    async with world(SCRIPT) as w:
        alice = await w.attach()
        turn_id = await busy(alice)
        watcher = await w.attach(alice.session_id, role="watch")
        refused = await watcher.ask(command, **fields)
        assert refused["error"]["code"] == "forbidden"
        await alice.ask("ping")
        assert alice.find("cancel.requested") is None
        assert not watcher.closed.is_set()
        await alice.ask("interrupt", turn_id=turn_id)


async def test_a_watcher_may_look():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        await alice.converse("Hi")
        watcher = await w.attach(alice.session_id, role="watch")
        assert watcher.hello["you"]["role"] == "watch"
        assert (await watcher.ask("ping")).type == "reply"
        assert (await watcher.ask("ack", seq=1)).type == "reply"
        page = await watcher.ask("history", after=0, limit=10)
        assert len(page["result"]["events"]) == 10
        view = await watcher.ask("projection", name="transcript")
        assert view["result"]["turns"][0]["assistant"] == "Very well."


async def test_ping_is_answered_with_its_nonce():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        await alice.send("ping", nonce="n1")
        pong = await alice.until("pong")
        assert pong["nonce"] == "n1"
        assert pong["server_ts"].endswith("Z")


async def test_coming_and_going_is_on_the_timeline_with_its_count():
    async with world([BRIEF]) as w:
        alice = await w.attach()
        bob = await w.attach(alice.session_id)
        await bob.leave()
        gone = await alice.until("session.detached")
        assert gone.payload == {"role": "drive", "connections": 1}
        came = [event for event in alice.events if event.type == "session.attached"]
        assert [event.payload["connections"] for event in came] == [1, 2]


async def test_an_unknown_session_is_4104():
    async with world([BRIEF]) as w:
        stranger = await w.dial("sess_00000000000000000000000000000000")
        assert await stranger.until_closed() == 4104
        assert stranger.frames == []


# --- stop is not disconnect -------------------------------------------------------


async def left_alone(w: World, policy: str | None) -> tuple[Client, str]:
    """Let a turn run and its only driver go; return the driver and the turn."""
    alice = await w.attach()
    if policy is not None:
        answer = await alice.ask("configure", on_disconnect=policy)
        assert answer["result"]["on_disconnect"] == policy
    turn_id = await busy(alice)
    await alice.cut()
    return alice, turn_id


@pytest.mark.parametrize(("policy", "grace_s"), [(None, 0.1), ("grace", 0.1), ("cancel", 60.0)])
async def test_a_turn_whose_driver_is_lost_is_interrupted_after_the_grace_or_at_once(
    policy: str | None, grace_s: float
):
    async with world(SCRIPT, grace_s=grace_s) as w:
        alice, turn_id = await left_alone(w, policy)
        watcher = await w.attach(alice.session_id, role="watch")
        ack = await watcher.until("cancel.ack", turn_id=turn_id)
        requested = await watcher.until("cancel.requested", turn_id=turn_id)
        assert requested.payload["by"] == "disconnected"
        assert ack.payload["turn_id"] == turn_id
        assert_ladder(watcher.of_turn(turn_id))
        await w.api.exchanges[-1].gone()


async def test_a_driver_that_comes_back_within_the_grace_finds_its_turn_running():
    async with world(SCRIPT, grace_s=0.5) as w:
        alice, turn_id = await left_alone(w, "grace")
        back = await w.back(alice)
        await trio.sleep(0.7)  # beyond the grace
        assert back.find("cancel.requested") is None
        assert not w.api.exchanges[-1].client_gone
        stopped = await back.ask("interrupt")
        assert stopped["result"]["turn_id"] == turn_id


async def test_a_session_that_is_told_to_continue_finishes_its_turn_alone():
    answer = saying(*words(20), interval_s=0.02)
    async with world([answer], grace_s=0.05) as w:
        alice = await w.attach()
        await alice.ask("configure", on_disconnect="continue")
        turn_id = (await alice.say("Go on"))["result"]["turn_id"]
        await alice.until("model.token", turn_id=turn_id)
        await alice.cut()
        await eventually(lambda: w.api.exchanges[0].finished)
        back = await w.back(alice)
        await back.until("turn.trace", turn_id=turn_id)
        assert back.find("cancel.requested") is None
        assert alice.answer_of(turn_id) + back.answer_of(turn_id) == "".join(words(20))


# --- the end of a session ---------------------------------------------------------


async def test_close_ends_every_connection_with_4102_after_its_last_event():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        bob = await w.attach(alice.session_id, role="watch")
        await alice.send("close", id="end")
        for client in (alice, bob):
            assert await client.until_closed() == 4102
            assert client.events[-1].type == "session.closed"
        reply = alice.find("reply", command_id="end")
        assert reply is not None
        assert reply["at_seq"] == alice.last_seq


async def test_close_stops_a_running_turn_first():
    async with world(SCRIPT) as w:
        alice = await w.attach()
        turn_id = await busy(alice)
        await alice.send("close")
        assert await alice.until_closed() == 4102
        assert_ladder(alice.of_turn(turn_id))
        assert alice.events[-1].type == "session.closed"


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_closed_session_can_be_read_and_then_is_4102(restarted: bool, tmp_path: Path):
    async with world([BRIEF], store=tmp_path / "a.sqlite3") as w:
        alice = await w.attach()
        await alice.converse("Hi")
        await alice.send("close")
        await alice.until_closed()
        if restarted:
            await w.stop()
            await w.start()
        reader = await w.dial(alice.session_id)
        assert await reader.until_closed() == 4102
        kinds = [frame.type for frame in reader.frames]
        assert (kinds[0], kinds[-1]) == ("hello", "live")
        assert [event.text for event in reader.events] == [event.text for event in alice.events]
        tail = await w.dial(alice.session_id, after=alice.last_seq - 1, epoch=alice.epoch)
        assert await tail.until_closed() == 4102
        assert [event.type for event in tail.events] == ["session.closed"]
        assert len(await w.timeline(alice.session_id)) == alice.last_seq
