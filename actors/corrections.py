"""What becomes of words that a recogniser takes back: a turn that answers what was really said."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from bargein.actors.turn import ResponseSlot
from bargein.actors.words import Words
from bargein.protocol.ids import TurnId
from bargein.protocol.state import SessionState
from bargein.protocol.utterances import Utterance
from bargein.speech.meaning import same_words
from bargein.speech.turn_taking import EndOfTurn, Heard

CORRECTION: Final = "correction"
"""The cause of an interrupt whose answer was to something that nobody said."""


def correction_of(
    state: SessionState, slot: ResponseSlot, heard: Heard, answered: str
) -> EndOfTurn | None:
    """Return the end of a turn that answers *heard* in place of *answered*.

    None where no turn is to: the conversation has gone on, the words still wait and are taken
    as they are then, the user has stopped the answer, or no words are left.
    """
    known = state.utterances.get(heard.utterance_id)
    turn = None if known is None or known.turn_id is None else state.turns.get(known.turn_id)
    if turn is None or turn.turn_id != state.latest_started or turn.stopped:
        return None
    if _is_stopped(slot, turn.turn_id):
        return None
    all_heard = tuple(
        heard
        if said.utterance_id == heard.utterance_id
        else _as_known(state.utterances[said.utterance_id])
        for said in turn.utterances
    )
    words = replaced_in(turn.words, answered, heard.text)
    if not words.strip():
        return None  # nothing was said; there is nothing to answer
    return EndOfTurn("endpoint", 0.0, words, all_heard, {"corrects": turn.turn_id}, turn.turn_id)


def _is_stopped(slot: ResponseSlot, turn_id: TurnId) -> bool:
    turn = slot.turn
    if turn is None or turn.id != turn_id or turn.ladder is None:
        return False
    return turn.ladder.by in ("user", "speech") and turn.ladder.cause != CORRECTION


def _as_known(known: Utterance) -> Heard:
    return Heard(known.utterance_id, known.revision, known.text, final=True)


def as_last_heard(words: Words, state: SessionState) -> Words:
    """Return spoken words that have waited as the recogniser has understood them since."""
    spoken = words.spoken
    if spoken is None:
        return words
    text, latest = words.text, list[Heard]()
    for heard in spoken.heard:
        known = state.utterances.get(heard.utterance_id)
        if known is None or not _says_otherwise(known, heard):
            latest.append(heard)
        else:
            text = replaced_in(text, heard.text, known.text)
            latest.append(_as_known(known))
    return evolve(words, text=text, spoken=evolve(spoken, text=text, heard=tuple(latest)))


def _says_otherwise(known: Utterance, heard: Heard) -> bool:
    is_newer = known.final and known.revision > heard.revision and bool(known.text.strip())
    return is_newer and not same_words(known.text, heard.text)


def spoken_before(state: SessionState, turn_id: TurnId) -> EndOfTurn | None:
    """Return how words were said that waited when the last process ended; None: they were typed."""
    turn = state.turns[turn_id]
    if not turn.utterances:
        return None
    heard = tuple(
        Heard(said.utterance_id, said.revision, known.answered, final=True)
        for said in turn.utterances
        if (known := state.utterances.get(said.utterance_id)) is not None
    )
    return EndOfTurn("endpoint", 0.0, turn.words, heard, {})


def replaced_in(words: str, old: str, new: str) -> str:
    """Return *words* with *new* in place of *old*; *new* alone where that can't be found."""
    return words.replace(old.strip(), new.strip(), 1) if old.strip() in words else new
