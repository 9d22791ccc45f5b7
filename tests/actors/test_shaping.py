"""What an app does to events on their way out, each phase within its boundary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import trio
from attrs import evolve, frozen
from prometheus_client import REGISTRY
from trio.testing import MockClock

from bargein.actors.clock import SystemClock
from bargein.actors.mailbox import Mailbox
from bargein.actors.messages import Noted, OutputMessage, Spoken
from bargein.actors.phases import Phases
from bargein.actors.shaping import ShapedOutlet
from bargein.actors.turn import Turn
from bargein.agents.shaping import HIDDEN, HideArguments, Shaping, ToolTitles, Viewer
from bargein.protocol.events import (
    ModelEnd,
    ModelStart,
    Object,
    Payload,
    Status,
    ToolCall,
    ToolResult,
    Unknown,
    Usage,
)
from bargein.protocol.ids import CallId, Seq, TurnId
from bargein.tools.tool import tool
from tests.actors.team import call, calls, lone, room, says, socket_that_breaks

ALICE = Viewer("alice", "acme")
CALL = ToolCall(CallId("call_1"), "look", {"where": "vault"}, "read")
RESULT = ToolResult(CallId("call_1"), "ok", "gold")
LINE = Status("Looking.")


def failures(phase: str) -> float:
    return REGISTRY.get_sample_value("bargein_shaping_failed_total", {"phase": phase}) or 0.0


def turn() -> Turn:
    return Turn(TurnId("turn_1"), "Go", Phases(SystemClock(), 0.0, "input"))


async def told(shaping: Shaping, *payloads: Any, viewer: Viewer = ALICE) -> list[Any]:
    """Send *payloads* through *shaping*; return what comes out."""
    address, mailbox = Mailbox[OutputMessage].open("output", 8)
    await ShapedOutlet(address, shaping, viewer).tell(Noted(turn(), payloads))
    (message,) = await mailbox.take()
    assert isinstance(message, Noted)
    return list(message.drafts)


def louder(payload: Payload) -> Payload:
    return evolve(payload, text=payload.text.upper()) if isinstance(payload, Status) else payload


def raising(*_: Any) -> Any:
    raise ValueError("a bug")


@frozen
class Enrich:
    """An enrichment of a function that may wait."""

    function: Callable[[Payload], Payload]
    after_s: float = 0.0

    async def enrich(self, payload: Payload) -> Payload:
        await trio.sleep(self.after_s)
        return self.function(payload)


# --- each phase and its boundary --------------------------------------------------------------


async def test_phases_come_in_order_and_each_sees_what_the_one_before_made() -> None:
    def add(word: str) -> Callable[..., Payload]:
        def change(payload: Payload, *_: Any) -> Payload:
            assert isinstance(payload, Status)
            return evolve(payload, text=f"{payload.text}{word}")

        return change

    shaping = Shaping((add("a"), add("b")), (Enrich(add("c")),), (add("d"),))
    assert await told(shaping, Status("")) == [Status("abcd")]


async def test_a_transform_that_fails_leaves_the_event_as_it_was() -> None:
    before = failures("transform")
    assert await told(Shaping((raising, louder)), LINE) == [Status("LOOKING.")]
    assert failures("transform") == before + 1


async def test_an_enrichment_that_fails_leaves_the_event_unenriched() -> None:
    before = failures("enrich")
    shaping = Shaping(enrichments=(Enrich(raising), Enrich(louder)))
    assert await told(shaping, LINE) == [Status("LOOKING.")]
    assert failures("enrich") == before + 1


async def test_an_enrichment_that_is_late_leaves_the_event_unenriched_and_is_counted(
    autojump_clock: MockClock,
) -> None:
    before = failures("enrich")
    shaping = Shaping(enrichments=(Enrich(louder), Enrich(louder, 9.0)), enrich_limit_s=0.5)
    began_s = trio.current_time()
    # What the others had added by then stays.
    assert await told(shaping, LINE) == [Status("LOOKING.")]
    assert trio.current_time() - began_s == pytest.approx(0.5)
    assert failures("enrich") == before + 1


@frozen
class OnTheNet:
    async def enrich(self, payload: Payload) -> Payload:
        await socket_that_breaks()
        return payload


async def test_an_enrichment_whose_socket_breaks_when_it_is_late_fails_no_event(
    autojump_clock: MockClock,
) -> None:
    before = failures("enrich")
    shaping = Shaping(enrichments=(Enrich(louder), OnTheNet()), enrich_limit_s=0.5)
    assert await told(shaping, LINE) == [Status("LOOKING.")]
    assert failures("enrich") == before + 1


@pytest.mark.parametrize(
    ("payload", "left"),
    [
        (LINE, []),
        (Object("table", {"secret": 1}), []),
        (CALL, [evolve(CALL, args={"where": HIDDEN})]),
        (RESULT, [evolve(RESULT, result=HIDDEN)]),
        (ModelStart("m", "a"), [ModelStart("m", "a")]),
        (ModelEnd("end_turn", Usage(1, 1)), [ModelEnd("end_turn", Usage(1, 1))]),
        (Unknown("later", {"x": 1}), [Unknown("later", {"x": 1})]),
    ],
    ids=lambda value: getattr(value, "type", ""),
)
async def test_where_a_rule_fails_nothing_is_shown_that_it_might_hide(
    payload: Payload, left: list[Payload]
) -> None:
    before = failures("process")
    assert await told(Shaping(rules=(raising,)), payload) == left
    assert failures("process") == before + (not isinstance(payload, Unknown))


async def test_events_that_are_made_when_they_are_written_pass_as_they_are() -> None:
    def made(_: Any) -> Payload:
        return LINE

    shaping = Shaping((raising,), (Enrich(raising),), (raising,))
    assert await told(shaping, made) == [made]


@pytest.mark.parametrize(
    "change",
    [
        None,
        Status("another"),
        evolve(CALL, call_id=CallId("another")),
        evolve(CALL, args={"x": {1, object()}}),
        evolve(CALL, tool=cast("Any", 5)),
    ],
    ids=["nothing", "another kind", "another id", "no JSON", "a wrong type"],
)
async def test_no_phase_can_break_a_pair_or_the_timeline(change: Any) -> None:
    def into(*_: Any) -> Any:
        return change

    hidden = evolve(CALL, args={"where": HIDDEN})
    assert await told(Shaping((into,)), CALL) == [CALL]
    assert await told(Shaping(enrichments=(Enrich(into),)), CALL) == [CALL]
    assert await told(Shaping(rules=(into,)), CALL) == [hidden]


async def test_what_no_encoding_can_carry_is_mended() -> None:
    def add(payload: Payload) -> Payload:
        return evolve(payload, text="\ud800")

    assert await told(Shaping((add,)), LINE) == [Status("\ufffd")]


# --- the ways to the output loop --------------------------------------------------------------


async def test_what_is_offered_is_shaped_by_all_that_needs_no_wait() -> None:
    address, mailbox = Mailbox[OutputMessage].open("output", 2)
    hide = HideArguments(frozenset({"look"}), lambda viewer: viewer.principal == "root")
    outlet = ShapedOutlet(address, Shaping((louder,), (Enrich(raising),), (hide,)), ALICE)
    spoken = Spoken(turn(), "quiet", 1)
    assert outlet.offer(spoken)
    assert outlet.offer(Noted(turn(), (CALL, LINE)))
    assert not outlet.offer(spoken)
    first, second = await mailbox.take()
    assert first is spoken
    assert isinstance(second, Noted)
    assert second.drafts == (evolve(CALL, args={"where": HIDDEN}), Status("LOOKING."))


async def test_words_of_the_model_pass_as_they_are() -> None:
    address, mailbox = Mailbox[OutputMessage].open("output", 1)
    spoken = Spoken(turn(), "quiet", 1)
    await ShapedOutlet(address, Shaping((louder,)), ALICE).tell(spoken)
    assert await mailbox.take() == [spoken]


async def test_who_asks_is_answered_for_what_was_shaped() -> None:
    address, mailbox = Mailbox[OutputMessage].open("output", 1)
    outlet = ShapedOutlet(address, Shaping((louder,)), ALICE)
    written: list[Any] = []

    async def write() -> None:
        for _ in range(2):
            (message,) = await mailbox.take()
            written.append(message)
            if isinstance(message, Noted) and message.then is not None:
                message.then(Seq(7))
            else:
                spoken.append(Seq(8))

    spoken: list[Seq] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        seq: Seq = await outlet.ask(lambda r: Noted(turn(), (LINE,), r.send), within_s=5)
        assert seq == 7

        def speaks(receipt: Any) -> Spoken:
            receipt.send(Seq(8))
            return Spoken(turn(), "quiet", 1)

        assert await outlet.ask(speaks, within_s=5) == 8
    assert written[0].drafts == (Status("LOOKING."),)
    assert isinstance(written[1], Spoken)


def test_a_result_that_a_ladder_writes_is_shown_by_the_same_rules() -> None:
    address, _ = Mailbox[OutputMessage].open("output", 1)

    def hide(payload: Payload, _: Viewer) -> Payload:
        return evolve(payload, result="hidden") if isinstance(payload, ToolResult) else payload

    outlet = ShapedOutlet(address, Shaping(rules=(hide,)), ALICE)
    assert outlet.shown(RESULT) == evolve(RESULT, result="hidden")


# --- what comes with it -----------------------------------------------------------------------


async def test_titles_of_tools_are_looked_up_once_and_the_latest_are_remembered() -> None:
    asked: list[str] = []

    async def look_up(name: str) -> str | None:
        asked.append(name)
        return None if name == "plain" else name.title()

    titles = ToolTitles(look_up, 2)

    async def title_of(name: str) -> Any:
        shown = await titles.enrich(evolve(CALL, tool=name))
        assert isinstance(shown, ToolCall)
        return shown.title or None

    assert [await title_of(name) for name in ("look", "look", "plain", "buy", "buy")] == [
        "Look",
        "Look",
        None,
        "Buy",
        "Buy",
    ]
    assert asked == ["look", "plain", "buy"]
    assert await title_of("look") == "Look"  # forgotten, and asked for again
    assert asked[3:] == ["look"]
    assert await titles.enrich(LINE) is LINE


async def test_a_session_shows_what_its_principal_may_see_and_tools_get_all(
    autojump_clock: MockClock,
) -> None:
    seen: list[str] = []

    @tool(effect="read")
    async def look(where: str) -> str:
        """Look."""
        seen.append(where)
        return "gold"

    async def look_up(name: str) -> str:
        return f"The {name}"

    shaping = Shaping(
        enrichments=(ToolTitles(look_up),),
        rules=(HideArguments(frozenset({"look"}), lambda viewer: viewer.principal == "root"),),
    )
    playing = {"I am solo": [calls(call("look", where="vault")), says("Done.")]}
    async with room(evolve(lone(look), shaping=shaping), playing) as there:
        assert await there.converse() == "completed"
        (shown,) = there.payloads(ToolCall)
        assert (shown.args, shown.title) == ({"where": HIDDEN}, "The look")
        assert seen == ["vault"]


def test_there_is_nothing_to_do_without_a_phase() -> None:
    assert not Shaping()
    assert Shaping((louder,))
    with pytest.raises(ValueError, match="enrich_limit_s"):
        Shaping(enrich_limit_s=0)
