"""A page of a session's events: how SQLite gathers it, and how it is checked."""

from __future__ import annotations

import json
from typing import Any, Final

from bargein.protocol.ids import Seq, SessionId
from bargein.timeline.checksum import event_crc, session_crc
from bargein.timeline.journal import COLUMNS
from bargein.timeline.store import Stored, TimelineCorrupt

# The sizes are summed up first, without the frames, to see how many of them fit.
# The last column is the end of the timeline, where the page reaches it.
# Whatever a damaged row holds (NULL, a text, a float) must not upset the statement:
# `quote` and the casts turn everything into something that can be compared.
PAGE: Final = """
WITH upcoming (fitting, present, top) AS (
    SELECT count(*) FILTER (WHERE through <= ?4), count(*), max(seq) FROM (
        SELECT seq, sum(size) OVER (ORDER BY seq) AS through FROM (
            SELECT seq, length(frame) AS size FROM events
            WHERE session = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3
        )
    )
)
SELECT CAST(group_concat(frame, '') AS BLOB),
    json_group_array(quote(seq)),
    json_group_array(length(CAST(frame AS BLOB))),
    json_group_array(quote(crc)),
    CASE WHEN (SELECT present FROM upcoming) < ?3
        THEN coalesce((SELECT top FROM upcoming), ?2) END
FROM (
    SELECT seq, frame, crc FROM events WHERE session = ?1 AND seq > ?2
    ORDER BY seq LIMIT max(1, (SELECT fitting FROM upcoming))
)
"""


def checked_page(session_id: SessionId, first: Seq, page: list[Any]) -> list[Stored]:
    """Return the events of a page that begins with *first*, from the columns of `PAGE`.

    Raises:
        TimelineCorrupt: If one is damaged or missing.
    """
    joined, seqs, sizes, crcs = page
    shared = session_crc(session_id)
    events: list[Stored] = []
    start = 0
    columns = zip(json.loads(seqs), json.loads(sizes), json.loads(crcs), strict=True)
    for expected, (seq, size, crc) in enumerate(columns, first):
        if seq != str(expected) or size is None:
            raise TimelineCorrupt(session_id, Seq(expected))
        frame = joined[start : start + size]
        start += size
        if crc != str(event_crc(shared, expected, frame)):
            raise TimelineCorrupt(session_id, Seq(expected))
        events.append(Stored(Seq(expected), frame))
    return events


def continued(
    session_id: SessionId,
    page: list[Stored],
    after: Seq,
    late: list[Any],
    *,
    limit: int,
    most_bytes: int,
) -> None:
    """Add to *page*, read behind *after*, what follows it of the journal's rows *late*.

    Raises:
        TimelineCorrupt: If an event of those is damaged or missing.
    """
    shared, next_seq = session_crc(session_id), (page[-1].seq if page else after) + 1
    left_bytes = most_bytes - sum(len(event.frame) for event in page)
    for start in range(0, len(late), COLUMNS):
        _, seq, frame, crc = late[start : start + COLUMNS]
        if seq > next_seq and not page:  # a page that is not empty may have been cut
            raise TimelineCorrupt(session_id, Seq(next_seq))
        if seq != next_seq:
            continue
        left_bytes -= len(frame)
        if len(page) >= limit or (page and left_bytes < 0):
            break
        if crc != event_crc(shared, seq, frame):
            raise TimelineCorrupt(session_id, Seq(seq))
        page.append(Stored(Seq(seq), frame))
        next_seq += 1
