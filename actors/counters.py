"""What a session counts, for the operator: see `/metrics`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

RECOVERIES: Final = Counter(
    "bargein_recoveries_total", "Failures that were healed within a turn, by kind.", ["kind"]
)

OVERRUNS: Final = Counter(
    "bargein_budgets_exceeded_total",
    "Turns that took longer than their budget, by which.",
    ["budget"],
)

SPECULATIONS: Final = Counter(
    "bargein_speculations_total",
    "Answers that were begun before the user's words were final: used, or thrown away.",
    ["outcome"],
)

SPECULATED_TOKENS: Final = Counter(
    "bargein_speculated_tokens_total",
    "Tokens of those that were thrown away; no timeline has them, quotas count them.",
)

SHAPING_FAILED: Final = Counter(
    "bargein_shaping_failed_total", "Events that a phase could not shape.", ["phase"]
)

SESSIONS_OPENED: Final = Counter("bargein_sessions_opened_total", "Sessions that were begun.")

SESSIONS_CLOSED: Final = Counter("bargein_sessions_closed_total", "Sessions that ended for good.")

SESSIONS_REVIVED: Final = Counter(
    "bargein_sessions_revived_total", "Sessions that came back into memory from their timelines."
)

SESSIONS_HIBERNATED: Final = Counter(
    "bargein_sessions_hibernated_total", "Sessions that left memory, to come back when needed."
)

SESSIONS_CRASHED: Final = Counter(
    "bargein_sessions_crashed_total",
    "Sessions that an error of ours or of the store has thrown out of memory.",
)

TURNS: Final = Counter(
    "bargein_turns_total",
    "Turns that are over, by outcome: completed, cancelled, failed, refused.",
    ["outcome"],
)

TURN_SECONDS: Final = Histogram(
    "bargein_turn_seconds",
    "From the user's words to the end of the turn, without its waits in a queue or for playing.",
    ["outcome"],
    buckets=(0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60, 120, 300),
)

FIRST_TOKEN_SECONDS: Final = Histogram(
    "bargein_first_token_seconds",
    "From the user's words to the first words of the model, without waiting in a queue.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 30),
)

INTERRUPTS: Final = Counter(
    "bargein_interrupts_total",
    "Turns that were interrupted, by whom, what with, and whether all of it stopped (clean), "
    "something did not in time (abandoned), or an action was left to finish (committing).",
    ["by", "cause", "outcome"],
)

ACK_SECONDS: Final = Histogram(
    "bargein_interrupt_ack_seconds",
    "From an interrupt until all of the turn had stopped and its cancel.ack was written.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)

FLUSH_SECONDS: Final = Histogram(
    "bargein_interrupt_flush_seconds",
    "From an interrupt until every connection of the session had the flush.",
    buckets=(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
)

GHOST_TOKENS: Final = Counter(
    "bargein_ghost_tokens_total",
    "Tokens of a turn that are on its timeline behind its cancel.requested: has to stay 0.",
)

GATE_DROPPED: Final = Counter(
    "bargein_gate_dropped_tokens_total",
    "Tokens that came of a turn already interrupted, and were dropped before its timeline.",
)

TOKENS_GENERATED: Final = Counter(
    "bargein_tokens_generated_total", "Pieces of text that models have sent, of turns now over."
)

TOKENS_DELIVERED: Final = Counter(
    "bargein_tokens_delivered_total",
    "Of these, how many were sent on; of an interrupted turn, how many had reached a client.",
)

TOKENS_SAVED: Final = Counter(
    "bargein_tokens_saved_total",
    "Spared by interrupts: mean length of an agent's completed answers less what was generated.",
)

MODEL_CALLS: Final = Counter(
    "bargein_model_calls_total",
    "Calls of models that are over, by how they stopped.",
    ["model", "outcome"],
)

MODEL_TOKENS: Final = Counter(
    "bargein_model_tokens_total",
    "Tokens as the models' vendors count them, by direction: input, output.",
    ["model", "direction"],
)

MODEL_RETRIES: Final = Counter(
    "bargein_model_retries_total", "Calls of models that failed and were made again."
)

MODEL_FALLBACKS: Final = Counter(
    "bargein_model_fallbacks_total", "Calls that another model has taken over, by which.", ["model"]
)

TOOL_RESULTS: Final = Counter(
    "bargein_tool_results_total",
    "Calls of tools that are over, by status as in tool.result.",
    ["tool", "status"],
)

TOOL_SECONDS: Final = Histogram(
    "bargein_tool_seconds",
    "How long calls of tools took, by status as in tool.result, without waiting for their place.",
    ["tool", "status"],
    buckets=(0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)

GUARDRAILS_TRIPPED: Final = Counter(
    "bargein_guardrails_tripped_total", "Requests that a guardrail has refused.", ["guardrail"]
)

FAULTS: Final = Counter(
    "bargein_turn_errors_total", "Events error on timelines, by code.", ["code"]
)

ACTIONS: Final = Counter(
    "bargein_actions_total", "Actions that came to a state, by state.", ["state"]
)

PROPOSALS_OPEN: Final = Gauge(
    "bargein_proposals_open", "Actions of sessions in memory that wait for somebody's decision."
)

SLOTS_MOST: Final = Gauge(
    "bargein_model_slots",
    "Model slots that there are, with timelines on Redis for all servers together; 0: no limit.",
)

SLOTS_IN_USE: Final = Gauge("bargein_model_slots_in_use", "Model slots that turns have now.")

SLOTS_WAITING: Final = Gauge(
    "bargein_model_slots_waiting", "Turns that wait for a model slot now, by tier.", ["tier"]
)

SLOT_WAIT_SECONDS: Final = Histogram(
    "bargein_model_slot_wait_seconds",
    "How long turns waited for a model slot, by tier; 0 where one was free.",
    ["tier"],
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
)

PREEMPTIONS: Final = Counter(
    "bargein_preemptions_total",
    "Turns that were stopped for the slot of a higher tier, by their own tier; they go on later.",
    ["tier"],
)

MAILBOX_DEPTH: Final = Gauge(
    "bargein_mailbox_depth",
    "Most messages that waited for an actor of any session, in the last half minute or so.",
    ["actor"],
)

# What an alert watches has to be there before it first happens: a rise from nothing is not seen.
for _outcome in ("completed", "cancelled", "failed", "refused"):
    TURNS.labels(_outcome)
for _state in ("proposed", "committed", "failed", "in_doubt"):
    ACTIONS.labels(_state)
