"""What is counted of a session, when it is, and what it costs."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from prometheus_client import REGISTRY

from bargein.actors.clock import SystemClock, Timestamps
from bargein.actors.scribe import Scribe
from bargein.actors.tally import OTHER, Names, Tally
from bargein.protocol.events import (
    ActionExpired,
    ActionProposed,
    CancelRequested,
    InFlight,
    ModelToken,
    Payload,
    ResponseEnd,
    SessionOpened,
    TurnStart,
    TurnTrace,
)
from bargein.protocol.ids import ActionId, ConfirmationId, Epoch, SessionId, turn_id
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.timeline.store import Append

ONE = turn_id(1)


def _value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@define(eq=False)
class Shelf:
    """Keeps what was handed to the store, until it is told that all of it is durable."""

    appends: list[Append] = field(factory=list[Append])

    def submit(self, append: Append) -> None:
        self.appends.append(append)

    def store(self) -> None:
        for append in self.appends:
            append.on_durable(append.last_seq)
        self.appends.clear()


def _scribe(shelf: Shelf, state: SessionState | None = None) -> Scribe:
    store: Any = shelf
    before = state or SessionState()
    timeline = Timeline(SessionId("sess_00"), Epoch("e0"), store, before.seq, before.seq)
    return Scribe(before, timeline, Timestamps(SystemClock()))


def _write(scribe: Scribe, *payloads: Payload) -> None:
    for payload in payloads:
        scribe.write(ONE, payload)
    scribe.commit()


def _proposed(action_id: str) -> ActionProposed:
    confirmation = ConfirmationId(f"conf_{action_id}")
    return ActionProposed(
        ActionId(action_id), "book", {}, "Book", "side_effect", confirmation, "2026-01-01T00:00:00Z"
    )


def test_a_turn_is_counted_when_the_store_has_its_end_and_not_before() -> None:
    shelf = Shelf()
    scribe = _scribe(shelf)
    turns, tokens = _value("bargein_turns_total", outcome="completed"), "bargein_tokens_{}_total"
    generated = _value(tokens.format("generated"))
    _write(scribe, TurnStart("Hi"), ModelToken("a", 2), ModelToken("b", 3))
    _write(scribe, ResponseEnd("completed", "ab"), TurnTrace((), 5.0))
    assert _value("bargein_turns_total", outcome="completed") == turns
    shelf.store()
    assert _value("bargein_turns_total", outcome="completed") == turns + 1
    assert _value(tokens.format("generated")) == generated + 5


def test_what_the_store_has_only_a_part_of_is_counted_in_part() -> None:
    shelf = Shelf()
    scribe = _scribe(shelf)
    opened = _value("bargein_sessions_opened_total")
    scribe.write(None, SessionOpened("host", {}))
    scribe.commit()
    _write(scribe, TurnStart("Hi"), _proposed("act_1"))
    proposed = _value("bargein_actions_total", state="proposed")
    first = shelf.appends.pop(0)
    first.on_durable(first.last_seq)
    assert _value("bargein_sessions_opened_total") == opened + 1
    assert _value("bargein_actions_total", state="proposed") == proposed
    shelf.store()
    assert _value("bargein_actions_total", state="proposed") == proposed + 1
    assert _value("bargein_sessions_opened_total") == opened + 1


def test_a_token_that_got_past_the_gate_is_a_ghost() -> None:
    shelf = Shelf()
    ghosts = _value("bargein_ghost_tokens_total")
    cancel = CancelRequested("user", "say", InFlight(model=True))
    _write(_scribe(shelf), TurnStart("Hi"), ModelToken("a"), cancel, ModelToken("b", 4))
    shelf.store()
    assert _value("bargein_ghost_tokens_total") == ghosts  # nothing has come after it yet
    scribe = _scribe(shelf)
    _write(scribe, TurnStart("Hi"), cancel, ModelToken("b", 4), ResponseEnd("cancelled", "b"))
    shelf.store()
    assert _value("bargein_ghost_tokens_total") == ghosts + 4


def test_proposals_are_open_while_their_session_is_in_memory_and_nobody_has_decided() -> None:
    shelf = Shelf()
    before = _value("bargein_proposals_open")
    scribe = _scribe(shelf)
    scribe.tally.begin()
    _write(scribe, TurnStart("Hi"), _proposed("act_1"), _proposed("act_2"))
    shelf.store()
    assert _value("bargein_proposals_open") == before + 2
    _write(scribe, ActionExpired(ActionId("act_1")))
    shelf.store()
    assert _value("bargein_proposals_open") == before + 1
    scribe.tally.end(crashed=False, closed=False)
    assert _value("bargein_proposals_open") == before
    again = _scribe(shelf, scribe.state)
    again.tally.begin()
    assert _value("bargein_proposals_open") == before + 1
    again.tally.end(crashed=False, closed=True)


def test_a_session_leaves_memory_in_one_of_three_ways() -> None:
    names = [f"bargein_sessions_{how}_total" for how in ("hibernated", "crashed", "revived")]

    def counted() -> list[float]:
        return [_value(name) for name in names]

    start, scribe = counted(), _scribe(Shelf())
    scribe.tally.end(crashed=False, closed=False)
    scribe.tally.end(crashed=True, closed=False)
    scribe.tally.end(crashed=False, closed=True)
    assert [now - then for now, then in zip(counted(), start, strict=True)] == [1, 1, 0]


def test_names_beyond_those_that_are_told_apart_are_one() -> None:
    names = Names(2)
    assert [names.of(name) for name in ("a", "b", "c", "a", "d")] == ["a", "b", OTHER, "a", OTHER]


def test_a_run_of_tokens_is_noted_as_one_whatever_its_length() -> None:
    shelf = Shelf()
    scribe = _scribe(shelf)
    tally: Any = scribe.tally
    _write(scribe, TurnStart("Hi"), *(ModelToken("x") for _ in range(1000)))
    assert isinstance(tally, Tally)
    assert len(tally._noted) == 1  # pyright: ignore[reportPrivateUsage]
