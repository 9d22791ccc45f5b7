"""The one writer: what it joins, what it drops at the gate, what it always writes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
import trio
import trio.testing
from attrs import define, field

from bargein.actors.allowance import Unlimited
from bargein.actors.clock import SystemClock, Timestamps
from bargein.actors.mailbox import Address, Mailbox
from bargein.actors.messages import Noted, OutputMessage, Record, Spoken
from bargein.actors.output import MOST_HELD, Output
from bargein.actors.phases import Phases
from bargein.actors.scribe import Scribe
from bargein.actors.turn import Ladder, Turn
from bargein.models.message_stream import PIECE_LIMIT_CHARS
from bargein.protocol.events import (
    CancelRequested,
    InFlight,
    ModelStart,
    ModelToken,
    Payload,
    ResponseEnd,
    ResponseStart,
    SessionAttached,
    SessionClosed,
    SessionDetached,
    Status,
    TurnStart,
)
from bargein.protocol.ids import NOTHING, Epoch, Seq, SessionId, TurnId, turn_id
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.timeline.store import Append


@define(eq=False)
class Paper:
    """Keeps what was handed to the store, and answers nothing."""

    appends: list[Append] = field(factory=list[Append])

    def submit(self, append: Append) -> None:
        self.appends.append(append)

    def has_all(self) -> None:
        """Say that all which was handed over is durable."""
        last = self.appends[-1]
        last.on_durable(last.last_seq)

    @property
    def texts(self) -> list[str]:
        """The text in each append, joined; other events have none."""
        return ["".join(map(_text_in, append.frames)) for append in self.appends]


def _text_in(frame: bytes) -> str:
    return msgspec.json.decode(frame)["payload"].get("text", "")


@define(eq=False)
class Stopped:
    """A clock at which no time passes."""

    def now_s(self) -> float:
        return 1.0

    def utc_ms(self) -> int:
        return 1


@define(eq=False)
class Desk:
    """An output loop with everything that waits for it."""

    paper: Paper = field(factory=Paper)
    scribe: Scribe = field(init=False)
    _address: Address[OutputMessage] = field(init=False)
    _output: Output = field(init=False)

    def __attrs_post_init__(self) -> None:
        store: Any = self.paper
        timeline = Timeline(SessionId("sess_00"), Epoch("e0"), store)
        self.scribe = Scribe(SessionState(), timeline, Timestamps(SystemClock()))
        self._address, mailbox = Mailbox[OutputMessage].open("output", 64)
        self._output = Output(mailbox, self.scribe, Unlimited())

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Address[OutputMessage]]:
        """Run the loop, which waits for its first message; it has to end by itself."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._output.run)
            await trio.testing.wait_all_tasks_blocked()
            yield self._address
            self._address.close()

    async def write(self, *messages: OutputMessage) -> list[tuple[str | None, str, Any]]:
        """Let all *messages* wait together; return what is written of them."""
        for message in messages:
            assert self._address.offer(message)
        self._address.close()
        await self._output.run()
        frames = [frame for append in self.paper.appends for frame in append.frames]
        events = [msgspec.json.decode(frame) for frame in frames]
        return [(event["turn_id"], event["type"], event["payload"]) for event in events]


def _turn(number: int) -> Turn:
    return Turn(turn_id(number), "hi", Phases(SystemClock(), 0.0, "input"))


def _interrupted(number: int) -> Turn:
    turn = _turn(number)
    turn.ladder = Ladder(turn.id, "user", "say", 0.0, NOTHING)
    return turn


async def test_text_that_waits_together_is_one_event() -> None:
    turn = _turn(1)
    written = await Desk().write(Spoken(turn, "a", 1), Spoken(turn, "b", 2), Spoken(turn, "c", 1))
    assert written == [("turn_1", "model.token", {"text": "abc", "n": 4})]


@pytest.mark.parametrize("text", ["plain", 'a "quoted" Ü\n', "\ud800 alone", ""])
def test_a_piece_of_an_answer_is_written_as_any_other_event_is(text: str) -> None:
    frames: list[bytes] = []
    for short in (True, False):
        paper = Paper()
        store: Any = paper
        timeline = Timeline(SessionId("sess_00"), Epoch("e0"), store)
        scribe = Scribe(SessionState(), timeline, Timestamps(Stopped()))
        for number in (1, 2):
            turn = turn_id(number)
            before = TurnStart("hi"), ResponseStart(), ModelStart("m", "a"), ModelStart("m", "b")
            for payload in before:
                for _ in range(2):
                    if short:
                        scribe.write_words(turn, text, 1)
                    else:
                        scribe.write(turn, ModelToken(text, 1))
                scribe.write(turn, payload)
        scribe.commit()
        (append,) = paper.appends
        frames.append(b"\n".join(append.frames))
    assert frames[0] == frames[1]


async def test_text_is_never_joined_across_another_event_or_another_turn() -> None:
    one, two = _turn(1), _turn(2)
    written = await Desk().write(
        Spoken(one, "a", 1),
        Noted(one, (Status("between"),)),
        Spoken(one, "b", 1),
        Spoken(two, "c", 1),
        Spoken(two, "d", 1),
        Record(None, ()),
        Spoken(two, "e", 1),
    )
    assert [(turn, payload["text"]) for turn, _, payload in written] == [
        ("turn_1", "a"),
        ("turn_1", "between"),
        ("turn_1", "b"),
        ("turn_2", "cd"),
        ("turn_2", "e"),
    ]


async def test_nothing_of_an_interrupted_turn_passes_but_what_is_recorded() -> None:
    turn = _interrupted(1)
    called: list[Seq] = []
    written = await Desk().write(
        Spoken(turn, "ghost", 1),
        Noted(turn, (Status("ghost"),), called.append),
        Record(turn.id, (Status("recorded"),), called.append),
    )
    assert written == [("turn_1", "status", {"text": "recorded"})]
    assert called == [1]


async def test_the_gate_of_the_timeline_holds_also_for_records() -> None:
    turn = TurnId("turn_1")
    written = await Desk().write(
        Record(turn, (TurnStart("hi"), CancelRequested("user", "say", InFlight(model=False)))),
        Record(turn, (ModelToken("ghost", 1), ResponseEnd("cancelled", ""))),
    )
    assert [name for _, name, _ in written] == ["turn.start", "cancel.requested", "response.end"]


async def test_nobody_comes_or_goes_after_the_end_of_the_session() -> None:
    called: list[Seq] = []
    written = await Desk().write(
        Record(None, (SessionAttached("drive", 1),)),
        Record(None, (SessionClosed("closed by the user"),)),
        Record(None, (SessionDetached("drive", 0),), called.append),
        Record(None, (SessionClosed("once more"),)),
    )
    assert [name for _, name, _ in written] == ["session.attached", "session.closed"]
    assert called == [2]


async def test_a_draft_is_asked_when_its_place_is_reached_and_may_come_to_nothing() -> None:
    turn = TurnId("turn_1")
    seen: list[int] = []

    def late(state: SessionState) -> Payload | None:
        seen.append(state.seq)
        return None if len(seen) == 1 else Status(f"after {state.seq}")

    called: list[Seq] = []
    written = await Desk().write(
        Record(turn, (TurnStart("hi"), late, late), called.append),
        Record(None, (lambda _: None,), called.append),
    )
    assert seen == [1, 1]
    assert [payload for _, _, payload in written][-1] == {"text": "after 1"}
    assert called == [2, 2]


async def test_empty_text_is_no_event() -> None:
    desk = Desk()
    assert await desk.write(Spoken(_turn(1), "", 1)) == []
    assert desk.paper.appends == []


async def test_one_batch_is_one_append_and_urgent_where_anything_in_it_is() -> None:
    desk = Desk()
    turn = _turn(1)
    await desk.write(Record(turn.id, (TurnStart("hi"),)), Spoken(turn, "a", 1))
    [append] = desk.paper.appends
    assert len(append.frames) == 2
    assert append.urgent
    assert append.unsettled


async def test_the_first_words_of_an_answer_are_urgent_and_the_next_are_not() -> None:
    urgent: list[bool] = []
    state = SessionState()
    for text in ("first", "second"):
        desk = Desk()
        desk.scribe.state = state
        await desk.write(Spoken(_turn(1), text, 1))
        urgent.append(desk.paper.appends[0].urgent)
    assert urgent == [True, False]


async def test_text_is_with_the_store_before_the_offer_returns() -> None:
    desk, turn = Desk(), _turn(1)
    async with desk.open() as address:
        assert address.offer(Spoken(turn, "first", 1))
        assert desk.paper.texts == ["first"]


async def test_text_waits_while_the_store_has_not_all_before_it_and_then_goes_as_one() -> None:
    desk, turn = Desk(), _turn(1)
    async with desk.open() as address:
        for text in ("first", " a", " b", " c"):
            assert address.offer(Spoken(turn, text, 1))
        assert desk.paper.texts == ["first"]
        desk.paper.has_all()
        assert desk.paper.texts == ["first", " a b c"]
        desk.paper.has_all()
        assert address.offer(Spoken(turn, " d", 1))
        assert desk.paper.texts == ["first", " a b c", " d"]


async def test_the_first_words_of_an_answer_wait_for_nothing() -> None:
    desk, turn = Desk(), _turn(1)
    async with desk.open() as address:
        await address.tell(Record(turn.id, (TurnStart("hi"),)))
        await trio.testing.wait_all_tasks_blocked()
        assert address.offer(Spoken(turn, "first", 1))
        assert desk.paper.texts == ["", "first"]


async def test_text_that_waits_stands_before_what_comes_after_it() -> None:
    desk, turn = Desk(), _turn(1)
    async with desk.open() as address:
        assert address.offer(Spoken(turn, "first", 1))
        assert address.offer(Spoken(turn, " second", 1))
        await address.tell(Noted(turn, (Status(" third"),)))
        await trio.testing.wait_all_tasks_blocked()
        assert desk.paper.texts == ["first", " second third"]


async def test_only_so_much_text_waits() -> None:
    desk, turn = Desk(), _turn(1)
    async with desk.open() as address:
        for _ in range(1 + 2 * MOST_HELD):
            assert address.offer(Spoken(turn, "x", 1))
        assert [len(text) for text in desk.paper.texts] == [1, MOST_HELD, MOST_HELD]


async def test_text_that_waits_goes_before_it_is_longer_than_one_piece() -> None:
    desk, turn = Desk(), _turn(1)
    piece = "x" * PIECE_LIMIT_CHARS
    async with desk.open() as address:
        for text in ("first", *[piece] * 3, "y", piece[1:], "z"):
            assert address.offer(Spoken(turn, text, 1))
        assert desk.paper.texts == ["first", piece, piece, piece, "y" + piece[1:]]
        desk.paper.has_all()
        assert desk.paper.texts[-1] == "z"


@pytest.mark.parametrize("over", [0, 1])
async def test_text_that_was_joined_elsewhere_is_cut_into_pieces(over: int) -> None:
    turn = _turn(1)
    text = "a" * PIECE_LIMIT_CHARS + "b" * PIECE_LIMIT_CHARS + "c" * over
    written = await Desk().write(Spoken(turn, text, 7), Spoken(turn, "d", 1))
    payloads = [payload for _, _, payload in written]
    assert "".join(payload["text"] for payload in payloads) == text + "d"
    assert max(len(payload["text"]) for payload in payloads) == PIECE_LIMIT_CHARS
    assert [payload.get("n", 1) for payload in payloads] == [7, *[0] * (1 + over), 1]


async def test_text_that_waits_is_dropped_with_its_turn() -> None:
    desk, turn = Desk(), _turn(1)
    async with desk.open() as address:
        assert address.offer(Spoken(turn, "first", 1))
        assert address.offer(Spoken(turn, " ghost", 1))
        turn.ladder = Ladder(turn.id, "user", "say", 0.0, NOTHING)
        desk.paper.has_all()
    assert desk.paper.texts == ["first"]


async def test_text_that_waits_is_written_at_the_end() -> None:
    desk, turn = Desk(), _turn(1)
    async with desk.open() as address:
        assert address.offer(Spoken(turn, "first", 1))
        assert address.offer(Spoken(turn, " last", 1))
    assert desk.paper.texts == ["first", " last"]


async def test_what_breaks_while_text_is_written_ends_the_loop_and_not_who_speaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk, turn = Desk(), _turn(1)

    def broken(*_: object) -> None:
        raise LookupError("a bug")

    async def speak() -> None:
        async with desk.open() as address:
            monkeypatch.setattr(Scribe, "write", broken)
            assert address.offer(Spoken(turn, "first", 1))

    with pytest.raises(ExceptionGroup) as told:
        await speak()
    assert told.group_contains(LookupError)
