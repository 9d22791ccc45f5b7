"""What the edge counts, for the operator: see `/metrics`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

CONNECTIONS: Final = Gauge("bargein_connections", "Clients that are served now.")

CONNECTIONS_CLOSED: Final = Counter(
    "bargein_connections_closed_total",
    "Served clients that have gone, by close code; 1006 without a close.",
    ["code"],
)

HANDSHAKES: Final = Gauge("bargein_handshakes", "Connections that are not upgraded yet.")

HANDSHAKES_REFUSED: Final = Counter(
    "bargein_handshakes_refused_total",
    "Connections closed without an answer, because their address had too many unfinished ones.",
)

REQUESTS_REFUSED: Final = Counter(
    "bargein_requests_refused_total", "Requests answered with an error, by HTTP status.", ["status"]
)

TURNED_AWAY: Final = Counter(
    "bargein_turned_away_total",
    "Clients refused because the process was full, by what was: connections, sessions, memory.",
    ["reason"],
)

RATE_LIMITED: Final = Counter(
    "bargein_rate_limited_total",
    "Commands that came too fast and were not done, by what has a rate: commands, speech, "
    "interrupts.",
    ["stream"],
)

QUOTA_REFUSED: Final = Counter(
    "bargein_quota_refused_total",
    "What was refused because its principal has used its share, by quota.",
    ["quota"],
)

IDLE_CLOSED: Final = Counter(
    "bargein_idle_closed_total", "Idle clients sent away with 4002, because memory was short."
)

MEMORY_USED: Final = Gauge("bargein_memory_bytes", "Resident memory, as the limit counts it.")

MEMORY_LIMIT: Final = Gauge("bargein_memory_limit_bytes", "Memory that the process may take.")

SESSIONS_LIVE: Final = Gauge("bargein_sessions_live", "Sessions in memory.")

ACCEPT_PAUSED: Final = Counter(
    "bargein_accept_paused_total", "Times that nobody could be let in for want of descriptors."
)

TLS_FAILED: Final = Counter(
    "bargein_tls_handshakes_failed_total",
    "TLS handshakes that came to nothing, by why.",
    ["reason"],
)

TLS_RENEWED: Final = Counter(
    "bargein_tls_renewals_total",
    "Times that the certificate was read again, by outcome.",
    ["outcome"],
)

SETTINGS_RENEWED: Final = Counter(
    "bargein_settings_renewals_total",
    "Times that a SIGHUP had the settings read again, by outcome.",
    ["outcome"],
)

LOOP_BLOCKED: Final = Counter(
    "bargein_event_loop_blocked_total", "Times that the event loop stood still for too long."
)

LOOP_LAG: Final = Histogram(
    "bargein_event_loop_lag_seconds",
    "How much later than asked the event loop woke a task; measured four times a second.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)

STORE_WRITABLE: Final = Gauge(
    "bargein_store_writable", "1 while the store can write, 0 while it can't or is dead."
)

CLIENTS_LAGGED: Final = Counter(
    "bargein_clients_lagged_total",
    "Times that a client fell so far behind that its tokens were merged.",
)

CLIENTS_LAGGING: Final = Gauge(
    "bargein_clients_lagging", "Clients whose tokens are merged now, because they are far behind."
)

LOG_LINES_DROPPED: Final = Counter(
    "bargein_log_lines_dropped_total", "Log lines that nobody took: disk full, or stderr closed."
)

TURNS_TRACED: Final = Counter(
    "bargein_turns_traced_total", "Turns whose spans were handed on to be sent."
)

TURNS_UNTRACED: Final = Counter(
    "bargein_turns_untraced_total", "Turns whose spans were dropped, by why.", ["reason"]
)

SPANS_SENT: Final = Counter(
    "bargein_spans_total", "Spans by what became of them at the collector.", ["outcome"]
)

# What an alert watches has to be there before it first happens: a rise from nothing is not seen.
for _outcome in ("renewed", "failed"):
    SETTINGS_RENEWED.labels(_outcome)
