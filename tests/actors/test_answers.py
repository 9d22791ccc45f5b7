from __future__ import annotations

from bargein.actors.answers import MOST_OUTCOMES, Answer, Answers
from bargein.protocol.codes import ErrorCode
from bargein.protocol.frames import problem
from bargein.protocol.ids import CommandId, Seq
from tests.actors.stage import Viewer

ONE = CommandId("one")


def test_a_command_has_one_answer_and_the_first_stands(viewer: Viewer) -> None:
    answer = Answer(ONE, True, b"", [viewer])
    answer.reply({"n": 1}, Seq(0))
    answer.reply({"n": 2}, Seq(0))
    answer.refuse(problem(ErrorCode.BUSY))
    assert [frame["result"] for frame in viewer.frames] == [{"n": 1}]
    assert answer.settled


def test_a_refusal_is_not_replaced_by_a_reply(viewer: Viewer) -> None:
    answer = Answer(ONE, True, b"", [viewer])
    answer.refuse(problem(ErrorCode.NOT_FOUND))
    answer.reply({}, Seq(0))
    answer.refuse(problem(ErrorCode.BUSY))
    assert [frame["error"]["code"] for frame in viewer.frames] == ["not_found"]


def test_a_reply_that_nobody_asked_for_is_not_sent_and_a_refusal_is(viewer: Viewer) -> None:
    Answer(None, False, b"", [viewer]).reply({}, Seq(0))
    assert viewer.frames == []
    Answer(None, False, b"", [viewer]).refuse(problem(ErrorCode.BUSY))
    assert [frame["command_id"] for frame in viewer.frames] == [None]


def test_who_asks_again_gets_the_same_answer_before_and_after_it_is_known(
    viewer: Viewer,
) -> None:
    answers = Answers()
    answer = answers.begin(ONE, b"digest", viewer)
    assert answers.find(ONE) is answer
    answer.also_to(viewer)
    assert viewer.frames == []
    answer.reply({"n": 1}, Seq(0))
    answer.also_to(viewer)
    assert [frame["result"] for frame in viewer.frames] == [{"n": 1}] * 3


def test_a_reply_waits_for_its_event(viewer: Viewer) -> None:
    Answer(ONE, True, b"", [viewer]).reply({}, Seq(1))
    assert viewer.frames == []


def test_a_retryable_error_is_no_outcome_and_another_error_is(viewer: Viewer) -> None:
    answers = Answers()
    answers.begin(ONE, b"", viewer).refuse(problem(ErrorCode.BUSY))
    assert answers.find(ONE) is None
    answers.begin(ONE, b"", viewer).refuse(problem(ErrorCode.NOT_FOUND))
    assert answers.find(ONE) is not None


def test_a_command_without_an_id_is_not_remembered(viewer: Viewer) -> None:
    answers = Answers()
    answers.begin(None, b"", viewer)
    assert answers.find(None) is None


def test_the_latest_thousand_are_remembered(viewer: Viewer) -> None:
    answers = Answers()
    for number in range(MOST_OUTCOMES + 1):
        answers.begin(CommandId(f"c{number}"), b"", viewer)
    assert answers.find(CommandId("c0")) is None
    assert answers.find(CommandId("c1")) is not None
    assert answers.find(CommandId(f"c{MOST_OUTCOMES}")) is not None


def test_an_answer_that_is_not_kept_says_nothing_the_second_time(viewer: Viewer) -> None:
    answer = Answer(ONE, True, b"", [viewer], False)
    answer.reply({"large": "x" * 1000}, Seq(0))
    assert len(viewer.frames) == 1
    assert answer.settled
