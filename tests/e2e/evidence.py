"""What must hold of everything that was ever seen, whatever the test was about."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from bargein.protocol.codec import decode_event
from tests.checker import broken_rules, check_client_log
from tests.e2e.client import Client, Frame


def check_timeline(stored: Sequence[bytes], *, finished: bool = False) -> None:
    """Check a whole timeline against the rules; *finished* says that no turn is running."""
    assert broken_rules([decode_event(frame) for frame in stored], finished=finished) == []


def check_client(client: Client, stored: Sequence[bytes]) -> None:
    """Check what a client received: by itself, and against the timeline, byte for byte.

    What it received after the timeline was read is not looked at.
    """
    broken = check_client_log([frame.text for frame in client.frames], cut=True)
    assert [trouble for trouble in broken if not _sent_again(trouble, client.sent_again)] == []
    for frame in client.frames:
        if not frame.is_event or frame.seq > len(stored):
            continue
        if "first_seq" in frame.body:
            check_merged(frame, stored[frame["first_seq"] - 1 : frame.seq])
        else:
            assert frame.text.encode() == stored[frame.seq - 1]


def _sent_again(trouble: str, command_ids: Collection[str]) -> bool:
    return any(
        trouble.startswith(f"one answer for each command: {command_id} ")
        for command_id in command_ids
    )


def check_merged(frame: Frame, parts: Sequence[bytes]) -> None:
    """Check that a merged frame stands for exactly the events that it names."""
    events = [json.loads(part) for part in parts]
    assert {event["type"] for event in events} == {"model.token"}
    assert {event["turn_id"] for event in events} == {frame.turn_id}
    assert frame.payload["text"] == "".join(event["payload"]["text"] for event in events)
    assert frame.payload["n"] == sum(event["payload"]["n"] for event in events)
    assert (frame["event_id"], frame["ts"]) == (events[-1]["event_id"], events[-1]["ts"])
