"""The truth about what was heard, and what the model is told of it: I17 and I18.

What a voice left unsaid, because nothing supports it, is not told to the model; only a turn
that began with a voice may leave anything out, and what was spoken it may not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from attrs import define, evolve, field

from bargein.actors.context import BROKE_OFF, GO_ON, PUT_OFF
from bargein.actors.resuming import FOUND
from bargein.models.client import INTERRUPTED, Message
from tests.simulation.history import History
from tests.simulation.model import Asked
from tests.simulation.notes import broken_notes, without_notes

Event = dict[str, Any]


@define(eq=False)
class Turn:
    """One turn, as its events tell it."""

    words: str = ""
    text: str = ""
    status: str = ""
    heard: str | None = None
    started: int | None = None
    ended: int | None = None
    rolled_back_at: int | None = None
    continues: str | None = None
    preempted: bool = False
    given_up: bool = False
    steered: list[str] = field(factory=list[str])
    reports: list[int] = field(factory=list[int])
    tokens_at: list[tuple[int, int]] = field(factory=list[tuple[int, int]])
    command_id: str | None = None
    cancel_seq: int | None = None
    voiced: bool = False
    spoken: list[tuple[int, int]] = field(factory=list[tuple[int, int]])
    withheld: list[Event] = field(factory=list[Event])


def turns_of(events: list[Event]) -> dict[str, Turn]:
    """Read the turns from a timeline, without the help of the product's fold."""
    turns: dict[str, Turn] = {}
    voice = False
    for event in events:
        if event["turn_id"] is None:
            if event["type"] in ("session.opened", "session.configured"):
                voice = event["payload"]["config"].get("voice", False)
            if "continues" in event["payload"]:
                turns[event["payload"]["continues"]].given_up = True
            continue
        turn = turns.setdefault(event["turn_id"], Turn())
        payload = event["payload"]
        match event["type"]:
            case "input.text" if payload.get("steered"):
                turn.steered.append(payload["text"])
            case "input.text":
                turn.words = payload["text"]
            case "turn.start":
                turn.words = turn.words or payload["input"]
                turn.started, turn.voiced = event["seq"], voice
                turn.continues = payload.get("continues")
                if "replaces" in payload:
                    turns[payload["replaces"]].rolled_back_at = event["seq"]
            case "model.token":
                turn.text += payload["text"]
                turn.tokens_at.append((event["seq"], len(turn.text)))
            case "tts.chunk":
                turn.spoken.append((payload["start"], payload["end"]))
            case "object" if payload["kind"] == "speech.withheld":
                turn.withheld.append(payload["data"])
            case "playback.progress" | "playback.stop" if "chars" in payload:
                if turn.cancel_seq is None:
                    turn.reports.append(payload["chars"])
            case "cancel.requested":
                turn.cancel_seq = event["seq"]
                turn.preempted = payload["by"] == "preempted"
                turn.command_id = payload.get("command_id")
            case "cancel.stage" if payload["target"] == "transcript":
                turn.heard = payload["heard"]
            case "response.end":
                turn.status = payload["status"]
                turn.ended = event["seq"]
            case _:
                pass
    return turns


def broken_hearing(history: History, events: list[Event]) -> Iterator[str]:
    """Name every word that counts as heard and can't have been, or was told to the model."""
    turns = turns_of(events)
    session_id = events[0]["session_id"]
    for turn_id, turn in turns.items():
        for broken in _broken_cut(history, session_id, turn_id, turn):
            yield f"{turn_id}: {broken}"
        for broken in _broken_voice(turn):
            yield f"{turn_id}: {broken}"
    for number, life in enumerate(history.lives):
        if session_id in life.crashed:
            continue  # a dead store erased what was asked for, and it may be asked for again
        asked_before: set[str] = set()
        for asked in life.model.asked:
            turn = turns.get(asked.turn_id)
            if turn is None or not _is_of(asked, turns, turn):
                continue
            if turn.started is None or history.life_of(session_id, turn.started) != number:
                continue  # a power cut erased that turn: its id was given again
            expected = _expected_messages(turns, turn, turn.started)
            again = asked.turn_id in asked_before
            asked_before.add(asked.turn_id)
            messages = without_found(without_notes(asked.request.messages))
            if not _tells(messages, expected, again=again):
                yield f"{asked.turn_id}: the model was told {messages!r}"
                yield f"{asked.turn_id}: instead of         {expected!r}"
            if not again:
                for broken in broken_notes(asked.request.messages, events, turn.started):
                    yield f"{asked.turn_id}: {broken}"


def _is_of(asked: Asked, turns: dict[str, Turn], turn: Turn) -> bool:
    """Whether a request was made for that turn of that session, and not for its namesake."""
    messages = without_found(asked.request.messages)
    said = {m.content for m in messages if isinstance(m.content, str)}
    ours = any(other.words in said for other in turns.values())
    return ours and bool(said & {turn.words, GO_ON if turn.continues else turn.words})


def without_found(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Leave out what is told of the calls of tools that a turn goes on from."""
    return tuple(
        evolve(message, content=message.content.partition(f"\n\n{FOUND}")[0])
        if isinstance(message.content, str)
        else message
        for message in messages
    )


def _tells(messages: tuple[Message, ...], expected: tuple[Message, ...], *, again: bool) -> bool:
    if messages == expected or not again:
        return messages == expected
    # After an overflow a turn asks again with less, after the call of a tool with more.
    shorter = (expected[start:] for start in range(len(expected)))
    return any(messages[: len(told)] == told for told in shorter)


def _broken_cut(history: History, session_id: str, turn_id: str, turn: Turn) -> Iterator[str]:
    heard = turn.heard
    if heard is None:
        return
    if not turn.text.startswith(heard):
        yield f"heard {heard!r} of {turn.text!r}"
    limits: list[tuple[str, int]] = []
    at = (history.life_of(session_id, turn.cancel_seq or 1), turn_id)
    flushes = [
        client.room.taken_at_flush[at]
        for client in history.clients
        if client.room.session_id == session_id and at in client.room.taken_at_flush
    ]
    if flushes:
        taken = flushes[0]
        delivered = max((chars for seq, chars in turn.tokens_at if seq <= taken), default=0)
        limits.append(("were delivered", delivered))
    said = [
        sent.body["heard"]["chars"]
        for client in history.clients
        for sent in client.sent
        if sent.body.get("id") == turn.command_id and "heard" in sent.body
    ]
    # A command without an id can't be told from the others.
    if turn.command_id is not None and said:
        limits.append(("the command said", said[0]))
    elif turn.reports and turn.command_id is not None:
        limits.append(("were reported", turn.reports[-1]))
    for what, chars in limits:
        if len(heard) > chars:
            yield f"{len(heard)} characters count as heard, {what} {chars}"


def _broken_voice(turn: Turn) -> Iterator[str]:
    """Name what a voice may not do: speak unasked, unsay what it said, or keep quiet about it."""
    if not turn.voiced and (turn.spoken or turn.withheld):
        yield f"it has no voice, spoke {turn.spoken} and left out {turn.withheld}"
    if len(turn.withheld) > 1:
        yield f"it told {len(turn.withheld)} times of what it left out"
    places = [(start, end) for left in turn.withheld for start, end in left["places"]]
    told = " ".join(turn.text[start:end] for start, end in places).split()
    if told != " ".join(left["text"] for left in turn.withheld).split():
        yield f"it left out {told}, and told of {turn.withheld}"
    accounted = sorted((*turn.spoken, *places))
    for (_, end), (start, _) in pairwise(accounted):
        if start < end:
            yield f"it spoke {turn.spoken} and left out {places}: that is something twice"
    if turn.voiced and turn.status in ("completed", "failed"):
        at = 0
        for start, end in (*accounted, (len(turn.text), len(turn.text))):
            if lost := turn.text[at:start].strip():
                yield f"it neither spoke {lost!r} nor told that it did not"
            at = end


def _expected_messages(turns: dict[str, Turn], asking: Turn, started: int) -> tuple[Message, ...]:
    """Return what the model has to be told for a turn that started at an event."""
    told: list[Message] = []
    earlier = [
        (turn.started, turn)
        for turn in turns.values()
        if turn.started is not None and turn.started < started
    ]
    for _, turn in sorted(earlier, key=lambda pair: pair[0]):
        if turn.rolled_back_at is not None and turn.rolled_back_at <= started:
            continue
        told.append(Message("user", "\n\n".join((turn.words, *turn.steered))))
        answer = _answer(turn)
        if answer:
            told.append(Message("assistant", answer))
    goes_on = asking.continues is not None and turns[asking.continues].words == asking.words
    return (*told, Message("user", GO_ON if goes_on and told else asking.words))


def _answer(turn: Turn) -> str:
    heard = _said(turn)
    if turn.preempted and not turn.given_up:
        return f"{heard.rstrip()} {PUT_OFF}".lstrip()
    mark = {"cancelled": INTERRUPTED, "failed": BROKE_OFF}.get(turn.status)
    return heard if mark is None else f"{heard.rstrip()} {mark}".lstrip()


def _said(turn: Turn) -> str:
    """What the user had of it: what was heard, without what a voice left out of that."""
    heard = turn.text if turn.heard is None else turn.heard
    said, at = "", 0
    for start, end in (place for left in turn.withheld for place in left["places"]):
        said += heard[at:start]
        at = end + len(heard[end:]) - len(heard[end:].lstrip())
        if not heard[at:]:
            return said.rstrip()
    return said + heard[at:]
