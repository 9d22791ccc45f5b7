"""What the user said, on its way to a turn of its own."""

from __future__ import annotations

from collections.abc import Callable

from attrs import evolve, frozen
from msgspec import UNSET, UnsetType

from bargein.actors.answers import Answer
from bargein.actors.messages import Draft
from bargein.protocol.commands import Say
from bargein.protocol.events import InputText, ResponseStart, SpokenInput, TurnEnd, TurnStart
from bargein.protocol.ids import CommandId, Seq, TurnId
from bargein.protocol.traceparent import read_traceparent
from bargein.speech.turn_taking import EndOfTurn


@frozen(eq=False)
class Words:
    """What the user said, on its way to a turn of its own.

    Attributes:
        answer: The command's answer, where it is given when the turn starts.
        recorded: The words are on the timeline already.
        interrupted: The turn that these words cut short.
        traceparent: The client's span that the turn is part of.
        spoken: How the turn was ended, where the words were said aloud.
    """

    turn_id: TurnId
    text: str
    command_id: CommandId | None
    received_s: float
    answer: Answer | None = None
    recorded: bool = False
    interrupted: TurnId | None = None
    rolled_back: bool = False
    continues: TurnId | None = None
    traceparent: str | UnsetType = UNSET
    spoken: EndOfTurn | None = None


def traceparent_in(say: Say) -> str | UnsetType:
    """Return the client's span that *say* names; what is no such is ignored, as W3C wants it."""
    text = say.traceparent
    return UNSET if text is None or read_traceparent(text) is None else text


def opening_of(words: Words) -> tuple[Draft, ...]:
    """Return the first events of the turn that answers *words*."""
    replaces = words.interrupted if words.rolled_back else None
    start = TurnStart(words.text)
    if replaces is not None and words.continues is not None:
        start = TurnStart(words.text, replaces, words.continues)
    elif replaces is not None:
        start = TurnStart(words.text, replaces=replaces)
    elif words.continues is not None:
        start = TurnStart(words.text, continues=words.continues)
    if words.spoken is not None:
        return _spoken_opening(start, words.spoken)
    opening: tuple[Draft, ...] = (start, TurnEnd("text"), ResponseStart())
    if words.recorded:
        return opening
    said = InputText(
        words.text,
        words.command_id,
        interrupted=words.interrupted or UNSET,
        traceparent=words.traceparent,
    )
    return (said, *opening)


def _spoken_opening(start: TurnStart, spoken: EndOfTurn) -> tuple[Draft, ...]:
    """Return the first events of a turn whose words are on the timeline as transcripts."""
    start = evolve(start, utterances=_said_in(spoken), corrects=spoken.corrects or UNSET)
    return (start, TurnEnd(spoken.by, spoken.waited_ms, dict(spoken.details)), ResponseStart())


def queued_event(words: Words) -> InputText:
    """Return the event of words that wait for the running turn."""
    return InputText(
        words.text,
        words.command_id,
        queued=True,
        continues=words.continues or UNSET,
        traceparent=words.traceparent,
        utterances=UNSET if words.spoken is None else _said_in(words.spoken),
    )


def _said_in(spoken: EndOfTurn) -> tuple[SpokenInput, ...]:
    return tuple(SpokenInput(heard.utterance_id, heard.revision) for heard in spoken.heard)


def reply_when_started(words: Words) -> Callable[[Seq], None] | None:
    """Return what answers the command once its turn has begun; None if it was answered."""
    answer = words.answer
    if answer is None:
        return None
    if words.spoken is not None:
        return lambda seq: answer.reply({}, seq)
    result = {
        "turn_id": words.turn_id,
        "outcome": "rolled_back" if words.rolled_back else "started",
        "interrupted": words.interrupted,
    }
    return lambda seq: answer.reply(result, seq)
