"""Commands that wait for their answer, and those that the server could never answer."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from bargein.gateway.terminal.pending import MOST_BYTES, MOST_WAITING, Outcome, Pending
from bargein.protocol.codes import ErrorCode
from bargein.protocol.frames import Problem, problem
from bargein.protocol.ids import CommandId


@define(eq=False)
class Asker:
    """Asks, and keeps what was sent and what came of it."""

    nursery: trio.Nursery
    sent: list[str] = field(factory=list[str], init=False)
    outcomes: list[Outcome] = field(factory=list[Outcome], init=False)
    pending: Pending = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.pending = Pending(self.send, self.nursery)

    def send(self, text: str) -> bool:
        self.sent.append(text)
        return True

    def ask(self, **body: Any) -> CommandId | None:
        return self.pending.ask({"type": "say", **body}, self.outcomes.append)

    @property
    def codes(self) -> list[ErrorCode]:
        return [outcome.code for outcome in self.outcomes if isinstance(outcome, Problem)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"text": "é" * (MOST_BYTES // 2)}, ErrorCode.FRAME_TOO_LARGE),
        ({"id": "a b"}, ErrorCode.INVALID_COMMAND),
        ({"id": ""}, ErrorCode.INVALID_COMMAND),
        ({"id": 7}, ErrorCode.INVALID_COMMAND),
        ({"id": "waits"}, ErrorCode.DUPLICATE),
        ({"heard": {"chars": 2**53 + 1}}, ErrorCode.INVALID_JSON),
    ],
)
async def test_what_a_server_would_answer_without_an_id_is_refused_here(
    body: dict[str, Any], code: ErrorCode, nursery: trio.Nursery
):
    asker = Asker(nursery)
    assert asker.ask(id="waits") == "waits"
    assert asker.ask(**body) is None
    assert asker.codes == [code]
    assert len(asker.sent) == asker.pending.count == 1


async def test_too_much_that_waits_is_an_outcome_too(nursery: trio.Nursery):
    asker = Asker(nursery)
    for _ in range(MOST_WAITING):
        assert asker.ask() is not None
    assert asker.ask() is None
    assert asker.codes == [ErrorCode.OVERLOADED]


async def test_what_waits_and_is_longer_than_a_server_takes_is_given_up(nursery: trio.Nursery):
    asker = Asker(nursery)
    asker.ask(text="x" * 3000)
    asker.ask(text="short")
    asker.pending.limit(2048)
    assert asker.codes == [ErrorCode.FRAME_TOO_LARGE]
    assert asker.pending.count == 1
    assert asker.ask(text="x" * 3000) is None


async def test_words_that_are_tried_again_are_given_up_for_newer_ones(
    nursery: trio.Nursery, autojump_clock: MockClock
):
    asker = Asker(nursery)
    old, kept = asker.ask(text="old"), asker.ask(text="on its way")
    busy = problem(ErrorCode.RATE_LIMITED)
    assert busy.retryable
    for command_id in (old, kept):
        asker.pending.settle(command_id, busy)
    await trio.sleep(60)
    assert len(asker.sent) == 4, "each was tried again"
    asker.pending.settle(old, busy)
    asker.pending.give_up_words()
    assert asker.outcomes == [busy]
    await trio.sleep(60)
    assert len(asker.sent) == 4
    assert asker.pending.count == 1, "what was sent is not given up: its answer will come"
