"""Runs of tokens as one frame, for a client that reads slower than the session speaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen

from bargein.protocol.codec import decode_event, encode_event, session_prefix
from bargein.protocol.events import Event, ModelToken
from bargein.protocol.ids import Seq

_MAY_BE_TOKEN: Final = b'"type":"model.token"'


@frozen(eq=False)
class _Spoken:
    """A token as it stands on the timeline."""

    seq: Seq
    frame: bytes
    event: Event
    token: ModelToken


def merge_tokens(first: int, frames: Sequence[bytes]) -> Iterator[tuple[Seq, bytes]]:
    """Return each frame to send and the seq it reaches to; tokens of a run are one frame.

    *first* is the seq of the first of *frames*.  A merged frame has a `first_seq` and stands
    for all of `first_seq`..`seq`.  It never crosses a turn or another event.
    """
    run: list[_Spoken] = []
    for seq, frame in enumerate(frames, first):
        spoken = _spoken(Seq(seq), frame)
        if run and (spoken is None or spoken.event.turn_id != run[0].event.turn_id):
            yield _merged(run)
            run = []
        if spoken is None:
            yield Seq(seq), frame
        else:
            run.append(spoken)
    if run:
        yield _merged(run)


def _spoken(seq: Seq, frame: bytes) -> _Spoken | None:
    # Only who lags pays for this; nothing else is kept of an event than its frame.
    if _MAY_BE_TOKEN not in frame:
        return None
    event = decode_event(frame)
    token = event.payload
    return _Spoken(seq, frame, event, token) if isinstance(token, ModelToken) else None


def _merged(run: Sequence[_Spoken]) -> tuple[Seq, bytes]:
    last = run[-1]
    if len(run) == 1:
        return last.seq, last.frame
    event = last.event
    token = ModelToken(
        "".join(spoken.token.text for spoken in run), sum(spoken.token.n for spoken in run)
    )
    prefix = b'%b"first_seq":%d,' % (session_prefix(event.session_id), run[0].seq)
    frame = encode_event(
        prefix, event.seq, event.ts.encode(), event.turn_id, event.parent_event_id, token
    )
    return last.seq, frame
