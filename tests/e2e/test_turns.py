from __future__ import annotations

from pathlib import Path

from bargein.models.client import INTERRUPTED
from tests.e2e.harness import text_of, world
from tests.e2e.scripts import FOR_EVER, PACE_S, assert_ladder, by_words, outline, words
from tests.fakes.anthropic_answers import Leave, Say, doing, saying

FORTY = words(40)

WHOLE_TURN = [
    "input.text",
    "turn.start",
    "turn.end",
    "response.start",
    "model.start",
    "model.token",
    "model.end",
    "response.end",
    "turn.trace",
]


async def test_a_turn_of_40_tokens_arrives_whole_and_in_order(tmp_path: Path):
    async with world([saying(*FORTY, interval_s=0.005)], store=tmp_path / "a.sqlite3") as w:
        alice = await w.attach()
        reply = await alice.say("List the top-performing ETFs in my portfolio.")
        turn_id = reply["result"]["turn_id"]
        trace = await alice.until("turn.trace", turn_id=turn_id)
        turn = alice.of_turn(turn_id)

        assert outline(turn) == WHOLE_TURN
        assert alice.answer_of(turn_id) == "".join(FORTY)
        tokens = [event for event in turn if event.type == "model.token"]
        assert sum(token.payload["n"] for token in tokens) == 40
        end = next(event for event in turn if event.type == "response.end")
        assert end.payload == {"status": "completed", "text": "".join(FORTY)}
        usage = next(event for event in turn if event.type == "model.end").payload["usage"]
        assert usage["output_tokens"] == 40
        assert not usage.get("estimated")
        assert reply["result"] == {"turn_id": turn_id, "outcome": "started", "interrupted": None}
        spans = [span for span in trace.payload["spans"] if "parent" not in span]
        assert abs(sum(span["ms"] for span in spans) - trace.payload["total_ms"]) < 1


async def test_a_new_session_says_hello_live_opened_attached_in_this_order():
    async with world([saying("x")]) as w:
        alice = await w.attach()
        hello = alice.hello
        types = [frame.type for frame in alice.frames]
        assert types == ["hello", "live", "session.opened", "session.attached"]
        assert hello["resumed"] is False
        assert (hello["replay_from"], hello["replay_to"], alice.frames[1]["seq"]) == (1, 0, 0)
        assert (alice.frames[2].seq, alice.frames[3].seq) == (1, 2)
        assert hello["protocol"] == "bargein.v1"
        assert hello["limits"]["durability"] == "none"
        assert hello["you"]["role"] == "drive"


async def test_a_resumed_session_says_hello_replay_live_attached_in_this_order(tmp_path: Path):
    async with world([saying("x")], store=tmp_path / "a.sqlite3") as w:
        alice = await w.attach()
        await alice.converse("Hi")
        await alice.cut()
        await w.attach(alice.session_id)  # so that the rest of the timeline is long enough
        back = await w.back(alice)
        assert back.hello["resumed"] is True
        assert back.hello["replay_from"] == alice.last_seq + 1
        assert back.hello["limits"]["durability"] == "fsync"
        live = await back.until("live")
        assert live["seq"] == back.hello["replay_to"]
        types = [frame.type for frame in back.frames]
        assert types[0] == "hello"
        assert types[live.place + 1] == "session.attached"
        replayed = back.frames[1 : live.place]
        assert [event.seq for event in replayed] == list(range(alice.last_seq + 1, live["seq"] + 1))


async def test_the_users_text_reaches_the_model_unchanged_as_the_last_user_message():
    strange = '  Ünïcode \t"quotes" {"json": 1}\n\u202eright to left\u202c 🎈 \\ </script>  '
    async with world([saying("x")]) as w:
        alice = await w.attach()
        await alice.converse("First.")
        await alice.converse(strange)
        first, second = w.api.bodies
        assert [text_of(message) for message in first["messages"]] == ["First."]
        roles = [message["role"] for message in second["messages"]]
        assert roles == ["user", "assistant", "user"]
        assert text_of(second["messages"][-1]) == strange


async def test_what_the_user_did_not_hear_is_not_in_the_next_request():
    answer = saying(*words(500), interval_s=PACE_S)
    async with world(by_words({"Long": answer})) as w:
        alice = await w.attach()
        turn_id = (await alice.say("Long story"))["result"]["turn_id"]
        await alice.until(lambda f: f.type == "model.token" and "w9 " in f.payload["text"])
        await alice.converse("Stop there", heard={"chars": len("w0 w1 w2")})

        frozen = await alice.until("cancel.stage", turn_id=turn_id, target="transcript")
        assert frozen.payload["outcome"] == "frozen"
        assert frozen.payload["heard"] == "w0 w1 w2"
        assert frozen.payload["text"].startswith("w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 ")
        assert frozen.payload["text"] == alice.answer_of(turn_id)
        told = [text_of(message) for message in w.api.bodies[-1]["messages"]]
        assert told == ["Long story", f"w0 w1 w2 {INTERRUPTED}", "Stop there"]
        assert_ladder(alice.of_turn(turn_id))


async def test_where_the_client_reports_nothing_what_was_delivered_counts_as_heard():
    answer = saying(*words(500), interval_s=PACE_S)
    async with world(by_words({"Long": answer})) as w:
        alice = await w.attach()
        turn_id = (await alice.say("Long story"))["result"]["turn_id"]
        await alice.until(lambda f: f.type == "model.token" and "w9 " in f.payload["text"])
        await alice.converse("Stop there")
        frozen = await alice.until("cancel.stage", turn_id=turn_id, target="transcript")
        heard = frozen.payload["heard"]
        assert heard.startswith("w0 w1 w2 w3 w4 w5 w6 w7 w8 w9 ")
        assert alice.answer_of(turn_id).startswith(heard)
        told = [text_of(message) for message in w.api.bodies[-1]["messages"]]
        assert told == ["Long story", f"{heard.rstrip()} {INTERRUPTED}", "Stop there"]


async def test_a_client_that_acks_has_heard_no_more_than_it_acked():
    answer = saying(*words(500), interval_s=PACE_S)
    async with world(by_words({"Long": answer})) as w:
        alice = await w.attach()
        turn_id = (await alice.say("Long story"))["result"]["turn_id"]
        third = await alice.until(lambda f: f.type == "model.token" and "w2 " in f.payload["text"])
        shown = "".join(
            event.payload["text"]
            for event in alice.events
            if event.type == "model.token" and event.seq <= third.seq
        )
        await alice.send("ack", seq=third.seq)
        await alice.until(lambda f: f.type == "model.token" and "w9 " in f.payload["text"])
        await alice.ask("interrupt")
        frozen = await alice.until("cancel.stage", turn_id=turn_id, target="transcript")
        assert frozen.payload["heard"] == shown


async def test_a_rollback_leaves_the_cancelled_turn_out_of_what_the_model_sees():
    async with world(by_words({"Long": FOR_EVER})) as w:
        alice = await w.attach()
        await alice.converse("Hello")
        first = (await alice.say("Long story"))["result"]["turn_id"]
        await alice.until("model.token", turn_id=first)
        reply = await alice.say("I meant short", when_busy="rollback")
        second = reply["result"]["turn_id"]
        await alice.until("turn.trace", turn_id=second)

        assert reply["result"] == {
            "turn_id": second,
            "outcome": "rolled_back",
            "interrupted": first,
        }
        start = await alice.until("turn.start", turn_id=second)
        assert start.payload["replaces"] == first
        told = [text_of(message) for message in w.api.bodies[-1]["messages"]]
        assert told == ["Hello", "Very well.", "I meant short"]
        assert_ladder(alice.of_turn(first))
        view = (await alice.ask("projection", name="transcript"))["result"]
        assert [turn["rolled_back"] for turn in view["turns"]] == [False, True, False]


async def test_a_turn_that_failed_is_taken_up_with_its_resume_token():
    answers = [doing(Say("Half "), Leave()), saying("the ", "rest."), saying("Fine.")]
    async with world(answers) as w:
        alice = await w.attach()
        first = await alice.converse("Try this")
        end = await alice.until("response.end", turn_id=first)
        assert end.payload == {"status": "failed", "text": "Half "}
        fault = await alice.until("error", turn_id=first)
        assert fault.is_event
        assert fault.payload["retryable"] is True

        token = fault.payload["recover"]["resume_token"]
        second = await alice.converse("", resume=token)
        start = await alice.until("turn.start", turn_id=second)
        assert start.payload["continues"] == first
        assert alice.answer_of(second) == "the rest."
        told = [text_of(message) for message in w.api.bodies[-1]["messages"]]
        assert told[0] == "Try this"
        assert told[1].startswith("Half ")
        assert outline(alice.of_turn(second)) == WHOLE_TURN
        stale = await alice.say("", resume=token)
        assert stale["error"]["code"] == "stale"
        unknown = await alice.say("", resume="resume.nothing")
        assert unknown["error"]["code"] == "not_found"
