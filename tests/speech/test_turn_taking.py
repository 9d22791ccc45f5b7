"""When the user has finished, by a clock that the test turns."""

from __future__ import annotations

import pytest
from attrs import define, field

from bargein.protocol.ids import UtteranceId
from bargein.speech.pacing import Pacing, PacingInvalid
from bargein.speech.turn_taking import (
    MOST_TURN_CHARS,
    MOST_TURN_UTTERANCES,
    EndOfTurn,
    Heard,
    TurnTaking,
)

U1, U2 = UtteranceId("u1"), UtteranceId("u2")


@define
class Line:
    """A user on the line; `until` lets time pass as the server's timer does."""

    taking: TurnTaking = field(factory=TurnTaking)
    now_s: float = 100.0
    revision: int = 0

    def speak(self, text: str, *, for_s: float = 1.0, final: bool = True, who: UtteranceId = U1):
        self.taking.started(who, self.now_s)
        self.now_s += for_s
        self.taking.stopped(who, self.now_s)
        self.hear(text, final=final, who=who)

    def hear(self, text: str, *, final: bool = True, who: UtteranceId = U1):
        self.revision += 1
        self.taking.revised(Heard(who, self.revision, text, final), self.now_s)

    def until(self, most_s: float = 10.0) -> tuple[EndOfTurn | None, float]:
        """Return the decision, and after how long it came."""
        began_s = self.now_s
        while (due_s := self.taking.due_s) is not None and due_s <= began_s + most_s:
            self.now_s = max(self.now_s, due_s)
            ended = self.taking.decide(self.now_s)
            if ended is not None:
                return ended, self.now_s - began_s
        self.now_s = began_s + most_s
        return None, most_s


def waited(text: str, *, final: bool = True) -> float:
    line = Line()
    line.speak(text, final=final)
    ended, after_s = line.until()
    assert ended is not None
    assert ended.text == text
    return after_s


def test_a_finished_sentence_waits_less_than_one_that_is_not():
    times = [
        waited("What is my balance?"),
        waited("Show me the funds."),
        waited("Show me the funds"),
        waited("My number is 555"),
        waited("Show me the"),
        waited("Show me, um"),
    ]
    assert times == sorted(times)
    assert len(set(times)) == len(times)


def test_words_that_are_not_final_wait_for_the_recogniser():
    pacing = Pacing()
    late_s = waited("Show me the funds.", final=False) - waited("Show me the funds.")
    assert late_s == pytest.approx(pacing.unfinal_s)


def test_final_words_that_come_late_are_measured_from_the_silence():
    line = Line()
    line.taking.started(U1, line.now_s)
    line.now_s += 1
    line.taking.stopped(U1, line.now_s)
    line.now_s += 0.2
    line.hear("What is my balance?")
    ended, after_s = line.until()
    assert ended is not None
    assert after_s == pytest.approx(Pacing().question_s - 0.2)
    assert ended.waited_ms == pytest.approx(Pacing().question_s * 1000)


def test_the_decision_says_by_what_and_what_it_weighed():
    line = Line()
    line.speak("Show me the funds")
    ended, _ = line.until()
    assert ended is not None
    assert (ended.by, ended.details["shape"]) == ("endpoint", "open")
    assert ended.details["delay_ms"] == ended.waited_ms == 650.0
    assert ended.heard == (Heard(U1, 1, "Show me the funds", final=True),)


def test_a_pause_in_a_sentence_is_no_end():
    line = Line()
    line.speak("I would like to")
    ended, _ = line.until(1.0)
    assert ended is None
    line.speak("fly to Boston.", who=U2)
    ended, _ = line.until()
    assert ended is not None
    assert ended.text == "I would like to fly to Boston."
    assert [heard.utterance_id for heard in ended.heard] == [U1, U2]


def test_the_user_who_says_so_ends_the_turn_at_once():
    line = Line()
    line.speak("Show me the")
    line.taking.end_asked(line.now_s)
    ended, after_s = line.until()
    assert ended is not None
    assert (ended.by, after_s, ended.waited_ms) == ("explicit", 0.0, 0.0)


def test_an_explicit_end_waits_for_the_last_words_and_not_for_long():
    line = Line()
    line.speak("Show me the", final=False)
    line.taking.end_asked(line.now_s)
    assert line.taking.decide(line.now_s) is None
    ended, after_s = line.until()
    assert ended is not None
    assert (ended.by, after_s) == ("explicit", pytest.approx(Pacing().last_words_s))
    line.speak("Show me the", final=False, who=U2)
    line.taking.end_asked(line.now_s)
    line.hear("Show me the rest", who=U2)
    ended, after_s = line.until()
    assert ended is not None
    assert (ended.text, after_s) == ("Show me the rest", 0.0)


def test_a_voice_that_never_stops_is_timed_out_from_its_last_words():
    line = Line()
    line.taking.started(U1, line.now_s)
    line.hear("Show me the funds", final=False)
    ended, after_s = line.until()
    assert ended is not None
    assert (ended.by, after_s) == ("timeout", pytest.approx(Pacing().timeout_s))


def test_noise_without_words_is_forgotten_and_ends_no_turn():
    line = Line()
    line.taking.started(U1, line.now_s)
    line.taking.stopped(U1, line.now_s + 0.2)
    ended, _ = line.until(60)
    assert ended is None
    assert not line.taking.has_floor
    assert line.taking.due_s is None


def test_a_voice_that_never_says_anything_is_forgotten():
    line = Line()
    line.taking.started(U1, line.now_s)
    ended, _ = line.until(29.0)
    assert ended is None
    assert line.taking.has_floor
    ended, _ = line.until(4.0)
    assert ended is None
    assert not line.taking.has_floor
    assert line.taking.due_s is None


def test_an_utterance_that_is_left_out_ends_no_turn():
    line = Line()
    line.speak("mhm")
    line.taking.left_out(U1)
    assert line.until(60) == (None, 60)


def test_a_slow_speaker_is_waited_for_longer_and_a_bound_holds():
    slow, after_s = Line(), 0.0
    for _ in range(6):
        slow.speak("I would like to", who=U1)
        slow.now_s += 1.2
        slow.speak("fly to Boston", who=U2)
        ended, after_s = slow.until()
        assert ended is not None
    average_s = waited("fly to Boston")
    assert after_s > 1.4 * average_s
    assert slow.taking.pace <= 1.8
    slow.speak("well, um")
    _, most_s = slow.until()
    assert most_s == pytest.approx(Pacing().most_s)


def test_whoever_was_cut_off_is_given_more_time():
    line = Line()
    before = line.taking.pace
    line.speak("Show me the funds")
    ended, _ = line.until()
    assert ended is not None
    line.now_s += 0.3
    line.taking.started(U2, line.now_s)
    assert line.taking.pace > before


def test_a_fast_speaker_is_answered_sooner():
    line, after_s = Line(), 0.0
    for _ in range(4):
        line.speak("Show me", who=U1)
        line.now_s += 0.15
        line.speak("the funds", who=U2)
        _, after_s = line.until()
    assert after_s < waited("the funds")


def test_a_meaning_from_outside_counts_beside_the_words():
    complete, incomplete = Line(), Line()
    for line, score in ((complete, 1.0), (incomplete, 0.0)):
        line.speak("Show me the funds")
        line.taking.weighed(score)
    (sure, sooner_s), (unsure, later_s) = complete.until(), incomplete.until()
    assert sooner_s < waited("Show me the funds") < later_s
    assert sure is not None
    assert unsure is not None
    assert (sure.details["completeness"], unsure.details["completeness"]) == (1.0, 0.0)


def test_new_words_make_an_old_meaning_worthless():
    line = Line()
    line.speak("Show me the funds")
    line.taking.weighed(1.0)
    line.hear("Show me the funds and")
    ended, _ = line.until()
    assert ended is not None
    assert "completeness" not in ended.details


def test_bounds_that_contradict_each_other_are_refused():
    with pytest.raises(PacingInvalid, match="question_s"):
        Pacing(question_s=0)
    with pytest.raises(PacingInvalid, match="least_s"):
        Pacing(least_s=3.0)


def test_one_turn_takes_so_many_words_and_no_more():
    taking = TurnTaking()
    taking.revised(Heard(U1, 1, "a " * (MOST_TURN_CHARS // 4), False), 1.0)
    assert taking.takes(U1, "a" * MOST_TURN_CHARS)  # a revision stands in the place of the last
    assert taking.takes(U2, "a" * (MOST_TURN_CHARS // 2))
    assert not taking.takes(U2, "a" * (MOST_TURN_CHARS // 2 + 1))


def test_one_turn_takes_so_many_utterances_and_no_more():
    taking = TurnTaking()
    for number in range(MOST_TURN_UTTERANCES):
        assert taking.takes(UtteranceId(f"v{number}"))
        taking.started(UtteranceId(f"v{number}"), 1.0)
    assert not taking.takes(U1, "hello")
    assert taking.takes(UtteranceId("v0"), "hello")


def test_the_end_of_a_long_turn_says_what_it_is():
    line = Line()
    line.speak("I was told so. " * 2000 + "Is that right?")
    ended, _ = line.until()
    assert ended is not None
    assert ended.details["shape"] == "question"
