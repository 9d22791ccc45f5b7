"""Requests are those that the SDK would send, and refusals mean what it would take from them."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import Any

import anthropic
import httpx2
import pytest
import trio
from attrs import define, field, frozen

from bargein.models.anthropic import AnthropicModel, Deadlines
from bargein.models.anthropic_request import encoded
from bargein.models.client import (
    ModelError,
    ModelFailed,
    ModelOverloaded,
    ModelUnreachable,
    StreamTruncated,
)
from bargein.models.direct import Capture, Direct
from tests.fakes.anthropic_answers import Answer, Plain, Refusal, saying
from tests.fakes.anthropic_format import LAST_CHUNK, chunk, event, head, message_start, text_event
from tests.models.ears import KEY, LIMIT_S, Ears, asking, talking

STOP = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {}}
EVENTS = (
    message_start("claude-test")
    + text_event(0, "ok")
    + event(STOP)
    + event({"type": "message_stop"})
)
STREAM = {"content-type": "text/event-stream", "transfer-encoding": "chunked"}
BODY = b"".join(encoded(asking(), "claude-test"))
COOKIES = "a=1; Path=/\r\nset-cookie: b=2; Path=/elsewhere\r\nset-cookie: c=3; Max-Age=100"


@frozen
class Received:
    """A request as it came over the wire; names of headers don't care for case, nor their order."""

    line: bytes
    headers: frozenset[tuple[bytes, bytes]]
    body: bytes

    @classmethod
    def of(cls, raw_head: bytes, body: bytes) -> Received:
        line, *lines = raw_head.split(b"\r\n")
        split = [each.split(b": ", 1) for each in lines]
        headers = frozenset((name.lower(), value) for name, value in split)
        assert len(headers) == len(lines)  # none twice
        return cls(line, headers, body)

    def named(self, name: bytes) -> list[bytes]:
        return [value for other, value in self.headers if other == name]


@define(eq=False)
class Recorder:
    """Answers every request with the same words, and keeps them as they came."""

    answer_headers: dict[str, str]
    port: int = 0
    received: list[Received] = field(factory=list[Received], init=False)

    async def serve(self, stream: trio.SocketStream) -> None:
        read = b""
        answer = head(200, {**STREAM, **self.answer_headers}) + chunk(EVENTS) + LAST_CHUNK
        async with stream:
            while True:
                while b"\r\n\r\n" not in read:
                    some = await stream.receive_some()
                    if not some:
                        return
                    read += some
                raw_head, _, read = read.partition(b"\r\n\r\n")
                length = int(dict(Received.of(raw_head, b"").headers)[b"content-length"])
                while len(read) < length:
                    read += await stream.receive_some()
                self.received.append(Received.of(raw_head, read[:length]))
                read = read[length:]
                await stream.send_all(answer)


@asynccontextmanager
async def recording(**answer_headers: str) -> AsyncGenerator[Recorder]:
    recorder = Recorder({name.replace("_", "-"): text for name, text in answer_headers.items()})
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            serve = partial(trio.serve_tcp, recorder.serve, 0, host="127.0.0.1")
            listeners = await nursery.start(serve)
            recorder.port = listeners[0].socket.getsockname()[1]
            yield recorder
            nursery.cancel_scope.cancel()


async def ask_with_the_sdk_alone(url: str, times: int = 1) -> None:
    limits = Deadlines()
    async with anthropic.AsyncAnthropic(
        api_key=KEY,
        base_url=url,
        max_retries=0,
        timeout=httpx2.Timeout(limits.whole_s, connect=limits.connect_s),
        default_headers={"accept-encoding": "identity"},
        open_telemetry=False,
    ) as sdk:
        for _ in range(times):
            await sdk.post("/v1/messages", cast_to=httpx2.Response, content=BODY)


async def ask_directly(url: str, monkeypatch: pytest.MonkeyPatch, times: int = 1) -> None:
    async with AnthropicModel(KEY, "claude-test", url=url) as model:
        await model.warm()
        with monkeypatch.context() as without_sdk:
            without_sdk.setattr(anthropic.AsyncAnthropic, "post", None)
            for _ in range(times):
                ears = Ears()
                await model.stream(asking(), ears)
                assert ears.text == "ok"


@pytest.mark.parametrize("place", ["{}", "user:pass@{}", "{}/gate%20way/x", "{}/gateway/?tenant=a"])
@pytest.mark.parametrize("custom", ["", "X-Team: blue\nUser-Agent: ours\nAccept-Encoding: gzip"])
async def test_a_request_is_the_one_that_the_sdk_itself_would_send(
    place: str, custom: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if custom:
        monkeypatch.setenv("ANTHROPIC_CUSTOM_HEADERS", custom)
    async with recording() as recorder:
        url = "http://" + place.format(f"127.0.0.1:{recorder.port}")
        await ask_with_the_sdk_alone(url)
        await ask_directly(url, monkeypatch, times=2)
    by_sdk, *by_us = recorder.received
    assert by_us == [by_sdk, by_sdk]
    assert by_sdk.line.startswith(b"POST /")
    assert by_sdk.named(b"x-stainless-retry-count") == [b"0"]
    assert by_sdk.body == BODY


async def test_cookies_come_back_as_from_the_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    async with recording(set_cookie=COOKIES) as recorder:
        url = f"http://127.0.0.1:{recorder.port}"
        await ask_with_the_sdk_alone(url, times=2)
        await ask_directly(url, monkeypatch, times=2)
    first_by_sdk, then_by_sdk, first, then = recorder.received
    assert first == first_by_sdk
    assert then == then_by_sdk
    assert first.named(b"cookie") == []
    assert b"a=1" in then.named(b"cookie")[0]
    assert b"b=2" not in then.named(b"cookie")[0]


async def test_another_key_is_another_request(monkeypatch: pytest.MonkeyPatch) -> None:
    async with recording() as recorder:
        url = f"http://127.0.0.1:{recorder.port}"
        await ask_directly(url, monkeypatch)
        async with AnthropicModel("sk-other", "claude-test", url=url) as model:
            await model.stream(asking(), Ears())
    first, second = (b" ".join(value for _, value in each.headers) for each in recorder.received)
    assert (KEY.encode() in first, b"sk-other" in first) == (True, False)
    assert (KEY.encode() in second, b"sk-other" in second) == (False, True)


async def test_an_sdk_whose_requests_differ_is_asked_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = count()

    def user_agent(_: object) -> str:
        return f"try {next(numbers)}"

    monkeypatch.setattr(anthropic.AsyncAnthropic, "user_agent", property(user_agent))
    async with recording() as recorder:
        url = f"http://127.0.0.1:{recorder.port}"
        async with AnthropicModel(KEY, "claude-test", url=url) as model:
            for _ in range(2):
                ears = Ears()
                await model.stream(asking(), ears)
                assert ears.text == "ok"
    first, second = (each.named(b"user-agent") for each in recorder.received)
    assert first != second


async def test_a_credential_that_is_asked_for_at_each_request_is_asked_for_at_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Renewing(httpx2.Auth):
        numbers = count()

        def auth_flow(self, request: httpx2.Request) -> Any:
            request.headers["authorization"] = f"Bearer {next(self.numbers) // 3}"
            yield request

    auth = Renewing()
    monkeypatch.setattr(anthropic.AsyncAnthropic, "custom_auth", auth)
    async with recording() as recorder:
        url = f"http://127.0.0.1:{recorder.port}"
        async with AnthropicModel(KEY, "claude-test", url=url) as model:
            for _ in range(4):
                await model.stream(asking(), Ears())
    sent = [each.named(b"authorization")[0] for each in recorder.received]
    assert sent == [b"Bearer 0"] * 3 + [b"Bearer 1"]


async def test_a_template_does_not_show_its_key() -> None:
    capture = Capture()
    async with httpx2.AsyncClient(transport=capture, headers={"x-api-key": KEY}) as client:
        template = await capture.template(lambda: client.post("http://127.0.0.1/"))
    assert template is not None
    assert KEY.encode() in template.head
    assert KEY not in repr(template)


# --- refusals ----------------------------------------------------------------------


def failing(kind: str, message: str = "no") -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}}).encode()


BODIES = {
    "overloaded": failing("overloaded_error"),
    "too long": failing("invalid_request_error", "prompt is too long: 3 tokens > 2 maximum"),
    "unknown kind": failing("a_new_error"),
    "kind is a number": b'{"error": {"type": 1, "message": 2}}',
    "error is a list": b'{"error": []}',
    "a list": b"[1]",
    "a string": b'"prompt is too long"',
    "no json": b"<html>prompt is too long</html>",
    "no utf-8": b"\xff\xfe{",
    "blank": b" \r\n",
    "nothing": b"",
    "deep": b"[" * 100_000,
}


def refusal(status: int, body: bytes, **headers: str) -> Plain:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    sized = {"content-length": str(len(body)), "request-id": "req_1", **named}
    return Plain(head(status, sized) + body)


async def outcome(answer: Answer, *, direct: bool) -> tuple[Any, ...]:
    """Return all that a caller sees of the failure."""
    async with talking([answer]) as (_, model):
        if not direct:
            model._template = None  # pyright: ignore[reportPrivateUsage]
        with pytest.raises(ModelError) as caught:
            await model.stream(asking(), Ears())
        (shard,) = model._shards  # pyright: ignore[reportPrivateUsage]
        assert isinstance(shard.client, Direct) is direct
    error = caught.value
    return (type(error), str(error), dict(error.__dict__))


async def assert_the_same(answer: Answer) -> type[ModelError]:
    directly = await outcome(answer, direct=True)
    assert directly == await outcome(answer, direct=False)
    return directly[0]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("status", [400, 401, 404, 408, 409, 413, 418, 429, 500, 503, 529])
async def test_a_refusal_means_what_the_sdk_takes_from_it(status: int, body: str) -> None:
    await assert_the_same(refusal(status, BODIES[body]))


@pytest.mark.parametrize("status", [204, 300, 302, 304, 402, 403, 422, 499, 502, 504, 599, 999])
async def test_a_rare_status_means_what_the_sdk_takes_from_it(status: int) -> None:
    body = b"" if status in {204, 304} else BODIES["unknown kind"]
    await assert_the_same(refusal(status, body))


@pytest.mark.parametrize(
    "headers",
    [
        {"retry_after": "7.5"},
        {"retry_after": "soon"},
        {"request_id": ""},
        {"content_encoding": "gzip"},
        {"content_encoding": "nonsense"},
        {"content_type": "text/html; charset=latin-1"},
        {"x_should_retry": "true"},
    ],
    ids=str,
)
async def test_a_refusals_headers_mean_what_the_sdk_takes_from_them(
    headers: dict[str, str],
) -> None:
    body = BODIES["overloaded"]
    packed = gzip.compress(body, mtime=0) if headers.get("content_encoding") == "gzip" else body
    await assert_the_same(refusal(429, packed, **headers))


@pytest.mark.parametrize(
    "answer",
    [
        Plain(head(500, {"content-length": "100"}) + b"{"),
        Plain(head(500, {"transfer-encoding": "chunked"}) + b"zz\r\n"),
        Plain(head(500, {"transfer-encoding": "chunked"}) + chunk(b'{"error"')),
        Plain(head(500, {}) + BODIES["overloaded"]),
        Plain(b"HTTP/1.1 500 \r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}"),
        Plain(b""),
    ],
    ids=["short", "no chunks", "cut chunk", "until closed", "two lengths", "nothing"],
)
async def test_a_refusal_that_can_not_be_read_fails_as_with_the_sdk(answer: Plain) -> None:
    await assert_the_same(answer)


async def test_a_refusal_that_is_not_packed_as_it_says_is_as_good_as_none() -> None:
    # Not compared: the SDK leaves the rest of such a body to the garbage collector.
    kind, *_ = await outcome(refusal(429, b"not gzipped", content_encoding="gzip"), direct=True)
    assert kind is ModelUnreachable


@pytest.mark.parametrize("direct", [True, False])
async def test_a_refusal_in_letters_that_nobody_can_read_is_a_refusal_all_the_same(
    *, direct: bool
) -> None:
    odd = refusal(429, BODIES["overloaded"], content_type="text/html; charset=utf-16")
    kind, *_ = await outcome(odd, direct=direct)
    # The SDK fails in the middle of reading it.
    assert kind is (ModelOverloaded if direct else ModelUnreachable)


async def test_a_refusal_leaves_its_connection_to_the_next_request() -> None:
    answers = [Refusal(529, "overloaded_error", "later"), saying("ok")]
    async with talking(answers) as (api, model):
        with pytest.raises(ModelError):
            await model.stream(asking(), Ears())
        await model.stream(asking(), Ears())
        assert api.connections == 1


async def test_a_refusal_that_does_not_end_is_given_up_and_its_connection_closed() -> None:
    started = trio.Event()

    async def dawdle(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(head(500, {"content-length": "100"}) + b"{")
            started.set()
            while await stream.receive_some():
                pass
        gone.set()

    gone = trio.Event()
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(partial(trio.serve_tcp, dawdle, 0, host="127.0.0.1"))
            url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            async with AnthropicModel(KEY, "claude-test", url=url) as model:
                async with trio.open_nursery() as asking_nursery:
                    asking_nursery.start_soon(model.stream, asking(), Ears())
                    await started.wait()
                    asking_nursery.cancel_scope.cancel()
                await gone.wait()
            nursery.cancel_scope.cancel()


async def test_a_success_without_a_body_is_truncated() -> None:
    assert await assert_the_same(refusal(204, b"")) is StreamTruncated
    assert await assert_the_same(refusal(302, b"")) is ModelFailed
