"""What a client must have got: the exact slice of the timeline, in order, and no earlier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from bargein.protocol.ids import Seq
from tests import contract
from tests.contract import ContractBroken
from tests.simulation.client import Visit
from tests.simulation.history import History

Event = dict[str, Any]


def broken_delivery(
    history: History, visit: Visit, stored: dict[str, list[Event]]
) -> Iterator[str]:
    """Name what is wrong with one connection, compared with the store."""
    wire = visit.wire
    life = history.lives[visit.life]
    if wire.early:
        yield f"events {wire.early} were handed out before the store had them"
    if not wire.arrived:
        if wire in life.open_wires:
            yield "nothing ever came"
        return
    hello = wire.arrived[0].body
    if hello["type"] != "hello":
        # Where the store can't say whether there is such a session.
        if not (wire.closed is not None and hello["type"] == "error"):
            yield f"the first frame is {hello['type']}"
        return
    yield from _broken_greeting(visit, hello)
    events = stored.get(hello["session_id"], [])
    yield from _broken_slice(history, visit, hello, events)
    if wire in life.open_wires:
        reached = max((a.body["seq"] for a in wire.arrived if "event_id" in a.body), default=0)
        settled = life.settled_seq[hello["session_id"]]
        if max(reached, hello["replay_from"] - 1) < settled:
            yield f"it got the events up to {reached} of {settled}"


def _broken_greeting(visit: Visit, hello: Event) -> Iterator[str]:
    upgrade = visit.upgrade
    same = upgrade.epoch in (None, hello["epoch"])
    known = upgrade.session_id is not None and upgrade.after is not None
    resumes = known and same and (upgrade.after or 0) <= hello["replay_to"]
    if hello["resumed"] != resumes:
        yield f"resumed={hello['resumed']} for after={upgrade.after} of {hello['replay_to']}"
    first = (upgrade.after or 0) + 1 if resumes else 1
    if hello["replay_from"] != first:
        yield f"the replay starts at {hello['replay_from']}, not at {first}"


def _broken_slice(
    history: History, visit: Visit, hello: Event, events: list[Event]
) -> Iterator[str]:
    flushed: dict[str, int] = {}
    for arrival in visit.wire.arrived[1:]:
        body = arrival.body
        try:
            contract.check_sent(body)
        except ContractBroken as broken:
            yield str(broken)
        if body["type"] == "live" and body["seq"] != hello["replay_to"]:
            yield f"live {body['seq']}, and the replay goes to {hello['replay_to']}"
        elif body["type"] == "flush":
            flushed.setdefault(body["turn_id"], body["seq"])
        elif "event_id" in body:
            yield from _broken_event(history, hello, arrival.frame, body, events)
            flush = flushed.get(body["turn_id"])
            if flush is None:
                continue
            if body["type"] == "model.token" and body["seq"] >= flush:
                yield f"the token at {body['seq']} was generated after the flush"
            if body["type"] == "cancel.requested" and body["seq"] < flush:
                yield f"cancel.requested {body['seq']} is before its flush"


def _broken_event(
    history: History, hello: Event, frame: bytes, body: Event, events: list[Event]
) -> Iterator[str]:
    seq = body["seq"]
    if seq > len(events):
        yield f"it saw event {seq}, and the store has {len(events)}"
        return
    if "first_seq" not in body:
        kept = history.shelf.events(hello["session_id"], Seq(seq - 1), 1)[0].frame
        if frame != kept:
            yield f"event {seq} is another one than the store's"
        return
    run = events[body["first_seq"] - 1 : seq]
    text = "".join(event["payload"].get("text", "") for event in run)
    turns = {event["turn_id"] for event in run}
    types = {event["type"] for event in run}
    if text != body["payload"]["text"] or len(turns) != 1 or types != {"model.token"}:
        yield f"{body['first_seq']}..{seq} were merged into something else"
    count = sum(event["payload"]["n"] for event in run)
    if count != body["payload"]["n"]:
        yield f"{body['first_seq']}..{seq} hold {count} deltas, not {body['payload']['n']}"
    if msgspec.json.decode(frame)["event_id"] != run[-1]["event_id"]:
        yield f"{body['first_seq']}..{seq} does not bear the name of its last event"
