"""What must hold of every history, whatever happened in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from bargein.protocol.codec import decode_event
from bargein.protocol.ids import NOTHING, SessionId
from bargein.protocol.state import fold
from tests.checker import broken_rules as broken_in_timeline
from tests.checker import check_client_log
from tests.simulation.client import Simulated, Visit
from tests.simulation.commitments import broken_commitments
from tests.simulation.delivery import broken_delivery
from tests.simulation.expiry import broken_expiry
from tests.simulation.hearing import broken_hearing
from tests.simulation.history import History, Life

MOST_EVENTS: Final = 100_000
ABANDON_S: Final = 0.25


def broken_rules(history: History) -> list[str]:
    """Return every rule that *history* broke, in words."""
    return [*_all_broken(history)]


def timelines(history: History) -> dict[str, list[dict[str, Any]]]:
    """Return the stored events of each session, decoded."""
    shelf = history.shelf
    return {
        row.session_id: [
            msgspec.json.decode(stored.frame)
            for stored in shelf.events(row.session_id, NOTHING, MOST_EVENTS)
        ]
        for row in shelf.rows()
    }


def _all_broken(history: History) -> Iterator[str]:
    stored = timelines(history)
    for session_id, events in stored.items():
        frames = history.shelf.events(SessionId(session_id), NOTHING, MOST_EVENTS)
        finished = history.lives[-1].ended and session_id not in history.lives[-1].crashed
        timeline = [decode_event(stored.frame) for stored in frames]
        deeds = history.outside.deeds
        for broken in broken_in_timeline(timeline, finished=finished, deeds=deeds):
            yield f"{session_id[-4:]}: {broken}"
        yield from broken_hearing(history, events)
    for life in history.lives:
        yield from _broken_life(history, life)
    for client in history.clients:
        for visit in client.visits:
            for broken in (*broken_delivery(history, visit, stored), *_broken_log(history, visit)):
                yield f"{visit.wire.name}: {broken}"
        yield from _broken_answers(history, client)
        yield from _lost_acknowledgements(client, stored)
    for session_id, events in stored.items():
        yield from _done_twice(events)
        yield from _forgotten_words(history, session_id, events)
        yield from broken_expiry(history, session_id, events)
    yield from _slow_acks(history, stored)
    yield from broken_commitments(history, stored)


def _broken_log(history: History, visit: Visit) -> list[str]:
    wire = visit.wire
    if not wire.arrived or (wire.closed is not None and len(wire.arrived) <= 1):
        return []
    asked = Counter(body["id"] for body in wire.received if "id" in body)
    return check_client_log(
        [arrival.frame for arrival in wire.arrived],
        cut=wire not in history.lives[visit.life].open_wires,
        resent=[command_id for command_id, count in asked.items() if count > 1],
    )


def _broken_life(history: History, life: Life) -> Iterator[str]:
    number = life.world.life
    if life.raised is not None:
        yield f"life {number} raised {life.raised!r}"
    if life.left_tasks:
        yield f"life {number}: tasks outlived their sessions: {life.left_tasks}"
    if life.tools.early:
        yield f"life {number}: tools saw their calls before the store: {life.tools.early}"
    if not life.world.failing_store and not life.world.dead:
        for entry in life.logs:
            if entry["log_level"] == "error" and entry["event"] != "model.raised":
                yield f"life {number}: {entry!r}"
    if not life.ended:
        return
    for session in life.sessions:
        state = session.state
        if session.id in life.crashed:
            continue
        frames = history.shelf.events(session.id, NOTHING, state.seq)
        if fold(decode_event(stored.frame) for stored in frames) != state:
            yield f"life {number}: the fold of {session.id[-4:]} is not its live state"


# --- commands and their answers ---------------------------------------------------------


def _answers_on(visit: Visit) -> Counter[str]:
    return Counter(
        arrival.body["command_id"]
        for arrival in visit.wire.arrived
        if arrival.body["type"] in ("reply", "error") and arrival.body.get("command_id")
    )


def _broken_answers(history: History, client: Simulated) -> Iterator[str]:
    for visit in client.visits:
        wire = visit.wire
        asked = Counter(body["id"] for body in wire.received if "id" in body)
        answered = _answers_on(visit)
        for command_id, count in answered.items():
            if count > asked[command_id]:
                yield f"{wire.name}: {command_id}: asked {asked[command_id]}, answered {count}"
        if wire not in history.lives[visit.life].open_wires:
            continue
        sent = Counter(s.body["id"] for s in client.sent if s.wire is wire and "id" in s.body)
        if sent != answered:
            yield f"{wire.name}: not answered: {sent - answered}"


def _done_twice(events: list[dict[str, Any]]) -> Iterator[str]:
    ids = Counter(
        event["payload"]["command_id"]
        for event in events
        if event["type"] == "input.text" and event["payload"]["command_id"]
    )
    for command_id, count in ids.items():
        if count > 1:
            yield f"{command_id} was done {count} times"


def _forgotten_words(
    history: History, session_id: str, events: list[dict[str, Any]]
) -> Iterator[str]:
    """Name what waits for a turn while nothing is going on and somebody is there."""
    life = history.lives[-1]
    there = any(
        client.role == "drive" and client.room.session_id == session_id
        for client in history.clients
        if client.visits and client.visits[-1].wire in life.open_wires
    )
    if not there or session_id in life.crashed:
        return
    # At both moments, since one alone may fall between two turns.
    waiting = _waiting(events[: life.settled_seq[session_id]])
    if waiting and waiting == _waiting(events[: life.later_seq[session_id]]):
        yield f"{waiting} wait, and nothing goes on"


def _waiting(events: list[dict[str, Any]]) -> list[str]:
    """Return the turns that wait for a slot which nobody has, or to go on."""
    waiting: list[str] = []
    put_off: set[str] = set()
    busy = False
    for event in events:
        match event["type"]:
            case "input.text" if not event["payload"].get("steered"):
                waiting.append(event["turn_id"])
            case "turn.start" | "input.dropped":
                # Spoken words, and a turn that goes on from another, need not have waited.
                payload = event["payload"]
                put_off.discard(goes_on := payload.get("continues", ""))
                waiting = [turn_id for turn_id in waiting if turn_id != goes_on]
                at_once = payload.get("utterances") or payload.get("continues")
                if not at_once or event["turn_id"] in waiting:
                    waiting.remove(event["turn_id"])
                busy = busy or event["type"] == "turn.start"
            case "turn.trace":
                busy = False
            case "cancel.requested" if event["payload"]["by"] == "preempted":
                put_off.add(event["turn_id"])
            case "cancel.ack" if event["turn_id"] in put_off:
                waiting.append(event["turn_id"])
            case _:
                pass
    return [] if busy else waiting


def _lost_acknowledgements(
    client: Simulated, stored: dict[str, list[dict[str, Any]]]
) -> Iterator[str]:
    """Name what a reply promised and the store does not have."""
    for visit in client.visits:
        session_id = _session_of(visit)
        if session_id is None:
            continue
        events = stored.get(session_id, [])
        words = {
            event["payload"]["command_id"]: event["turn_id"]
            for event in events
            if event["type"] == "input.text"
        }
        for arrival in visit.wire.arrived:
            body = arrival.body
            if body["type"] != "reply":
                continue
            if body["at_seq"] > len(events):
                yield f"{visit.wire.name}: acknowledged at {body['at_seq']}, stored {len(events)}"
            result = body["result"]
            if "outcome" in result and words.get(body["command_id"]) != result["turn_id"]:
                yield f"{visit.wire.name}: {body['command_id']} was acknowledged, and is not there"


def _session_of(visit: Visit) -> SessionId | None:
    for arrival in visit.wire.arrived:
        if arrival.body["type"] == "hello":
            return SessionId(arrival.body["session_id"])
    return None


# --- how long a ladder takes -----------------------------------------------------------


def _slow_acks(history: History, stored: dict[str, list[dict[str, Any]]]) -> Iterator[str]:
    flushed: dict[tuple[str, str, int], float] = {}
    for client in history.clients:
        for visit in client.visits:
            session_id = _session_of(visit)
            for arrival in visit.wire.arrived:
                if arrival.body["type"] == "flush" and session_id is not None:
                    key = (session_id, arrival.body["turn_id"], visit.life)
                    flushed[key] = min(arrival.at_s, flushed.get(key, arrival.at_s))
    for (session_id, turn_id, number), at_s in flushed.items():
        seqs = [
            event["seq"]
            for event in stored.get(session_id, [])
            if event["type"] == "cancel.ack" and event["turn_id"] == turn_id
        ]
        world = history.lives[number].world
        limit_s = ABANDON_S + 2 * world.slowest_commit_s + 0.001
        for seq in seqs:
            crashed = session_id in history.lives[number].crashed
            if crashed or history.life_of(session_id, seq) != number:
                continue  # something else was between
            # What the power cut itself pushed to the disk has no time.
            took_s = world.committed_at_s.get((SessionId(session_id), seq), at_s) - at_s
            if took_s > limit_s:
                yield f"{turn_id}: its ack was stored after {took_s:.3f} s, not {limit_s:.3f} s"
