"""What the input loop answers itself."""

from __future__ import annotations

from typing import Any

import pytest
import trio.testing

from bargein.actors.limits import Limits
from tests.actors.stage import Stage, Viewer, on_stage


async def test_a_command_that_is_sent_again_is_done_once_and_answered_again() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        first = await stage.ask(session, viewer, "say", text="one", id="x")
        second = await stage.ask(session, viewer, "say", text="one", id="x")
        assert second == first
        assert viewer.types().count("input.text") == 1
        other = await stage.ask(session, viewer, "say", text="another", id="x")
        assert other["error"]["code"] == "duplicate"
        assert other["error"]["param"] == "id"


async def test_a_command_that_left_an_event_is_known_to_the_next_process() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        first = await stage.ask(session, viewer, "say", text="one", id="x")
        (await stage.model.line(0)).ends()
        await viewer.event("turn.trace")
        await session.detach(viewer)
        session.end()
        await session.until_ended()
        again = await stage.sessions.enter(session.id)
        later = await stage.attend(again)
        second = await stage.ask(again, later, "say", text="one", id="x")
        assert second["result"] == first["result"]
        assert [f.get("command_id") for f in later.frames].count("x") == 1
        other = await stage.ask(again, later, "say", text="another", id="x")
        assert other["error"]["code"] == "duplicate"


@pytest.mark.parametrize(
    ("kind", "fields", "code", "param"),
    [
        ("confirm", {"confirmation_id": "conf_1"}, "not_found", "confirmation_id"),
        ("reject", {"confirmation_id": "conf_1"}, "not_found", "confirmation_id"),
        ("revert", {"action_id": "act_1"}, "not_found", "action_id"),
        ("auth", {"token": "t"}, "unauthorized", None),
        ("ack", {"seq": 1000}, "invalid_command", "seq"),
        ("configure", {"agent": "nobody"}, "invalid_command", "agent"),
        ("playback.progress", {"turn_id": "turn_1"}, "stale", "turn_id"),
        ("speech.stop", {"utterance_id": "u1"}, "not_found", "utterance_id"),
        ("turn.end", {"utterance_id": "u1"}, "not_found", "utterance_id"),
        ("turn.end", {}, "stale", None),
    ],
)
async def test_a_command_that_cannot_be_done_is_refused(
    kind: str, fields: dict[str, Any], code: str, param: str | None
) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        refused = await stage.ask(session, viewer, kind, **fields)
        assert refused["type"] == "error"
        assert refused["error"]["code"] == code
        assert refused["error"]["param"] == param


async def test_a_ping_is_answered_with_its_nonce_and_a_reply() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        reply = await stage.ask(session, viewer, "ping", nonce="n1")
        pong = await viewer.until(lambda f: f["type"] == "pong")
        assert pong["nonce"] == "n1"
        assert reply["result"] == {}


async def test_an_ack_moves_what_counts_as_delivered() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        reply = await stage.ask(session, viewer, "ack", seq=1)
        assert reply["result"] == {}
        assert viewer.taken_seq == 1


async def test_a_configuration_is_on_the_timeline_and_in_its_reply() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        reply = await stage.ask(
            session, viewer, "configure", on_disconnect="continue", agent="second"
        )
        assert reply["result"]["on_disconnect"] == "continue"
        assert reply["result"]["agent"] == "second"
        configured = await viewer.event("session.configured")
        assert configured["payload"]["config"] == reply["result"]
        await stage.ask(session, viewer, "say", text="one")
        await stage.model.line(0)
        assert (await viewer.event("model.start"))["payload"]["agent"] == "second"


async def test_history_comes_in_pages_that_name_where_to_go_on() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await stage.ask(session, viewer, "say", text="one")
        (await stage.model.line(0)).ends()
        await viewer.event("turn.trace")
        after, seqs = 0, list[int]()
        while after is not None:
            page = (await stage.ask(session, viewer, "history", after=after, limit=3))["result"]
            seqs += [event["seq"] for event in page["events"]]
            after = page["next"]
        assert seqs == list(range(1, session.timeline.durable + 1))
        beyond = await stage.ask(session, viewer, "history", after=500)
        assert beyond["result"] == {"events": [], "next": None}


@pytest.mark.parametrize("name", ["transcript", "plan", "actions", "latency", "session"])
async def test_a_projection_is_true_at_its_seq(name: str) -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        reply = await stage.ask(session, viewer, "projection", name=name)
        assert reply["result"]["seq"] == reply["at_seq"] == session.state.seq


# --- what was played -----------------------------------------------------------------------


async def _playing(stage: Stage) -> tuple[Any, Viewer, Any]:
    session = stage.open()
    viewer = await stage.attend(session)
    await stage.ask(session, viewer, "say", text="one")
    line = await stage.model.line(0)
    line.says("0123456789")
    await viewer.event("model.token")
    return session, viewer, line


async def test_an_answer_is_cut_to_what_the_client_last_reported() -> None:
    async with on_stage() as stage:
        session, viewer, _ = await _playing(stage)
        report = {"turn_id": "turn_1", "chunk_id": "k1", "offset_ms": 12.5}
        await stage.ask(session, viewer, "playback.start", **report)
        for chars in (7, 4):
            await stage.ask(session, viewer, "playback.progress", chars=chars, **report)
        await stage.ask(session, viewer, "interrupt")
        frozen = await viewer.event("cancel.stage", target="transcript")
        assert frozen["payload"]["heard"] == "0123"
        stale = await stage.ask(session, viewer, "playback.stop", turn_id="turn_1")
        assert stale["error"]["code"] == "stale"


async def test_a_report_is_never_more_than_there_is_to_show() -> None:
    async with on_stage() as stage:
        session, viewer, _ = await _playing(stage)
        await stage.ask(session, viewer, "playback.progress", turn_id="turn_1", chars=99)
        assert (await viewer.event("playback.progress"))["payload"]["chars"] == 10


async def test_what_the_interrupt_says_was_heard_counts() -> None:
    async with on_stage() as stage:
        session, viewer, _ = await _playing(stage)
        await stage.ask(session, viewer, "interrupt", heard={"chars": 2})
        frozen = await viewer.event("cancel.stage", target="transcript")
        assert frozen["payload"]["heard"] == "01"


async def test_what_was_not_acked_was_not_heard() -> None:
    async with on_stage() as stage:
        session, viewer, _ = await _playing(stage)
        await stage.ask(session, viewer, "ack", seq=1)
        await stage.ask(session, viewer, "interrupt")
        frozen = await viewer.event("cancel.stage", target="transcript")
        assert frozen["payload"]["heard"] == ""
        assert frozen["payload"]["text"] == "0123456789"


async def test_a_turn_that_is_played_stays_open_until_its_sound_is_over() -> None:
    async with on_stage() as stage:
        session, viewer, line = await _playing(stage)
        await stage.ask(session, viewer, "playback.start", turn_id="turn_1")
        line.ends()
        await viewer.event("model.end")
        await trio.testing.wait_all_tasks_blocked()
        assert "turn.trace" not in viewer.types()
        await stage.ask(session, viewer, "playback.stop", turn_id="turn_1", chars=10)
        trace = await viewer.event("turn.trace")
        assert "playback" in [span["name"] for span in trace["payload"]["spans"]]
        later = await stage.ask(session, viewer, "playback.progress", turn_id="turn_1", chars=10)
        assert later["result"] == {}


async def test_the_sound_of_a_finished_answer_can_be_interrupted() -> None:
    async with on_stage() as stage:
        session, viewer, line = await _playing(stage)
        await stage.ask(session, viewer, "playback.start", turn_id="turn_1")
        line.ends()
        await viewer.event("model.end")
        reply = await stage.ask(session, viewer, "interrupt")
        assert reply["result"]["interrupted"] is True
        stopped = await viewer.event("cancel.stage", target="model")
        assert stopped["payload"]["outcome"] == "already_done"


async def test_a_client_that_plays_and_says_nothing_is_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with on_stage(limits=Limits(playback_silence_s=30.0)) as stage:
        session, viewer, line = await _playing(stage)
        await stage.ask(session, viewer, "playback.start", turn_id="turn_1")
        line.ends()
        await viewer.until(lambda f: f["type"] == "turn.trace", within_s=60)
        assert (await viewer.event("playback.stop"))["payload"]["by"] == "timeout"
        assert trio.current_time() == pytest.approx(30, abs=0.1)
