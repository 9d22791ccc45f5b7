"""Spans to a collector, with OpenTelemetry's SDK, in a thread of its own.

The only module that meets the SDK.  It is the extra `bargein[otel]`, and imported in that thread.
"""

from __future__ import annotations

import logging
import queue
import threading
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

import structlog
from attrs import define, field

from bargein.gateway.counters import SPANS_SENT
from bargein.gateway.spans import SpanFact
from bargein.gateway.sparse_log import SparseLog

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan, Tracer
    from opentelemetry.sdk.trace.export import SpanExporter

PATH: Final = "/v1/traces"
EXPORT_EVERY_S: Final = 1.0
"""So that a busy server sends a few large requests, and not one for each turn."""

EXPORT_LIMIT_S: Final = 10.0
MOST_SPANS: Final = 512
"""In one request."""

_NEEDED: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_LIBRARY_LOGS: Final = ("opentelemetry", "urllib3")

_log = SparseLog(structlog.get_logger(), 1, 60.0)


class TracesUnusable(Exception):
    """Spans can't be sent: install the extra `bargein[otel]`, or unset the endpoint.

    Attributes:
        missing: The package that is not there.
    """

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"traces.endpoint is set, and {missing} is not installed: install bargein[otel]"
        )
        self.missing = missing


@define(eq=False)
class Collector:
    """A collector that takes OTLP over HTTP.  Lives as long as the server."""

    _url: str
    _service: str
    _turns: queue.Queue[tuple[SpanFact, ...]]
    _stop: threading.Event = field(factory=threading.Event, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _exporter: SpanExporter | None = field(default=None, init=False)

    @classmethod
    def at(cls, endpoint: str, service: str, queue_most: int) -> Collector:
        """Return the collector at a base URL.

        Raises:
            TracesUnusable: If the SDK is not installed.
        """
        for name in _NEEDED:
            if not _is_installed(name):
                raise TracesUnusable(name)
        return cls(endpoint.rstrip("/") + PATH, service, queue.Queue(queue_most))

    def start(self) -> None:
        """Start the thread; it does not keep the process alive."""
        self._thread = threading.Thread(target=self._work, name="spans", daemon=True)
        self._thread.start()

    def offer(self, spans: tuple[SpanFact, ...]) -> bool:
        """Take the spans of a turn, if there is room; say whether there was."""
        try:
            self._turns.put_nowait(spans)
        except queue.Full:
            return False
        return True

    def close(self, within_s: float) -> None:
        """Send what waits, for so long at most; what is not sent by then is lost."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(within_s)
            # In mid-request or between two tries: the process need not wait for it.
            if self._thread.is_alive() and self._exporter is not None:
                self._exporter.shutdown()

    # --- in the thread --------------------------------------------------------------------

    def _work(self) -> None:
        for name in _LIBRARY_LOGS:  # what they would say of each try is said once, below
            logging.getLogger(name).setLevel(logging.CRITICAL)
        made = _Made(self._service)
        exporter = self._exporter = _exporter_to(self._url)
        stopping = False
        while not stopping:
            stopping = self._stop.wait(EXPORT_EVERY_S)
            while batch := self._batch():
                self._export(exporter, made, batch)
        exporter.shutdown()

    def _batch(self) -> list[SpanFact]:
        batch: list[SpanFact] = []
        while len(batch) < MOST_SPANS:
            try:
                batch.extend(self._turns.get_nowait())
            except queue.Empty:
                break
        return batch

    def _export(self, exporter: SpanExporter, made: _Made, batch: list[SpanFact]) -> None:
        try:
            sent = exporter.export([made.span(fact) for fact in batch]).name == "SUCCESS"
        except Exception as error:  # noqa: BLE001 - a library's, in a thread that has to live on
            _log.warning("spans.not_sent", count=len(batch), error=type(error).__name__)
            sent = False
        else:
            if not sent:
                _log.warning("spans.not_sent", count=len(batch), error="the collector took none")
        SPANS_SENT.labels("sent" if sent else "lost").inc(len(batch))


class _Made:
    """Makes the SDK's spans of ours: with our ids, as of the time at which they were."""

    def __init__(self, service: str) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.id_generator import IdGenerator
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        made = self

        class Ids(IdGenerator):
            """Gives out the ids of the span that is being made."""

            def generate_span_id(self) -> int:
                return made.fact.span_id

            def generate_trace_id(self) -> int:
                return made.fact.trace_id

        self.fact: SpanFact
        told = {"service.name": service, "service.version": version("bargein")}
        provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=Resource.create(told),
            id_generator=Ids(),
            shutdown_on_exit=False,
        )
        tracer: Tracer = provider.get_tracer("bargein", version("bargein"))  # pyright: ignore[reportAssignmentType]
        self._tracer = tracer

    def span(self, fact: SpanFact) -> ReadableSpan:
        """Return the SDK's span of *fact*."""
        from opentelemetry.context import Context
        from opentelemetry.sdk.trace import Span
        from opentelemetry.trace import (
            NonRecordingSpan,
            SpanContext,
            SpanKind,
            StatusCode,
            TraceFlags,
            set_span_in_context,
        )

        self.fact = fact
        context = Context()
        if fact.parent_id is not None:
            flags = TraceFlags(TraceFlags.SAMPLED)
            parent = SpanContext(
                fact.trace_id, fact.parent_id, is_remote=fact.remote, trace_flags=flags
            )
            context = set_span_in_context(NonRecordingSpan(parent), context)
        kind = SpanKind.CLIENT if fact.kind == "client" else SpanKind.INTERNAL
        span = self._tracer.start_span(
            fact.name, context, kind, fact.attributes, start_time=fact.start_ns
        )
        if fact.error is not None:
            span.set_attribute("error.type", fact.error)
            span.set_status(StatusCode.ERROR, fact.error)
        span.end(fact.end_ns)
        if not isinstance(span, Span):  # OTEL_SDK_DISABLED
            raise TypeError("the SDK is switched off")
        return span


def _exporter_to(url: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=url, timeout=EXPORT_LIMIT_S)


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # of what it stands in
        return False
