"""What the fold knows of speech: utterances, and how far an answer was heard."""

from __future__ import annotations

import pytest

from bargein.protocol.events import CancelStage, PlaybackProgress, PlaybackStart, TtsChunk
from bargein.protocol.heard import Chunks, chars_of_words
from bargein.protocol.ids import ChunkId, UtteranceId, turn_id
from bargein.protocol.projections import transcript
from bargein.protocol.state import fold
from tests.checker import broken_rules
from tests.sdk.vectors import spoken

ONE, TWO = turn_id(1), turn_id(2)
C1 = ChunkId("c1")


def test_a_spoken_conversation_keeps_every_rule():
    assert broken_rules(spoken()) == []


def test_each_utterance_knows_its_turn_and_the_words_that_it_answers():
    known = fold(spoken()).utterances
    ask, aside, cut = (known[UtteranceId(name)] for name in ("u1", "u2", "u3"))
    assert (ask.turn_id, ask.answered, ask.revision) == (TWO, "Fly to Boston.", 3)
    assert (aside.turn_id, aside.aside, aside.waits) == (None, True, False)
    assert (cut.turn_id, cut.final, cut.speaking) == (turn_id(3), False, True)


def test_the_answer_is_cut_at_the_last_word_that_was_over():
    (heard,) = [
        event.payload.heard
        for event in spoken()
        if isinstance(event.payload, CancelStage) and event.payload.target == "transcript"
    ]
    assert heard == "Let me look. It leaves"


def test_the_transcript_says_which_words_were_answered_and_what_was_corrected():
    events = spoken()
    view = transcript(fold(events))
    assert [turn.user for turn in view.turns] == ["Fly to Austin.", "Fly to Boston.", "And a"]
    assert view.turns[1].corrects == ONE
    assert view.turns[0].rolled_back
    early = transcript(fold(events[:4]))
    assert isinstance(early.unanswered, tuple)
    assert [words.text for words in early.unanswered] == ["Fly to"]


def test_a_turn_is_caused_by_the_transcript_that_it_answers():
    events = spoken()
    start = next(event for event in events if event.type == "turn.start")
    final = next(event for event in events if event.type == "asr.final")
    assert start.parent_event_id == final.event_id


@pytest.mark.parametrize(
    ("offset_ms", "heard"), [(0.0, 0), (99.0, 0), (100.0, 3), (250.0, 7), (900.0, 11)]
)
def test_words_count_when_they_are_over(offset_ms: float, heard: int):
    assert chars_of_words("one two six", (100.0, 200.0, 300.0), offset_ms) == heard


def test_a_chunk_that_nobody_knows_says_nothing():
    chunks = Chunks()
    chunks.add(TtsChunk(C1, "one two", "preface", 4, 11))
    assert chunks.heard(ChunkId("other"), 100.0) is None
    assert chunks.heard(None, 100.0) is None
    assert chunks.playing is None
    assert chunks.heard(C1, 100.0) == 4
    chunks.begin(PlaybackStart(C1, (50.0, 100.0)))
    assert chunks.heard(C1, 60.0) == 7
    assert chunks.heard(C1, 100.0) == 11
    assert not chunks.is_protected


def test_a_report_without_chunks_changes_nothing():
    state = fold(spoken()[:6])
    state.apply(state.seq, state.ts, ONE, PlaybackProgress(chunk_id=C1, offset_ms=5.0))
    assert state.turns[ONE].shown_chars is None
