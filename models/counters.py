"""What is counted of models, for the operator: see `/metrics`."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge

BREAKER_OPEN: Final = Gauge(
    "bargein_model_breaker_open",
    "1 while a model is left alone because it kept failing.",
    ["model"],
)

BREAKER_OPENED: Final = Counter(
    "bargein_model_breaker_opened_total", "Times that a model was left alone.", ["model"]
)

CALLS_SPARED: Final = Counter(
    "bargein_model_calls_spared_total", "Calls that a model left alone was not asked.", ["model"]
)
