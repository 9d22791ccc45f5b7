"""What has to hold of every conversation, whatever it was about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from bargein.testing.checker import broken_rules
from bargein.testing.received import check_client_log
from bargein.testing.wire import Wire
from bargein.testing.world import World


def broken_in(world: World) -> list[str]:
    """Return a sentence for each rule that a run broke."""
    return [*_broken(world)]


def _broken(world: World) -> Iterator[str]:
    for session_id, timeline in world.timelines.items():
        events = [fact.event for fact in timeline]
        deeds = world.ledger.of(timeline)
        for broken in broken_rules(events, finished=not world.left_over, deeds=deeds):
            yield f"{session_id[-4:]}: {broken}"
    for user in world.users:
        for wire in user.wires:
            for broken in _broken_wire(world, wire):
                yield f"{wire.name}: {broken}"
    if world.left_over:
        yield "I35: sessions or connections stay though everybody has left"
    for entry in world.logs:
        if entry["event"] == "session.crashed" and not world.store_failed:
            yield f"I36: a session crashed: {entry}"


def _broken_wire(world: World, wire: Wire) -> Iterator[str]:
    if wire.early:
        yield f"I2: events {wire.early} were handed out before the store had them"
    if not wire.arrived or wire.arrived[0].body["type"] != "hello":
        return  # it was cut, or turned away, before it was greeted
    asked = Counter(body["id"] for body in wire.received if "id" in body)
    resent = [command_id for command_id, count in asked.items() if count > 1]
    frames = [arrival.frame for arrival in wire.arrived]
    yield from check_client_log(frames, cut=True, resent=resent)
    stored = world.frames_of(wire.arrived[0].body["session_id"])
    for arrival in wire.arrived:
        yield from _broken_frame(arrival.frame, arrival.body, stored)


def _broken_frame(frame: bytes, body: dict[str, Any], stored: list[bytes]) -> Iterator[str]:
    if body["type"] == "reply" and "event_id" not in body and body["at_seq"] > len(stored):
        yield f"I33: acknowledged at {body['at_seq']}, and stored are {len(stored)}"
    if "event_id" not in body:
        return
    if body["seq"] > len(stored):
        yield f"I33: it saw event {body['seq']}, and stored are {len(stored)}"
    elif "first_seq" not in body and frame != stored[body["seq"] - 1]:
        yield f"I3: event {body['seq']} is another one than the store's"
