"""A conversation that is built on as it grows tells what one does that is worked out anew."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio.testing
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.actors import context, pipeline
from bargein.actors.context import Conversation
from bargein.actors.session import Session
from bargein.models.client import ModelRequest
from bargein.protocol.events import (
    ActionCommitted,
    ActionCommitting,
    ActionConfirmed,
    ActionFailed,
    ActionInDoubt,
    ActionProposed,
    ActionRejected,
    ActionReverted,
    ActionReverting,
    CancelRequested,
    CancelStage,
    InFlight,
    InputDropped,
    InputText,
    ModelToken,
    ResponseEnd,
    TurnStart,
    TurnTrace,
)
from bargein.protocol.events.cancellation import CancelAck, TokenCount
from bargein.protocol.ids import ActionId, ConfirmationId, Seq, TurnId, turn_id
from bargein.protocol.state import SessionState
from bargein.protocol.turn_state import TurnState
from tests.actors.stage import Stage, Viewer, on_stage
from tests.actors.told import told_anew

LIMITS = (1, 60, 300, 100_000)
LATER = "2026-11-21T11:00:00.000Z"


@define(eq=False)
class Talk:
    """A session in the making, with one conversation for all of it."""

    state: SessionState = field(factory=SessionState)
    conversation: Conversation = field(init=False)
    last: int = 0
    actions: int = 0

    def __attrs_post_init__(self) -> None:
        self.conversation = Conversation(self.state)

    def add(self, turn: TurnId | None, payload: Any) -> None:
        seq = Seq(self.state.seq + 1)
        self.state.apply(seq, "2026-11-21T10:00:00.000Z", turn, payload)

    def begin(self, words: str, *, replaces: int = 0) -> TurnId:
        self.last += 1
        turn = turn_id(self.last)
        self.add(turn, InputText(words))
        more: Any = {"replaces": turn_id(replaces)} if replaces else {}
        self.add(turn, TurnStart(words, **more))
        return turn

    def end(self, turn: TurnId, text: str, status: Any, *, over: bool = True) -> None:
        if text:
            self.add(turn, ModelToken(text, 1))
        if status == "cancelled":
            heard = text[: len(text) // 2]
            self.add(turn, CancelRequested("user", "say", InFlight(model=True)))
            self.add(turn, CancelStage("transcript", "frozen", text=text, heard=heard))
        self.add(turn, ResponseEnd(status, text))
        if not over:
            return
        self.add(turn, TurnTrace((), 1.0))
        if status == "cancelled":
            tokens = TokenCount(1, 1)
            self.add(turn, CancelAck(turn, 1.0, (), (), tokens))

    def propose(self) -> None:
        self.actions += 1
        action = ActionId(f"a_{self.actions}")
        confirmation = ConfirmationId(f"c_{self.actions}")
        self.add(
            turn_id(self.last),
            ActionProposed(action, "pay", {"sum": 3}, "pays", "side_effect", confirmation, LATER),
        )

    def act(self, number: int, payload: type[Any], *more: Any) -> None:
        self.add(None, payload(ActionId(f"a_{number}"), *more))

    def assert_told(self, turn: TurnId, words: str, most_chars: int) -> None:
        told, past = self.conversation.told(turn, words, most_chars=most_chars)
        expected = told_anew(self.state, turn, words, most_chars)
        assert [message.content for message in told] == expected
        if past is not None:
            beginning = told[: len(past.messages)]
            assert beginning == past.messages
            written = json.loads(b"[%b]" % past.json)
            assert written == [{"role": each.role, "content": each.content} for each in beginning]


STEPS = st.sampled_from(["turn", "turn", "turn", "queue", "propose", "act", "act"])
STATUSES = st.sampled_from(["completed", "cancelled", "failed", "refused"])
TEXTS = st.sampled_from(["", "x", "All of it. ", "y" * 50, "z" * 400])
ACTS = st.sampled_from(
    [
        (ActionConfirmed, "user"),
        (ActionRejected, "no"),
        (ActionCommitting, "key"),
        (ActionCommitted, "key", {"paid": 3}),
        (ActionFailed, "broke"),
        (ActionInDoubt, "key"),
        (ActionReverting, "key"),
        (ActionReverted, "back"),
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_is_built_on_is_what_would_be_told_anew(data: st.DataObject) -> None:
    talk = Talk()
    most_chars = data.draw(st.sampled_from(LIMITS))
    for _ in range(data.draw(st.integers(1, 25))):
        turn: TurnId | None = None
        match data.draw(
            st.sampled_from(["turn", "turn", "turn", "queue", "propose", "act", "act"])
        ):
            case "turn":
                replaces = data.draw(st.integers(0, talk.last)) if data.draw(st.booleans()) else 0
                turn = talk.begin(data.draw(TEXTS), replaces=replaces)
            case "queue":
                talk.last += 1
                talk.add(turn_id(talk.last), InputText("waits", queued=True))
                if data.draw(st.booleans()):
                    talk.add(turn_id(talk.last), InputDropped(None, "interrupted"))
            case "propose" if talk.last:
                talk.propose()
            case "act" if talk.actions:
                act, *more = data.draw(ACTS)
                talk.act(data.draw(st.integers(1, talk.actions)), act, *more)
            case _:
                continue
        if data.draw(st.integers(0, 20)) == 0:
            most_chars = data.draw(st.sampled_from(LIMITS))
        if data.draw(st.integers(0, 9)) == 0:
            talk.conversation.forget()
        if data.draw(st.booleans()):
            talk.assert_told(turn or turn_id(999), data.draw(TEXTS), most_chars)
        if turn is not None:
            if data.draw(st.integers(0, 4)) == 0:
                talk.add(turn, InputText("steered", steered=True))
            talk.end(
                turn, data.draw(TEXTS), data.draw(STATUSES), over=data.draw(st.integers(0, 5)) > 0
            )
    talk.assert_told(turn_id(999), data.draw(TEXTS), most_chars)


def test_a_turn_that_is_not_over_is_looked_at_again() -> None:
    talk = Talk()
    turn = talk.begin("one")
    talk.end(turn, "All of it", "completed", over=False)
    talk.assert_told(turn_id(99), "now", 1000)
    talk.add(turn, CancelStage("transcript", "frozen", text="All of it", heard="All"))
    talk.assert_told(turn_id(99), "now", 1000)


def test_a_turn_is_worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[TurnId] = []
    original = context._answer_of  # pyright: ignore[reportPrivateUsage]

    def counting(turn: TurnState) -> str:
        looked_at.append(turn.turn_id)
        return original(turn)

    monkeypatch.setattr(context, "_answer_of", counting)
    talk = Talk()
    seen: list[int] = []
    for number in range(1, 301):
        turn = talk.begin(f"words {number}")
        talk.conversation.told(turn, f"words {number}", most_chars=400_000)
        seen.append(len(looked_at))
        looked_at.clear()
        talk.end(turn, "an answer", "completed" if number % 3 else "cancelled")
    assert seen[0] == 0
    assert set(seen[1:]) == {2}  # to see that it is not too old, and to tell of it


def test_messages_that_were_told_are_told_again_as_the_same_ones() -> None:
    talk = Talk()
    for number in range(5):
        talk.end(talk.begin(f"words {number}"), "an answer", "completed")
    before, _ = talk.conversation.told(turn_id(99), "now", most_chars=1000)
    talk.end(talk.begin("more"), "an answer", "completed")
    after, _ = talk.conversation.told(turn_id(99), "now", most_chars=1000)
    assert all(one is other for one, other in zip(before[:-1], after, strict=False))


def test_what_is_too_old_is_let_go() -> None:
    talk = Talk()
    told: tuple[object, ...] = ()
    for number in range(1000):
        turn = talk.begin(f"words {number:05}")
        told, _ = talk.conversation.told(turn, "now", most_chars=1000)
        talk.end(turn, "an answer", "completed")
    held = talk.conversation._told  # pyright: ignore[reportPrivateUsage]
    assert len(told) < len(held) < 3 * len(told)


def test_a_session_of_many_turns_is_told_anew_no_further_than_there_is_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    talk = Talk()
    for number in range(300):
        talk.end(talk.begin(f"words {number:05}"), "an answer", "completed")
    looked_at: list[TurnId] = []
    original = context._answer_of  # pyright: ignore[reportPrivateUsage]

    def counting(turn: TurnState) -> str:
        looked_at.append(turn.turn_id)
        return original(turn)

    monkeypatch.setattr(context, "_answer_of", counting)
    talk.assert_told(turn_id(999), "now", 400)
    assert len(set(looked_at)) < 30


async def converse(
    stage: Stage, session: Session, viewer: Viewer, turns: range
) -> list[ModelRequest]:
    requests: list[ModelRequest] = []
    for number in turns:
        await stage.ask(session, viewer, "say", text=f"words {number}")
        line = await stage.model.line(number - 1)
        requests.append(line.request)
        line.says("an answer")
        line.ends()
        name = turn_id(number)
        await viewer.until(lambda f, name=name: f["type"] == "turn.trace" and f["turn_id"] == name)
    return requests


async def test_a_request_brings_the_json_of_all_that_was_said_before() -> None:
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        first, *others = await converse(stage, session, viewer, range(1, 5))
    assert first.past is None
    for number, request in enumerate(others, start=1):
        assert request.past is not None
        assert len(request.past.messages) == 2 * number
        assert request.messages[:-1] == request.past.messages


async def test_a_session_that_idles_lets_go_of_what_it_was_told(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    del autojump_clock
    made: list[Conversation] = []

    def noting(state: SessionState) -> Conversation:
        made.append(Conversation(state))
        return made[-1]

    monkeypatch.setattr(pipeline, "Conversation", noting)
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        await converse(stage, session, viewer, range(1, 3))
        (conversation,) = made
        assert conversation._json  # pyright: ignore[reportPrivateUsage]
        assert conversation._told  # pyright: ignore[reportPrivateUsage]
        await trio.sleep(pipeline.REMEMBERED_S + 1)
        assert not conversation._json  # pyright: ignore[reportPrivateUsage]
        assert not conversation._told  # pyright: ignore[reportPrivateUsage]
        (request,) = await converse(stage, session, viewer, range(3, 4))
    assert [each.content for each in request.messages][::2] == ["words 1", "words 2", "words 3"]


async def test_a_session_that_goes_on_keeps_what_it_was_told(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    del autojump_clock
    made: list[Conversation] = []

    def noting(state: SessionState) -> Conversation:
        made.append(Conversation(state))
        return made[-1]

    monkeypatch.setattr(pipeline, "Conversation", noting)
    async with on_stage() as stage:
        session = stage.open()
        viewer = await stage.attend(session)
        for turn in range(1, 6):
            await converse(stage, session, viewer, range(turn, turn + 1))
            await trio.sleep(pipeline.REMEMBERED_S * 0.75)
            assert made[0]._told or turn == 1  # pyright: ignore[reportPrivateUsage]
        await trio.sleep(pipeline.REMEMBERED_S)
        assert not made[0]._told  # pyright: ignore[reportPrivateUsage]
