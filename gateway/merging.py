"""Runs of tokens as one frame, for a client that reads slower than the session speaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bargein.protocol.codec import decode_event, encode_event, session_prefix
from bargein.protocol.events import ModelToken
from bargein.protocol.ids import Seq
from bargein.timeline.log import Entry


def merge_tokens(entries: Sequence[Entry]) -> Iterator[tuple[Seq, bytes]]:
    """Return each frame to send and the seq it reaches to; tokens of a run are one frame.

    A merged frame has a `first_seq` and stands for all of `first_seq`..`seq`.  It
    never crosses a turn or another event.
    """
    run: list[Entry] = []
    for entry in entries:
        if run and (entry.token is None or entry.turn_id != run[0].turn_id):
            yield _merged(run)
            run = []
        if entry.token is None:
            yield entry.seq, entry.frame
        else:
            run.append(entry)
    if run:
        yield _merged(run)


def _merged(run: Sequence[Entry]) -> tuple[Seq, bytes]:
    last = run[-1]
    if len(run) == 1:
        return last.seq, last.frame
    event = decode_event(last.frame)
    tokens = [entry.token for entry in run if entry.token is not None]
    token = ModelToken("".join(t.text for t in tokens), sum(t.n for t in tokens))
    prefix = b'%b"first_seq":%d,' % (session_prefix(event.session_id), run[0].seq)
    frame = encode_event(
        prefix, event.seq, event.ts.encode(), event.turn_id, event.parent_event_id, token
    )
    return last.seq, frame
