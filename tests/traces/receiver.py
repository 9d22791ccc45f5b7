"""A collector on loopback: takes OTLP over HTTP, and keeps the spans that it was sent."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import trio
from attrs import define, field, frozen
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

PATIENCE_S = 30.0


@frozen
class Received:
    """One span, as it came over the wire; ids in hexadecimal, empty where there is none."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    failed: bool


@define(eq=False)
class Receiver:
    """What the collector has, and how it behaves.

    Attributes:
        status: What it answers with.
        slow: While it is not set, no request is answered.
    """

    port: int = 0
    status: int = 200
    paths: list[str] = field(factory=list[str], init=False)
    spans: list[Received] = field(factory=list[Received], init=False)
    requests: int = field(default=0, init=False)
    ready: threading.Event = field(factory=threading.Event, init=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def named(self, prefix: str) -> list[Received]:
        return [span for span in self.spans if span.name.startswith(prefix)]

    async def until(self, prefix: str, count: int = 1) -> list[Received]:
        """Wait until so many spans came whose name begins so."""
        with trio.fail_after(PATIENCE_S):
            while len(found := self.named(prefix)) < count:  # noqa: ASYNC110 - another thread's
                await trio.sleep(0.01)
        return found

    def take(self, path: str, body: bytes) -> None:
        self.requests += 1
        self.ready.wait(PATIENCE_S)
        self.paths.append(path)
        if self.status == 200:
            self.spans.extend(spans_in(body))


def spans_in(body: bytes) -> list[Received]:
    """Return the spans of an export."""
    found: list[Received] = []
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        told = {each.key: value_of(each.value) for each in resource.resource.attributes}
        for scope in resource.scope_spans:
            found.extend(
                Received(
                    told["service.name"],
                    span.name,
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.kind,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    {each.key: value_of(each.value) for each in span.attributes},
                    span.status.code == 2,
                )
                for span in scope.spans
            )
    return found


def value_of(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [value_of(each) for each in value.array_value.values]
    return None if kind is None else getattr(value, kind)


@contextmanager
def receiving(*, ready: bool = True) -> Generator[Receiver]:
    """Run a collector in threads; while it is not *ready*, it answers nobody."""
    receiver = Receiver()
    if ready:
        receiver.ready.set()

    class Answering(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.take(self.path, body)
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is called
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.ready.set()
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)
