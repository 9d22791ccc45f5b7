"""What of an answer was heard, from a client's reports to the model's next request."""

from __future__ import annotations

import pytest

from bargein.models.client import INTERRUPTED
from tests.e2e.client import Client, Frame
from tests.e2e.harness import World, text_of, world
from tests.e2e.scripts import assert_ladder, by_words
from tests.fakes.anthropic_answers import Hang, Say, doing, saying

PIECES = (
    "Zoë's cafe",
    "\u0301 ",
    "has a ",
    "👨\u200d👩",
    "\u200d👧 ",
    "table 🎈",
    "🇸🇪 ",
    "and 日本",
    "茶.",
)
"""Accents of their own, joined emoji and flags, cut where a model may cut them."""

WHOLE = "".join(PIECES)
LONG = doing(*(Say(piece) for piece in PIECES), Hang())


def told(w: World) -> list[str]:
    """Return the messages of the latest request to the model."""
    return [text_of(message) for message in w.api.bodies[-1]["messages"]]


def cut_at(chars: int) -> str:
    """Return how a model is told of an answer that was heard so far."""
    return f"{WHOLE[:chars].rstrip()} {INTERRUPTED}".lstrip()


async def hearing(alice: Client) -> str:
    """Let an answer begin that goes on for ever; return its turn when all there is has come."""
    turn_id = (await alice.say("Long story"))["result"]["turn_id"]
    await alice.until(lambda _: alice.answer_of(turn_id) == WHOLE)
    return turn_id


async def heard_of(alice: Client, turn_id: str) -> str:
    frozen = await alice.until("cancel.stage", turn_id=turn_id, target="transcript")
    assert frozen.payload["text"] == WHOLE
    return frozen.payload["heard"]


@pytest.mark.parametrize("chars", [0, 1, 9, 10, 11, 12, 18, 19, 20, 21, 22, 23, 31, 32, len(WHOLE)])
async def test_the_next_request_holds_exactly_the_reported_code_points_and_the_mark(chars: int):
    async with world(by_words({"Long": LONG})) as w:
        alice = await w.attach()
        turn_id = await hearing(alice)
        reply = await alice.ask("playback.progress", turn_id=turn_id, chars=chars)
        assert reply["result"] == {}
        await alice.converse("Stop there")
        assert await heard_of(alice, turn_id) == WHOLE[:chars]
        assert told(w) == ["Long story", cut_at(chars), "Stop there"]
        assert_ladder(alice.of_turn(turn_id))


@pytest.mark.parametrize(("reported", "heard"), [(5, 11), (11, 5), (3, 0)])
@pytest.mark.parametrize("command", ["interrupt", "say"])
async def test_what_the_interrupting_command_says_beats_the_last_report(
    reported: int, heard: int, command: str
):
    async with world(by_words({"Long": LONG})) as w:
        alice = await w.attach()
        turn_id = await hearing(alice)
        await alice.ask("playback.progress", turn_id=turn_id, chars=reported)
        words = {"text": "Stop there"} if command == "say" else {}
        await alice.ask(command, heard={"chars": heard}, **words)
        if command == "interrupt":
            await alice.converse("Stop there")
        await alice.until("turn.trace", turn_id="turn_2")
        assert await heard_of(alice, turn_id) == WHOLE[:heard]
        assert told(w)[1] == cut_at(heard)


@pytest.mark.parametrize("beyond", [len(WHOLE) + 1, 10**6, 2**53 - 1])
async def test_nobody_heard_more_than_was_sent_whatever_they_report(beyond: int):
    async with world(by_words({"Long": LONG})) as w:
        alice = await w.attach()
        turn_id = await hearing(alice)
        await alice.ask("playback.progress", turn_id=turn_id, chars=beyond)
        report = await alice.until("playback.progress", turn_id=turn_id)
        assert report.payload["chars"] == len(WHOLE)
        await alice.ask("interrupt", heard={"chars": beyond})
        assert await heard_of(alice, turn_id) == WHOLE
        stop = await alice.until("playback.stop", turn_id=turn_id)
        assert stop.payload["chars"] == len(WHOLE)


async def test_a_report_made_early_and_too_large_does_not_stretch_over_what_comes_later():
    """The first piece is out, the report claims it all: what was sent *then* is what counts."""
    slow = doing(Say(PIECES[0]), Hang())
    async with world(by_words({"Long": slow})) as w:
        alice = await w.attach()
        turn_id = (await alice.say("Long story"))["result"]["turn_id"]
        await alice.until("model.token", turn_id=turn_id)
        await alice.ask("playback.progress", turn_id=turn_id, chars=len(WHOLE))
        report = await alice.until("playback.progress", turn_id=turn_id)
        assert report.payload["chars"] == len(PIECES[0])


async def test_what_a_client_that_acks_reports_beyond_its_ack_was_not_heard():
    async with world(by_words({"Long": LONG})) as w:
        alice = await w.attach()
        turn_id = await hearing(alice)
        first = await alice.until("model.token", turn_id=turn_id)
        await alice.send("ack", seq=first.seq)
        await alice.ask("playback.progress", turn_id=turn_id, chars=len(WHOLE))
        await alice.ask("interrupt", heard={"chars": len(WHOLE)})
        assert await heard_of(alice, turn_id) == first.payload["text"]


async def test_a_report_after_the_cut_changes_nothing_and_is_no_event():
    async with world(by_words({"Long": LONG})) as w:
        alice = await w.attach()
        turn_id = await hearing(alice)
        await alice.ask("interrupt", heard={"chars": 5})
        late = await alice.ask("playback.progress", turn_id=turn_id, chars=len(WHOLE))
        assert late["error"]["code"] == "stale"
        await alice.converse("Stop there")
        assert told(w)[1] == cut_at(5)
        assert alice.find("playback.progress", turn_id=turn_id) is None
        later = await alice.ask("playback.progress", turn_id=turn_id, chars=1)
        assert later["error"]["code"] == "stale"


async def test_an_answer_that_ended_is_told_whole_however_little_was_reported():
    async with world(by_words({"Long": saying(*PIECES)})) as w:
        alice = await w.attach()
        turn_id = await alice.converse("Long story")
        taken = await alice.ask("playback.progress", turn_id=turn_id, chars=4)
        assert taken["result"] == {}
        await alice.converse("Go on")
        assert told(w) == ["Long story", WHOLE, "Go on"]


async def test_of_two_clients_the_latest_report_counts_whoever_sent_it():
    async with world(by_words({"Long": LONG})) as w:
        alice = await w.attach()
        bob = await w.attach(alice.session_id)
        turn_id = await hearing(alice)
        for chars in (6, 12, 18):
            await alice.ask("playback.progress", turn_id=turn_id, chars=chars)
            await bob.ask("playback.progress", turn_id=turn_id, chars=chars - 4)
        await bob.until(lambda f: _reports(f, 14))
        await alice.converse("Stop there")
        assert await heard_of(bob, turn_id) == WHOLE[:14]
        assert told(w)[1] == cut_at(14)


async def test_of_two_clients_the_one_that_interrupts_says_how_far_it_was():
    async with world(by_words({"Long": LONG})) as w:
        alice = await w.attach()
        bob = await w.attach(alice.session_id)
        turn_id = await hearing(alice)
        await bob.ask("playback.progress", turn_id=turn_id, chars=4)
        await alice.converse("Stop there", heard={"chars": 18})
        assert await heard_of(bob, turn_id) == WHOLE[:18]
        assert told(w)[1] == cut_at(18)


async def test_who_only_watches_can_not_say_what_was_heard():
    async with world(by_words({"Long": LONG})) as w:
        alice = await w.attach()
        watcher = await w.attach(alice.session_id, role="watch")
        turn_id = await hearing(alice)
        refused = await watcher.ask("playback.progress", turn_id=turn_id, chars=2)
        assert refused["error"]["code"] == "forbidden"
        await alice.ask("interrupt")
        assert await heard_of(alice, turn_id) == WHOLE


async def test_who_comes_back_reports_again_and_is_believed():
    async with world(by_words({"Long": LONG})) as w:
        alice = await w.attach()
        turn_id = await hearing(alice)
        await alice.ask("playback.progress", turn_id=turn_id, chars=9)
        await alice.cut()
        back = await w.back(alice)
        await back.ask("playback.progress", turn_id=turn_id, chars=13)
        await back.converse("Stop there")
        frozen = await back.until("cancel.stage", turn_id=turn_id, target="transcript")
        assert frozen.payload["heard"] == WHOLE[:13]
        assert told(w)[1] == cut_at(13)


async def test_where_the_turn_is_lost_with_its_driver_the_last_report_counts():
    async with world(by_words({"Long": LONG})) as w:
        alice = await w.attach()
        watcher = await w.attach(alice.session_id, role="watch")
        turn_id = await hearing(alice)
        await alice.ask("configure", on_disconnect="cancel")
        await alice.ask("playback.progress", turn_id=turn_id, chars=10)
        await alice.cut()
        frozen = await watcher.until("cancel.stage", turn_id=turn_id, target="transcript")
        assert frozen.payload["heard"] == WHOLE[:10]


def _reports(frame: Frame, chars: int) -> bool:
    return frame.type == "playback.progress" and frame.payload["chars"] == chars
