"""A session as long as somebody likes, made of the turns of a real one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from bargein.protocol.ids import Epoch, Seq, SessionId
from bargein.timeline.sqlite import SqliteStore
from bargein.timeline.store import NewSession
from tests.e2e.process import ServerProcess
from tests.timeline.appends import Notes, running

LONG = SessionId("sess_long")
PAGE = 1000
_NUMBER = re.compile(r"[0-9]+$")


def repeated(events: list[dict[str, Any]], count: int) -> Iterator[dict[str, Any]]:
    """Yield the beginning of a session, then its turns again and again, *count* events or more.

    Every seq, id, time and cause is what it would be if all of it had happened.
    """
    first = next(place for place, event in enumerate(events) if event["turn_id"])
    turns = [event for event in events if event["turn_id"]]
    numbers = len({event["turn_id"] for event in turns})
    yield from ({**event, "session_id": LONG} for event in events[:first])
    seqs = {event["seq"]: place for place, event in enumerate(turns)}
    lasted = datetime.fromisoformat(turns[-1]["ts"]) - datetime.fromisoformat(turns[0]["ts"])
    for cycle in range(-(-(count - first) // len(turns))):
        base = first + 1 + cycle * len(turns)
        for place, event in enumerate(turns):
            cause = event["parent_event_id"]
            cause = seqs.get(int(cause.removeprefix("evt_"))) if cause else None
            text = json.dumps(event["payload"])
            yield {
                **event,
                "session_id": LONG,
                "seq": base + place,
                "event_id": f"evt_{base + place}",
                "ts": _stamp(datetime.fromisoformat(event["ts"]) + cycle * lasted),
                "turn_id": _later(event["turn_id"], cycle * numbers),
                "parent_event_id": None if cause is None else f"evt_{base + cause}",
                "payload": json.loads(
                    re.sub(r"turn_[0-9]+", lambda id_: _later(id_[0], cycle * numbers), text)  # noqa: B023 - called at once
                ),
            }


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _later(turn_id: str, by: int) -> str:
    return _NUMBER.sub(lambda number: str(int(number[0]) + by), turn_id)


async def write(server: ServerProcess, session_id: str, count: int) -> int:
    """Put the long session into the store of *server*, which is killed for it and started again."""
    events = [json.loads(text) for text in await server.whole(session_id)]
    await server.kill()
    written = await put(server.database, events, count)
    await server.start()
    return written


async def put(database: Path, events: list[dict[str, Any]], count: int) -> int:
    """Write the long session, made of the session that *events* are, into a store nobody uses."""
    frames = [json.dumps(event).encode() for event in repeated(events, count)]
    opened = NewSession(LONG, "anonymous", None, Epoch("epoch_of_the_long_one"), events[0]["ts"])
    store, notes = SqliteStore(database), Notes()
    async with running(store):
        for start in range(0, len(frames), PAGE):
            page = tuple(frames[start : start + PAGE])
            first, last = start + 1, start + len(page)
            notes.submit(
                store, LONG, first, last, opened=opened if start == 0 else None, frames=page
            )
            await notes.all_answered()
        assert notes.durable[-1] == (LONG, Seq(len(frames))), notes.failed
    return len(frames)
