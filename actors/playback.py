"""What a client reports to have played or shown: the truth boundary of an answer."""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import UNSET

from bargein.actors.clock import Clock
from bargein.actors.phases import RENDER
from bargein.actors.turn import ResponseSlot
from bargein.protocol.commands import ReportPlayback, StartPlayback, StopPlayback
from bargein.protocol.events import Payload, PlaybackProgress, PlaybackStart, PlaybackStop
from bargein.protocol.ids import TurnId
from bargein.protocol.state import SessionState

PlaybackCommand: TypeAlias = StartPlayback | ReportPlayback | StopPlayback


def takes_reports(state: SessionState, slot: ResponseSlot, turn_id: TurnId) -> bool:
    """Whether reports on this turn still count: it is the latest, and was not cancelled."""
    turn = state.turns.get(turn_id)
    if turn is None or turn.start_seq is None or turn.cancelled:
        return False
    if slot.turn is not None:
        return slot.turn.id == turn_id and not slot.turn.interrupted
    return turn_id == state.latest_started


def reports_playback(state: SessionState) -> bool:
    """Whether a client has said in this session which chunk of an answer it plays."""
    spoken = (turn.chunks for turn in state.turns.values())
    return any(chunks is not None and chunks.playing is not None for chunks in spoken)


def playback_event(state: SessionState, command: PlaybackCommand) -> Payload:
    """Return the event of a report; never more than there is to show."""
    turn = state.turns[command.turn_id]
    fields: dict[str, Any] = {}
    if command.chars is not None:
        fields["chars"] = min(command.chars, turn.chars)
    if command.chunk_id is not None:
        fields["chunk_id"] = command.chunk_id
    if command.offset_ms is not None:
        fields["offset_ms"] = command.offset_ms
    match command:
        case StartPlayback():
            return PlaybackStart(command.chunk_id or UNSET, command.words_ms or UNSET)
        case ReportPlayback():
            return PlaybackProgress(**fields)
        case StopPlayback():
            return PlaybackStop("client", **fields)


def note_report(slot: ResponseSlot, clock: Clock, command: PlaybackCommand) -> None:
    """Let the open turn know that its client plays, still plays, or has stopped.

    The end of one chunk is not the end of the answer, while others are to follow.
    """
    if isinstance(command, StartPlayback):
        slot.client_plays = True  # of an answer that is over, too: the next one is waited for
    turn = slot.turn
    if turn is None or turn.id != command.turn_id:
        return
    turn.awaits_playback = False
    turn.reported_s = clock.now_s()
    if command.chars != 0:  # none at all is not said by everybody who plays
        turn.phases.finish(RENDER)
    if isinstance(command, StartPlayback):
        turn.playing = True
        if command.chunk_id == turn.stopped_chunk:
            turn.stopped_chunk = None
    elif isinstance(command, StopPlayback):
        if command.chunk_id is None or turn.last_chunk is None:
            turn.playing = False
        elif command.chunk_id == turn.last_chunk:
            turn.stopped_chunk = turn.last_chunk
    turn.rouse()
