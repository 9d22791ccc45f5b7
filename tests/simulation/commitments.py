"""Who decided what, when, and what they were told: actions, as the clients saw them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from attrs import frozen

from tests.simulation.client import Simulated, Visit
from tests.simulation.decisions import UNKNOWN, fits
from tests.simulation.history import History
from tests.simulation.tools import BUDGET, CARD, NEED_NOBODY, REVERTIBLE

Event = dict[str, Any]
Stored = dict[str, list[Event]]

POLICY: Final = "policy"
MAY_COMMIT_ALONE: Final = ("rent",)
BY_THE_SERVER: Final = ("interrupted", "unauthorized", "closed")

_DECIDES: Final = {
    "confirm": ("action.confirmed", "action.committed", "action.reverted"),
    "reject": ("action.rejected", "action.failed", "action.revert_failed"),
    "revert": ("action.reverting",),
}
"""What a command leaves where it was obeyed."""


@frozen
class _Asked:
    """A command that a client's connection handed to the server."""

    body: Event
    driver: bool


def broken_commitments(history: History, stored: Stored) -> Iterator[str]:
    """Name what was decided by nobody, done too often, told wrongly, or shown to anybody."""
    for key, _ in history.outside.starts:
        if key.split(":")[1] not in stored:
            yield f"I22: {key!r} was started, and its session was never stored"
    yield from _repeated(history)
    for session_id, events in stored.items():
        yield from _decided_by_nobody(history, session_id, events)
        yield from _left(history, session_id, events)
    for client in history.clients:
        for visit in client.visits:
            for broken in _broken_answers(visit, client, stored):
                yield f"{visit.wire.name}: {broken}"
    yield from _shown_secrets(history)


def _shown_secrets(history: History) -> Iterator[str]:
    for client in history.clients:
        for visit in client.visits:
            for arrival in visit.wire.arrived:
                body = arrival.body
                # An agent without this tool can't know which of its arguments are secret.
                guessed = body["type"] == "tool.call" and body["payload"]["effect"] == "read"
                if CARD.encode() in arrival.frame and not guessed:
                    yield f"I46: {visit.wire.name} was shown a secret in {body['type']}"
    if any(CARD in str(life.logs) for life in history.lives):
        yield "I46: a secret argument was logged"


def _repeated(history: History) -> Iterator[str]:
    """Name keys that one process started more than once, though it never lost its memory."""
    for (key, number), count in history.outside.starts.items():
        session_id = key.split(":")[1]
        if history.lives[number].world.failing_store:
            continue  # its faults end sessions and wake them, seen by nobody
        woken = sum(session.id == session_id for session in history.lives[number].sessions)
        if count > max(1, woken):
            yield f"I21: {key!r} was started {count} times in one life"


# --- who decided -------------------------------------------------------------------------


def asked_of(history: History, session_id: str) -> list[_Asked]:
    """Return every command that reached a session, whoever sent it."""
    return [
        _Asked(body, client.role == "drive")
        for client in history.clients
        for visit in client.visits
        if session_of(visit) == session_id
        for body in visit.wire.received
    ]


def session_of(visit: Visit) -> str | None:
    """Return the session that a connection was greeted with."""
    hellos = (a.body["session_id"] for a in visit.wire.arrived if a.body["type"] == "hello")
    return next(hellos, None)


def _decided_by_nobody(history: History, session_id: str, events: list[Event]) -> Iterator[str]:
    asked = [a.body for a in asked_of(history, session_id) if a.driver]
    proposals = {
        event["payload"]["action_id"]: event["payload"]
        for event in events
        if event["type"] == "action.proposed"
    }
    alone: Counter[str] = Counter()
    for event in events:
        payload = event["payload"]
        by = payload.get("by") if event["type"].startswith("action.") else None
        if by is None:
            continue
        proposal = proposals[payload["action_id"]]
        name = f"{event['type']} of {payload['action_id']}"
        if by == POLICY:
            alone[proposal["action"]] += 1
            if proposal["action"] not in NEED_NOBODY:
                yield f"I24: {name} is by policy, and {proposal['action']} needs a person"
        elif not any(_asks_for(body, event, proposal) for body in asked):
            yield f"I24: {name} is by {by}, and nobody asked for it"
    for action in MAY_COMMIT_ALONE:
        if alone[action] > BUDGET:
            yield f"I49: a policy confirmed {action} {alone[action]} times"


def _asks_for(body: Event, event: Event, proposal: Event) -> bool:
    """Whether a command is one that may have left this event."""
    kind = body["type"]
    if event["type"] not in _DECIDES.get(kind, ()):
        return False
    if kind == "revert":
        return body["action_id"] == proposal["action_id"]
    edited = event["payload"].get("args")
    given = body.get("args")
    if event["type"] == "action.confirmed" and edited is not None and given is not None:
        return edited == {**given, **({"card": "[secret]"} if "card" in given else {})}
    named: bool = body["confirmation_id"] == proposal["confirmation_id"]
    return named and (event["type"] != "action.confirmed" or (given is None) == (edited is None))


def _left(history: History, session_id: str, events: list[Event]) -> Iterator[str]:
    """Name proposals that still wait, though the last process ended in peace."""
    life = history.lives[-1]
    if not life.ended or life.script.drains or session_id in life.crashed:
        return
    open_now: set[str] = set()
    for event in events:
        if event["type"] == "action.proposed":
            open_now.add(event["payload"]["action_id"])
        elif event["type"].startswith("action."):
            open_now.discard(event["payload"]["action_id"])
    if open_now:
        yield f"{session_id[-4:]}: {sorted(open_now)} wait for ever"


# --- what they were told ------------------------------------------------------------------


def _broken_answers(visit: Visit, client: Simulated, stored: Stored) -> Iterator[str]:
    session_id = session_of(visit)
    events = stored.get(session_id or "", [])
    bodies = {body["id"]: body for body in visit.wire.received if "id" in body}
    other = {body["id"] for body in visit.wire.received if "note" in body and "id" in body}
    for arrival in visit.wire.arrived:
        answer = arrival.body
        body = bodies.get(answer.get("command_id"))
        if body is None or answer["type"] not in ("reply", "error"):
            continue
        if body["type"] == "interrupt" and answer["type"] == "reply":
            yield from _broken_interrupt(answer["result"], events)
        if body["type"] not in _DECIDES:
            continue
        if _code_of(answer) == "duplicate" and body["id"] in other:
            continue
        if answer["type"] == "reply":
            yield from _broken_reply(client, body, answer, events)
        else:
            yield from _broken_refusal(client, body, answer["error"], events)


def _code_of(answer: Event) -> str | None:
    return answer["error"]["code"] if answer["type"] == "error" else None


def _broken_interrupt(result: Event, events: list[Event]) -> Iterator[str]:
    acks = [event for event in events if event["seq"] == result.get("ack_seq")]
    for ack in acks:
        if result["still_committing"] != ack["payload"]["still_committing"]:
            told, written = result["still_committing"], ack["payload"]["still_committing"]
            yield f"I25: an interrupt was answered with {told}, and the ack has {written}"


def _broken_reply(
    client: Simulated, body: Event, answer: Event, events: list[Event]
) -> Iterator[str]:
    kind, result = body["type"], answer["result"]
    if client.role == "watch":
        yield f"I27: a watcher's {kind} was obeyed"
    of_it = [event for event in events if event["payload"].get("action_id") == result["action_id"]]
    proposal = next((e["payload"] for e in of_it if e["type"] == "action.proposed"), None)
    if proposal is None:
        yield f"I27: {kind} was answered with {result}, which was never proposed"
        return
    named = body.get("confirmation_id", proposal["confirmation_id"])
    if (named, body.get("action_id", result["action_id"])) != (
        proposal["confirmation_id"],
        result["action_id"],
    ):
        yield f"I27: {body} was answered with {result}"
    done = [e for e in of_it if e["type"] in _DECIDES[kind] and e["seq"] <= answer["at_seq"]]
    # The ladder that runs rejects what a person rejects as well.
    if not done and kind == "reject":
        done = [e for e in of_it if e["type"] == "action.rejected"]
    if not done:
        yield f"I33: {kind} was answered with {result} at {answer['at_seq']}, and left no trace"


def _broken_refusal(
    client: Simulated, body: Event, error: Event, events: list[Event]
) -> Iterator[str]:
    code, kind = error["code"], body["type"]
    named = str(body.get("confirmation_id") or body["action_id"])
    proposal = next(
        (
            event["payload"]
            for event in events
            if event["type"] == "action.proposed"
            and named in (event["payload"]["confirmation_id"], event["payload"]["action_id"])
        ),
        None,
    )
    became = [
        event["type"].removeprefix("action.")
        for event in events
        if proposal and event["payload"].get("action_id") == proposal["action_id"]
    ]
    match code:
        case "forbidden":
            fine = client.role == "watch"
        case "not_found":
            fine = named.endswith(UNKNOWN)
        case "expired":
            fine = "expired" in became and kind != "revert"
        case "stale" if kind == "revert":
            fine = True  # whatever it was then: only `committed` is reverted
        case "stale":
            fine = len(became) > 1
        case "invalid_command" if kind == "revert":
            fine = proposal is not None and proposal["action"] not in REVERTIBLE
        case "invalid_command":
            args = body.get("args")
            wrong = args is not None and not (proposal and fits(proposal["action"], args))
            fine = wrong and str(error["param"]).startswith("args")
        case _:
            fine = code in ("overloaded", "store_unavailable", "rate_limited", "internal")
    if not fine:
        yield f"{kind} of {named} was refused as {code} ({error['message']}), and it is {became}"
