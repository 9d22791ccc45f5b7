"""Plays dialogues to whoever decides turns, and counts what was right.

Ours is the pair of classes that the server asks, in the order in which it asks them; the others
know nothing but the length of silences and voices, as a voice detector alone does.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final, Literal, Protocol

from attrs import define, field, frozen

from bargein.protocol.ids import UtteranceId
from bargein.speech.barge_in import BargeIn, Interrupts
from bargein.speech.foresight import Begin, Drop, Foreseeing, Foresight
from bargein.speech.meaning import same_words
from bargein.speech.turn_taking import Heard, TurnTaking
from tests.speech.corpus import Dialogue, Report

FIRST_CHUNK_S: Final = 0.3
"""From the end of a turn to the first chunk: what a fast model takes, for all the same."""

LATE_S: Final = 3.0
"""An end that is decided later than this after it was missed."""


@frozen
class Decided:
    """What was decided, and when.

    Attributes:
        chunk_s: When its first chunk is there, if the answer may be begun before the end.
    """

    at_s: float
    what: Literal["end", "interrupt"]
    chunk_s: float | None = None


class Decider(Protocol):
    """Decides turns."""

    def report(self, report: Report) -> None: ...

    @property
    def due_s(self) -> float | None: ...

    def settle(self, now_s: float) -> Decided | None: ...


@define
class Ours:
    """As `actors.speaking` uses the classes."""

    said: str
    taking: TurnTaking = field(factory=TurnTaking)
    over: BargeIn | None = None
    _revision: int = 0
    foreseeing: Foreseeing = field(factory=lambda: Foreseeing(Foresight()))
    begun_s: float | None = None
    begun_words: str = ""
    begun_count: int = 0

    def report(self, report: Report) -> None:
        who, now_s = report.utterance_id, report.at_s
        if self.said and self.over is None:
            self.over = BargeIn(now_s, self.said)
        if report.kind == "start":
            self.taking.started(who, now_s)
            if self.over is not None:
                self.over.started(who)
        elif report.kind == "stop":
            self.taking.stopped(who, now_s)
            if self.over is not None:
                self.over.stopped(who, now_s)
        else:
            self._revision += 1
            heard = Heard(who, self._revision, report.text, report.kind == "final")
            self.taking.revised(heard, now_s)
            if self.over is not None:
                self.over.revised(heard, report.confidence, now_s)
        self._foresee(now_s)

    @property
    def due_s(self) -> float | None:
        over_s = None if self.over is None else self.over.due_s
        decided = self.over is None or self.over.resumed
        times = over_s, self.taking.due_s if decided else None, self.foreseeing.due_s
        return min((due_s for due_s in times if due_s), default=None)

    def settle(self, now_s: float) -> Decided | None:
        decided = self._decided(now_s)
        self._foresee(now_s)
        return decided

    def _foresee(self, now_s: float) -> None:
        words = self.taking.text if not self.said and self.over is None else ""
        self.foreseeing.said(words, now_s, silent=self.taking.is_silent)
        match self.foreseeing.decide(now_s):
            case Begin(words):
                self.begun_words, self.begun_s = words, now_s
                self.begun_count += 1
            case Drop():
                self.begun_s = None
            case None:
                pass

    def _decided(self, now_s: float) -> Decided | None:
        if self.over is not None:
            if isinstance(self.over.decide(now_s), Interrupts):
                self.over, self.said = None, ""
                return Decided(now_s, "interrupt")
            if not self.over.resumed:
                return None
            for utterance_id in self.over.utterances:
                self.taking.left_out(utterance_id)
            if self.over.is_over:
                self.over = None
        ended = self.taking.decide(now_s)
        if ended is None:
            return None
        self.foreseeing.ended()
        chunk_s = now_s + FIRST_CHUNK_S
        if self.begun_s is not None and same_words(self.begun_words, ended.text):
            chunk_s = max(now_s, self.begun_s + FIRST_CHUNK_S)
        self.begun_s = None
        return Decided(now_s, "end", chunk_s)


@define
class Timer:
    """Ends a turn after so much silence, and interrupts after so much voice."""

    said: str
    silence_s: float
    voice_s: float = 0.3
    _voices: set[UtteranceId] = field(factory=set[UtteranceId])
    _voice_since_s: float | None = None
    _silent_since_s: float | None = None
    _has_words: bool = False

    def report(self, report: Report) -> None:
        if report.kind == "start":
            self._voices.add(report.utterance_id)
            self._voice_since_s, self._silent_since_s = report.at_s, None
        elif report.kind == "stop":
            self._voices.discard(report.utterance_id)
            self._voice_since_s, self._silent_since_s = None, report.at_s
        else:
            self._has_words = self._has_words or not self.said

    @property
    def due_s(self) -> float | None:
        if self.said:
            since_s = self._voice_since_s
            return None if since_s is None else since_s + self.voice_s
        if self._silent_since_s is None or not self._has_words:
            return None
        return self._silent_since_s + self.silence_s

    def settle(self, now_s: float) -> Decided | None:
        due_s = self.due_s
        if due_s is None or now_s < due_s:
            return None
        if self.said:
            self.said = ""
            return Decided(now_s, "interrupt")
        self._has_words = False
        return Decided(now_s, "end")


def play(dialogue: Dialogue, decider: Decider) -> list[Decided]:
    """Return what was decided, in order."""
    decisions: list[Decided] = []

    def until(end_s: float) -> None:
        for _ in range(1000):
            due_s = decider.due_s
            if due_s is None or due_s > end_s:
                return
            decision = decider.settle(due_s)
            if decision is not None:
                decisions.append(decision)
        raise AssertionError("it is due for ever")

    for report in dialogue.reports:
        until(report.at_s)
        decider.report(report)
        until(report.at_s)
    until(dialogue.reports[-1].at_s + 60.0)
    return decisions


@define
class Score:
    """How somebody did over many dialogues."""

    name: str
    right: int = 0
    early: int = 0
    missed: int = 0
    gaps_s: list[float] = field(factory=list[float])
    early_gaps_s: list[float] = field(factory=list[float])
    begun: int = 0
    barged: int = 0
    missed_barges: int = 0
    asides: int = 0
    false_barges: int = 0

    @property
    def precision(self) -> float:
        return self.right / max(1, self.right + self.early)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.right + self.missed)

    @property
    def gap_ms(self) -> float:
        """From the end of speech to the first chunk; the median."""
        return 1000 * (median(self.gaps_s) + FIRST_CHUNK_S)

    @property
    def worst_gap_ms(self) -> float:
        """The same; 90 of 100 are shorter."""
        return 1000 * (sorted(self.gaps_s)[int(0.9 * len(self.gaps_s))] + FIRST_CHUNK_S)

    @property
    def early_gap_ms(self) -> float:
        """The median where answers are begun on stable words."""
        return 1000 * median(self.early_gaps_s)

    @property
    def early_worst_gap_ms(self) -> float:
        """The same; 90 of 100 are shorter."""
        return 1000 * sorted(self.early_gaps_s)[int(0.9 * len(self.early_gaps_s))]

    @property
    def thrown_away(self) -> float:
        """Answers that were begun and thrown away, for each that was used."""
        both = zip(self.early_gaps_s, self.gaps_s, strict=True)
        used = sum(early_s < gap_s + FIRST_CHUNK_S - 0.001 for early_s, gap_s in both)
        return (self.begun - used) / max(1, used)

    @property
    def false_interruptions(self) -> float:
        return self.false_barges / max(1, self.asides)

    @property
    def missed_interruptions(self) -> float:
        return self.missed_barges / max(1, self.barged)

    def count(self, dialogue: Dialogue, decisions: Sequence[Decided]) -> None:
        """Hold what was decided against what is true."""
        interrupts = [d.at_s for d in decisions if d.what == "interrupt"]
        chunks_s = {d.at_s: d.chunk_s for d in decisions if d.what == "end"}
        ends = list(chunks_s)
        if dialogue.over_s is not None:
            self.asides += 1
            self.false_barges += bool(interrupts)
            return
        if dialogue.interrupts_s is not None:
            self.barged += 1
            in_time_s = dialogue.ends_s[-1] + 1.0
            self.missed_barges += not any(at_s <= in_time_s for at_s in interrupts)
        for truly_s in dialogue.ends_s:
            fitting = [at_s for at_s in ends if truly_s <= at_s <= truly_s + LATE_S]
            if fitting:
                self.right += 1
                self.gaps_s.append(fitting[0] - truly_s)
                chunk_s = chunks_s[fitting[0]]
                if chunk_s is not None:
                    self.early_gaps_s.append(chunk_s - truly_s)
                ends.remove(fitting[0])
            else:
                self.missed += 1
        self.early += len(ends)


def contest(dialogues: Sequence[Dialogue]) -> list[Score]:
    """Let everybody decide the same dialogues."""
    scores = [Score("bargein"), *(Score(f"a timer of {s:g} s") for s in TIMERS_S)]
    for dialogue in dialogues:
        deciders = (Ours(dialogue.said), *(Timer(dialogue.said, s) for s in TIMERS_S))
        for score, decider in zip(scores, deciders, strict=True):
            score.count(dialogue, play(dialogue, decider))
            score.begun += decider.begun_count if isinstance(decider, Ours) else 0
    return scores


TIMERS_S: Final = (0.5, 0.7, 1.0, 1.5)
