"""Speech over the agent: what interrupts, what does not, and after how long."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field

from bargein.protocol.ids import UtteranceId
from bargein.speech.barge_in import MOST_UTTERANCES, BargeIn, Interrupts, Resumes, Verdict
from bargein.speech.pacing import Pacing
from bargein.speech.turn_taking import Heard

U1 = UtteranceId("u1")
BOUND_MS = Pacing().decide_s * 1000


@define
class Over:
    """Somebody who speaks over the agent."""

    said: str = "You have three funds. The first one is"
    now_s: float = 50.0
    barge_in: BargeIn = field(init=False)
    revision: int = 0

    def __attrs_post_init__(self) -> None:
        self.barge_in = BargeIn(self.now_s, self.said)
        self.barge_in.started(U1)

    def passes(self, seconds: float) -> None:
        self.now_s += seconds

    def stops(self) -> None:
        self.barge_in.stopped(U1, self.now_s)

    def hears(self, text: str, *, final: bool = False, confidence: float | None = None) -> None:
        self.revision += 1
        self.barge_in.revised(Heard(U1, self.revision, text, final), confidence, self.now_s)

    def verdict(self) -> Verdict | None:
        """Let time pass until it is decided."""
        for _ in range(10):
            if (due_s := self.barge_in.due_s) is None:
                return None
            self.now_s = max(self.now_s, due_s)
            if (verdict := self.barge_in.decide(self.now_s)) is not None:
                return verdict
        raise AssertionError("it is due and nothing is decided")


def test_two_words_interrupt_at_once():
    over = Over()
    over.passes(0.3)
    over.hears("show me")
    assert over.verdict() == Interrupts("words", 300.0)


def test_a_word_that_stops_interrupts_at_once():
    over = Over()
    over.passes(0.2)
    over.hears("wait")
    assert over.verdict() == Interrupts("command", 200.0)


def test_one_other_word_interrupts_a_moment_later():
    over = Over()
    over.hears("Boston")
    assert over.verdict() == Interrupts("words", 250.0)


def test_one_word_that_becomes_an_aside_does_not_interrupt():
    over = Over()
    over.hears("go")
    over.passes(0.1)
    over.hears("go on", final=True)
    over.stops()
    assert over.verdict() == Resumes("backchannel", 450.0)


@pytest.mark.parametrize("text", ["mhm", "Right.", "uh-huh", "I see", "okay yeah"])
def test_an_aside_resumes_after_a_short_silence(text: str):
    over = Over()
    over.passes(0.3)
    over.hears(text, final=True)
    over.stops()
    assert over.verdict() == Resumes("backchannel", 650.0)


def test_a_noise_resumes_after_a_short_silence():
    over = Over()
    over.passes(0.1)
    over.stops()
    assert over.verdict() == Resumes("noise", 450.0)


def test_a_voice_that_goes_on_without_words_resumes_at_the_bound():
    assert Over().verdict() == Resumes("noise", BOUND_MS)


def test_words_after_it_was_resumed_interrupt_all_the_same():
    over = Over()
    assert isinstance(over.verdict(), Resumes)
    assert not over.barge_in.is_over
    over.passes(0.5)
    over.hears("but what about fees")
    assert over.verdict() == Interrupts("words", BOUND_MS + 500)


def test_an_aside_that_goes_on_with_words_interrupts():
    over = Over()
    over.hears("right")
    over.passes(0.2)
    over.hears("right but the fees")
    assert over.verdict() == Interrupts("words", 200.0)


def test_the_agents_own_words_are_an_echo():
    over = Over()
    over.hears("you have three funds", final=True)
    over.passes(0.5)
    over.stops()
    assert over.verdict() == Resumes("echo", 850.0)


def test_a_yes_to_the_agents_question_is_an_answer():
    over = Over(said="Shall I book it?")
    over.hears("yes", final=True)
    assert isinstance(over.verdict(), Interrupts)


@pytest.mark.parametrize(
    ("fields", "interrupts"),
    [
        ({"confidence": 0.2}, False),
        ({"confidence": 0.2, "final": True}, True),
        ({"confidence": 0.6}, True),
        ({}, True),
    ],
)
def test_doubtful_words_are_noise_until_they_are_final(fields: dict[str, Any], *, interrupts: bool):
    over = Over()
    over.hears("the weather today", **fields)
    assert isinstance(over.verdict(), Interrupts) is interrupts


def test_words_of_a_client_that_reports_no_voice_are_decided_too():
    barge_in = BargeIn(10.0, "You have three funds")
    barge_in.revised(Heard(U1, 0, "mhm", final=True), None, 10.0)
    assert barge_in.due_s == pytest.approx(10.0 + Pacing().silence_s)
    assert barge_in.utterances == (U1,)


def test_it_is_over_when_nothing_of_it_can_interrupt_any_more():
    over = Over()
    over.hears("mhm")
    over.stops()
    assert isinstance(over.verdict(), Resumes)
    assert not over.barge_in.is_over
    over.hears("Mhm.", final=True)
    assert over.barge_in.is_over
    assert over.verdict() is None


def test_it_is_not_over_while_words_of_a_voice_may_come():
    over = Over("Shall I send it now?")
    over.stops()
    assert isinstance(over.verdict(), Resumes)
    assert not over.barge_in.is_over
    assert over.barge_in.unworded == (U1,)
    assert over.barge_in.covers(U1)
    assert not over.barge_in.covers(UtteranceId("another"))
    over.hears("Yes.", final=True)
    assert over.barge_in.unworded == ()
    assert isinstance(over.verdict(), Interrupts)


def test_of_much_that_is_said_over_the_agent_only_the_last_is_weighed():
    over = Over()
    for number in range(100):
        heard = Heard(UtteranceId(f"v{number}"), 1, "mhm " + "so " * 9000, final=True)
        over.barge_in.revised(heard, None, over.now_s)
    assert len(over.barge_in.utterances) == MOST_UTTERANCES + 1  # and the voice that goes on
    over.barge_in.revised(Heard(UtteranceId("w"), 1, "stop", final=False), None, over.now_s)
    assert isinstance(over.verdict(), Interrupts)
