"""What each field of the protocol means, in one sentence, for `/protocol.json`.

A class may say it itself, under `Attributes:`; that comes first.  Then what stands here for the
field of that class, then what stands here for all fields of the name.
"""

from __future__ import annotations

from typing import Any, Final

WORDING: Final[dict[str, str]] = {
    # --- the envelope of an event --------------------------------------------------------
    "Event.session_id": "The session that this is a fact of.",
    "Event.seq": "Its place on the timeline: from 1, without gaps, the order of everything.",
    "Event.event_id": "Unique within the session; a frame that has one is an event.",
    "Event.ts": "When it was written: UTC with milliseconds; never runs backwards.",
    "Event.type": "Which event this is.",
    "Event.turn_id": "The turn that it belongs to; null outside a turn.",
    "Event.parent_event_id": "The event that caused this one; null for roots.",
    "Event.payload": "What this event says.",
    "Event.first_seq": "Where tokens were merged: the first seq that this frame stands for.",
    # --- ids -----------------------------------------------------------------------------
    "type": "What kind of frame this is.",
    "id": "The client's own name for this command: it is done once, and its answer names it.",
    "session_id": "The session that this connection is attached to.",
    "turn_id": "The turn that this is about.",
    "Interrupt.turn_id": "Stop that turn only; without it, the one that runs.",
    "SessionView.turn_id": "The turn that is open; null where none is.",
    "PlanView.turn_id": "The turn that made the plan; null where there is none.",
    "command_id": "The `id` of the command that led to this.",
    "Reply.command_id": "The `id` of the command; null where it had none.",
    "Refused.command_id": "The `id` of the command; null where there was none to read.",
    "InputText.command_id": "The `id` of the command that brought the words; null without one.",
    "InputDropped.command_id": "The `id` of the command that brought the words, or that gave the "
    "turn up; null without one.",
    "call_id": "One call of a tool, as the model named it; its result has the same.",
    "action_id": "The action that this is about.",
    "confirmation_id": "What `confirm` and `reject` name.",
    "utterance_id": "The client's own name for one stretch of speech.",
    "SpokenInput.revision": "Which transcript of it is answered.",
    "Unanswered.text": "What was understood so far.",
    "Unanswered.final": "Whether the recogniser has said its last word.",
    "chunk_id": "The chunk of speech that this is about.",
    "Step.id": "Names the step within its plan.",
    "PlanStep.id": "The step of the plan that changed.",
    # --- what people and models said -------------------------------------------------------
    "Say.text": "The words; may be empty only with `resume`.",
    "text": "The words.",
    "ModelToken.text": "What was generated since the last such event of the turn.",
    "ModelToken.n": "How many deltas of the model travel in this event.",
    "ResponseEnd.text": "All that was generated in this turn.",
    "CancelStage.text": "All that was generated; of the rung `transcript`.",
    "CancelStage.heard": "What of it the user had heard or seen; of the rung `transcript`.",
    "Status.text": "The line.",
    "ToolProgress.text": "How far the tool is, in words.",
    "heard": "What of the running turn was really played or shown.",
    "chars": "Unicode code points of the turn's text, from its beginning.",
    "offset_ms": "Milliseconds from the beginning of the chunk.",
    "revision": "Counts the versions of a transcript; a later one replaces the earlier.",
    "confidence": "How sure the recogniser is, from 0 to 1.",
    "when_busy": "What is done while a turn is running.",
    "resume": "The token of a failed turn, which these words take up again.",
    "queue": "What an interrupt does with words that wait.",
    # --- commands --------------------------------------------------------------------------
    "Interrupt.reason": "Why, in the client's words; `cause` of the cancel.",
    "Confirm.args": "Arguments that replace all of the proposed ones.",
    "Confirm.reason": "Why, for people who read the timeline.",
    "Reject.reason": "Why, for people who read the timeline.",
    "index": "The chunk's number within its utterance, from 0.",
    "format": "How the sound is encoded.",
    "SendAudio.data": "The sound, in base64.",
    "Configure.voice": "Whether the session is a spoken one.",
    "Configure.on_disconnect": "What becomes of a turn when no driver is attached any more.",
    "Configure.agent": "Who answers from the next turn on.",
    "Ack.seq": "The last event that was received.",
    "History.after": "The page begins behind this seq.",
    "limit": "At most so many events.",
    "Project.name": "Which view.",
    "token": "A signed JWT of the same principal.",
    "Ping.nonce": "Comes back with the `pong`.",
    "Pong.nonce": "That of the `ping`.",
    # --- connection frames -----------------------------------------------------------------
    "protocol": "The subprotocol that is spoken.",
    "server": "The server's name and version.",
    "epoch": "Names this history of the session; a resume hands it in with `after`.",
    "resumed": "Whether the replay is exactly what the client misses.",
    "replay_from": "The first seq of the replay.",
    "replay_to": "The last seq of the replay; one less than `replay_from` where there is none.",
    "heartbeat_s": "Seconds between two pings of the server.",
    "limits": "What the server takes and keeps.",
    "you": "Who the server takes this client for.",
    "principal": "Whose sessions these are: the token's `sub`.",
    "tier": "Which quotas hold.",
    "You.role": "What this connection may do.",
    "Live.seq": "The client has every event up to this one.",
    "CaughtUp.seq": "The client has every event up to this one.",
    "Flush.seq": "`cancel.requested` has this seq or a later one.",
    "Reply.result": "What came of it; what is in it depends on the command.",
    "at_seq": "The events up to this one are out already.",
    "Refused.error": "What is wrong, and what to do about it.",
    "code": "The error's code.",
    "message": "What is wrong, in a sentence that tells a person what to do.",
    "retryable": "Whether the same may succeed later, unchanged.",
    "param": "Where in the command it is wrong, or what is used up.",
    "server_ts": "The server's clock: UTC with milliseconds.",
    "behind": "How many events the client is behind.",
    "GoAway.reason": "Why the connection is going to be closed.",
    "reconnect_after_ms": "When the next connection is welcome, in ms.",
    # --- the session -----------------------------------------------------------------------
    "agent": "The agent that is at work, by its name.",
    "SessionOpened.agent": "The agent that answers.",
    "SessionView.agent": "The agent that answers.",
    "config": "The session's settings.",
    "resumed_from": "The session that this one goes on from.",
    "role": "What that client may do.",
    "connections": "How many clients are attached.",
    "title": "A short name, for people.",
    "SessionClosed.reason": "Why.",
    # --- input -----------------------------------------------------------------------------
    "AudioReceived.bytes": "Size of the chunk in bytes.",
    "AudioReceived.digest": "SHA-256 of the sound, in hexadecimal.",
    "AudioReceived.gap": "Chunks before this one are missing.",
    "InputDropped.reason": "Why they are not answered.",
    "continues": "A failed or pre-empted turn that is taken up again.",
    "InputDropped.continues": "A pre-empted turn that will not go on, in an event of no turn.",
    "InputDropped.utterances": "Spoken words that were refused, in an event of no turn.",
    "suspended": "A pre-empted turn that goes on when there is a model slot; not there without.",
    "retry_after_ms": "When the same command is likely to be taken, where the server knows.",
    # --- thinking --------------------------------------------------------------------------
    "steps": "The steps of the plan, in order.",
    "Step.agent": "Who does it.",
    "Step.state": "How far it is.",
    "Step.group": "Neighbours with the same number are done at the same time.",
    "PlanStep.state": "How far it is now.",
    "GuardrailPassed.name": "The guardrail.",
    "GuardrailTripped.name": "The guardrail.",
    "GuardrailTripped.reason": "Why, for the user.",
    "stage": "The step of the plan that the stage does.",
    "StageEnd.status": "How it ended.",
    "RetrieveStart.query": "What is looked for.",
    "sources": "What was found.",
    "ModelStart.model": "The model, by the vendor's name.",
    "ModelStart.agent": "Who asks: an agent, `planner`, `titler` or `guardrail:` and a name.",
    "ModelEnd.agent": "Who had asked, as in `model.start`.",
    "stop_reason": "Why the model stopped: in the vendor's word, or `cancelled`, or `error`.",
    "usage": "What it cost.",
    "input_tokens": "Tokens that the model read.",
    "output_tokens": "Tokens that the model wrote.",
    "estimated": "The vendor did not say; this is the server's own count.",
    "attempt": "Which attempt this is.",
    "after_ms": "How long to wait, in ms.",
    "ModelRetry.cause": "What had gone wrong.",
    "from": "The model that failed.",
    "to": "The model that takes over.",
    "tool": "The tool's name.",
    "ToolCall.args": "With which arguments; secret ones are hidden.",
    "effect": "`read` changes nothing, `idempotent` may be repeated, `side_effect` needs a person.",
    "ToolResult.status": "How the call ended.",
    "ToolResult.result": "What the tool returned, or why it did not.",
    "fraction": "How far the tool is, from 0 to 1.",
    "RecoveryStart.kind": "What is being healed.",
    "RecoveryEnd.kind": "What was being healed.",
    "RecoveryEnd.outcome": "What came of it.",
    "Object.kind": "What `data` is; clients leave aside what they don't know.",
    "Object.data": "The content itself.",
    "MemorySaved.key": "Names the fact.",
    # --- output ----------------------------------------------------------------------------
    "commitment": "Whether it claims anything, or only leads there.",
    "PlaybackPaused.cause": "Why it holds.",
    "PlaybackResumed.cause": "Why it goes on.",
    "PlaybackStop.by": "Who ended it.",
    "ResponseEnd.status": "How the turn ended.",
    # --- cancellation ----------------------------------------------------------------------
    "CancelRequested.by": "Who, or what, asked for it.",
    "CancelRequested.cause": "Why.",
    "in_flight": "What ran at that moment.",
    "InFlight.model": "Whether a model was at work.",
    "InFlight.tools": "Calls of tools that ran.",
    "InFlight.actions": "Actions that were not over.",
    "InFlight.playing": "The chunk of speech that was being played.",
    "target": "The rung: `transcript`, `model`, or `tool:` and a call's id.",
    "CancelStage.outcome": "What became of it.",
    "CancelStage.ms": "How long that took since the request, in ms.",
    "took_ms": "From the request to this event, in ms.",
    "stopped": "The rungs that stopped in time.",
    "still_committing": "Actions that are left to finish; their outcome follows.",
    "tokens": "How much was generated, and how much of it delivered.",
    "TokenCount.generated": "Deltas that the model made.",
    "TokenCount.delivered": "Deltas that a client was sent.",
    # --- actions ---------------------------------------------------------------------------
    "action": "What is to be done: the tool's name.",
    "summary": "What is to be done, in words; the server renders it from the arguments.",
    "expires_at": "Until when it can be confirmed: UTC with milliseconds.",
    "idempotency_key": "What the tool knows this attempt by: the same key, the same deed.",
    "ActionConfirmed.args": "The arguments, where they were edited.",
    "by": "Who decided: a principal, or `policy`.",
    "ActionRejected.reason": "Why not.",
    "result": "What came of it.",
    "error": "Why it was not done.",
    "ActionFailed.error": "Why it was not done.",
    # --- faults and traces -------------------------------------------------------------------
    "layer": "Where it happened.",
    "recover": "How to go on.",
    "resume_token": "What `say` hands in as `resume` to take the turn up again.",
    "Recover.done": "What of the turn is done already.",
    "spans": "Where the time went.",
    "total_ms": "The whole turn, in ms.",
    "Span.name": "What the time went into.",
    "start_ms": "From the beginning of the turn, in ms.",
    "ms": "How long it took, in ms.",
    "Span.parent": "The span that this one is part of; without one, it is part of the turn.",
    # --- views -----------------------------------------------------------------------------
    "Transcript.turns": "The turns, oldest first.",
    "Latency.turns": "The latest turns, oldest first.",
    "SessionView.turns": "How many turns there were.",
    "seq": "The view is true at this event.",
    "earlier": "How many older ones are left out.",
    "Transcript.title": "The conversation's title; null while it has none.",
    "SessionView.title": "The conversation's title; null while it has none.",
    "SessionView.state": "Whether a turn is open, or the session is over.",
    "SessionView.queued": "Turns whose words wait.",
    "opened_at": "UTC with milliseconds.",
    "user": "What the user said.",
    "Exchange.status": "How the turn stands, or ended.",
    "Exchange.interrupted": "It was cut short.",
    "Exchange.rolled_back": "The model never sees this turn again.",
    "TurnLatency.status": "How the turn ended.",
    "cancel_ms": "How long its cancel took in ms; null where nobody asked for one.",
    "Actions.actions": "The actions.",
}
"""By `Class.field`, or by `field` for every class that says nothing else of it."""


def sentence_of(kind: type[Any] | str, field: str) -> str | None:
    """Return what a field means; None where nobody says it.

    Args:
        kind: The class, or its name where it has nothing to say itself.
        field: By its name on the wire.
    """
    name = kind if isinstance(kind, str) else kind.__name__
    own = {} if isinstance(kind, str) else _attributes_of(kind)
    return own.get(field) or WORDING.get(f"{name}.{field}") or WORDING.get(field)


def _attributes_of(kind: type[Any]) -> dict[str, str]:
    """Return what a class's docstring says under `Attributes:`, each in one line."""
    told: dict[str, str] = {}
    name = ""
    for line in (kind.__doc__ or "").partition("Attributes:\n")[2].splitlines():
        words = line.strip()
        if not words:
            break
        label, colon, rest = words.partition(": ")
        if colon and label.isidentifier() and line.startswith(" " * 8) and line[8] != " ":
            name = label.rstrip("_")
            told[name] = rest
        else:
            told[name] = f"{told[name]} {words}"
    return told
