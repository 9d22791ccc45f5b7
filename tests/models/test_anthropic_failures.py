from __future__ import annotations

import socket
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import trio

from bargein.models.anthropic import AnthropicModel, Deadlines
from bargein.models.client import (
    ContextOverflow,
    ModelError,
    ModelFailed,
    ModelOverloaded,
    ModelTimeout,
    ModelUnauthorized,
    ModelUnreachable,
    StreamMalformed,
    StreamTruncated,
    Usage,
)
from bargein.models.wire import READ_BYTES
from tests.fakes.anthropic_answers import (
    Answer,
    Cut,
    Fail,
    Hang,
    Leave,
    Ping,
    Plain,
    Raw,
    Refusal,
    Say,
    Silence,
    Stream,
    Wait,
    doing,
    refusing,
    saying,
)
from tests.fakes.anthropic_format import INPUT_TOKENS
from tests.models.ears import KEY, LIMIT_S, Ears, asking, talking


async def failure_of(
    answer: Answer, deadlines: Deadlines | None = None, ears: Ears | None = None
) -> ModelError:
    async with talking([answer], deadlines) as (api, model):
        with pytest.raises(ModelError) as caught:
            await model.stream(asking(), ears or Ears())
        message = str(caught.value)
        assert KEY not in message
        assert str(api.port) not in message
        assert "fake" not in message
    return caught.value


@pytest.mark.parametrize("header", ["7", "7.0"])
async def test_a_429_tells_when_to_come_back(header: str) -> None:
    error = await failure_of(refusing(429, "rate_limit_error", retry_after=header))
    assert isinstance(error, ModelOverloaded)
    assert error.retry_after_s == 7.0
    assert error.code == "model_overloaded"
    assert error.retryable
    assert not error.began
    assert error.request_id == "req_fake"


@pytest.mark.parametrize("header", ["soon", "-1", "nan", "inf", "Wed, 21 Oct 2026 07:28:00 GMT"])
async def test_a_retry_after_that_is_no_number_of_seconds_is_as_good_as_none(header: str) -> None:
    error = await failure_of(refusing(429, "rate_limit_error", retry_after=header))
    assert isinstance(error, ModelOverloaded)
    assert error.retry_after_s is None


@pytest.mark.parametrize(
    ("answer", "expected", "code", "retryable"),
    [
        (refusing(529, "overloaded_error"), ModelOverloaded, "model_overloaded", True),
        (refusing(503, "api_error"), ModelOverloaded, "model_overloaded", True),
        (refusing(500, "api_error"), ModelFailed, "model_error", True),
        (refusing(401, "authentication_error"), ModelUnauthorized, "model_error", False),
        (refusing(403, "permission_error"), ModelUnauthorized, "model_error", False),
        (refusing(404, "not_found_error"), ModelFailed, "model_error", False),
        (refusing(413, "request_too_large"), ContextOverflow, "context_overflow", False),
        (
            Refusal(400, "invalid_request_error", "prompt is too long: 3 tokens > 2 maximum"),
            ContextOverflow,
            "context_overflow",
            False,
        ),
        (refusing(302, "moved", location="http://127.0.0.1:1/"), ModelFailed, "model_error", False),
    ],
)
async def test_each_refusal_has_its_error(
    answer: Answer, expected: type[ModelError], code: str, *, retryable: bool
) -> None:
    error = await failure_of(answer)
    assert type(error) is expected
    assert error.code == code
    assert error.retryable is retryable
    assert not error.began


@pytest.mark.parametrize("ending", [Cut(), Leave()])
@pytest.mark.parametrize("gzipped", [False, True])
async def test_a_stream_without_its_last_message_is_truncated(
    ending: Cut | Leave, *, gzipped: bool
) -> None:
    ears = Ears()
    steps = (Say("a "), Say("b "), ending)
    error = await failure_of(Stream(steps, gzipped=gzipped), ears=ears)
    assert isinstance(error, StreamTruncated)
    assert error.began
    assert error.usage == Usage(INPUT_TOKENS, 2, estimated=True)
    assert ears.text == "a b "


async def test_a_stream_cut_before_its_first_delta_may_be_asked_again() -> None:
    error = await failure_of(doing(Cut()))
    assert isinstance(error, StreamTruncated)
    assert not error.began


async def test_an_error_in_mid_stream_keeps_what_came() -> None:
    ears = Ears()
    error = await failure_of(doing(Say("a "), Fail("overloaded_error")), ears=ears)
    assert isinstance(error, ModelOverloaded)
    assert error.began
    assert ears.text == "a "


async def test_events_that_are_no_json_are_malformed() -> None:
    error = await failure_of(doing(Say("a "), Raw(b"data: {nonsense\n\n")))
    assert isinstance(error, StreamMalformed)
    assert error.began


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"


async def test_a_body_with_broken_framing_is_malformed() -> None:
    error = await failure_of(Plain(HEAD + b"transfer-encoding: chunked\r\n\r\nnonsense\r\n"))
    assert isinstance(error, StreamMalformed)


async def test_a_body_that_is_shorter_than_it_says_is_truncated() -> None:
    error = await failure_of(Plain(HEAD + b"content-length: 100\r\n\r\nevent: ping\n"))
    assert isinstance(error, StreamTruncated)


async def test_an_answer_that_is_no_http_is_a_vendor_out_of_reach() -> None:
    error = await failure_of(Plain(b"SSH-2.0-OpenSSH_9.9\r\n\r\n"))
    assert isinstance(error, ModelUnreachable)


async def test_a_body_that_is_not_chunked_is_read_all_the_same() -> None:
    body = (
        b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"hi"}}\n\n'
        b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{}}\n\n'
        b'data: {"type":"message_stop"}\n\n'
    )
    sized = Plain(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
    until_closed = Plain(HEAD + b"connection: close\r\n\r\n" + body)
    async with talking([sized, until_closed]) as (api, model):
        for _ in range(2):
            ears = Ears()
            completion = await model.stream(asking(), ears)
            assert ears.text == "hi"
            assert completion.stop_reason == "end_turn"
            # The first answer allows to keep the connection, then the server hangs up all the
            # same: the next request must not be sent there.
            await api.closed()


async def test_a_head_in_two_parts_is_read_all_the_same() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    body = (
        b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n'
        b'data: {"type":"message_stop"}\n\n'
    )
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with talking([Plain(early + HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks)]) as (
        _,
        model,
    ):
        completion = await model.stream(asking(), Ears())
    assert completion.stop_reason == "end_turn"


# --- what takes too long ---


def phase_of(error: ModelError) -> str:
    assert isinstance(error, ModelTimeout)
    assert error.code == "model_timeout"
    assert f"{error.limit_s:g} s" in str(error)
    return error.phase


@pytest.mark.parametrize(
    "answer",
    [Silence(), doing(Hang()), doing(*(Ping(), Wait(0.02)) * 100)],
    ids=["no head", "no event", "only pings"],
)
async def test_a_vendor_that_does_not_begin_is_given_up(answer: Answer) -> None:
    error = await failure_of(answer, Deadlines(first_token_s=0.2))
    assert phase_of(error) == "first_token"
    assert not error.began


@pytest.mark.parametrize("gzipped", [False, True])
async def test_a_vendor_that_falls_silent_is_given_up(*, gzipped: bool) -> None:
    ears = Ears()
    answer = Stream((Say("a "), Hang()), gzipped=gzipped)
    error = await failure_of(answer, Deadlines(gap_s=0.1), ears)
    assert phase_of(error) == "gap"
    assert error.began
    assert error.usage == Usage(INPUT_TOKENS, 1, estimated=True)
    assert ears.text == "a "


@pytest.mark.parametrize("gzipped", [False, True])
async def test_an_answer_that_flows_for_longer_than_a_gap_is_heard_to_its_end(
    *, gzipped: bool
) -> None:
    ears = Ears()
    answer = Stream((Say("a "),) * 20, gzipped=gzipped, interval_s=0.15)
    async with talking([answer], Deadlines(gap_s=1.5)) as (_, model):
        await model.stream(asking(), ears)
    assert ears.text == "a " * 20


async def test_pings_are_signs_of_life() -> None:
    steps = (Say("a "), *(Wait(0.15), Ping()) * 8, Say("b "))
    ears = Ears()
    async with talking([doing(*steps)], Deadlines(gap_s=1.0)) as (_, model):
        await model.stream(asking(), ears)
    assert ears.text == "a b "


async def test_an_answer_that_never_ends_is_ended() -> None:
    answer = saying(*["a "] * 10_000, interval_s=0.01)
    error = await failure_of(answer, Deadlines(whole_s=1.0))
    assert phase_of(error) == "whole"
    assert error.began


@pytest.mark.parametrize("stuck_at", [0, 1])
async def test_a_listener_without_room_is_not_the_vendors_silence(stuck_at: int) -> None:
    class SlowEars(Ears):
        asked_for_room = 0

        async def room(self) -> None:
            # Stuck until the silence's deadline strikes, and only once.
            self.asked_for_room += 1
            if self.deltas == stuck_at and not self.waiting.is_set():
                self.waiting.set()
                await trio.sleep_forever()

    ears = SlowEars()
    # More than one read takes, so that there is something to ask for room for after the first.
    rest = "b" * READ_BYTES
    answer = doing(Say("a "), Wait(0.01), Say(rest))
    # Long enough for a machine that has other work to begin an answer in.
    deadlines = Deadlines(gap_s=0.5, first_token_s=1.5)
    async with talking([answer], deadlines) as (_, model):
        completion = await model.stream(asking(), ears)
    assert ears.asked_for_room < 10
    assert completion.stop_reason == "end_turn"
    assert ears.text == "a " + rest
    assert ears.waiting.is_set()


async def test_a_listener_that_never_has_room_ends_with_the_whole() -> None:
    ears = Ears(stuck=trio.Event(), stuck_after=1)
    # More than one read takes: an answer that came as a whole would need no further room.
    answer = saying("a ", "b" * READ_BYTES)
    # Long enough for a machine that has other work to begin an answer in.
    error = await failure_of(answer, Deadlines(gap_s=0.4, whole_s=1.5), ears)
    assert phase_of(error) == "whole"
    assert ears.waiting.is_set()
    assert ears.text == "a "


@contextmanager
def full_house() -> Generator[int]:
    """Lend a port where nobody takes a further connection, nor refuses it."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        guests = [socket.socket() for _ in range(4)]
        try:
            for guest in guests:
                guest.setblocking(False)
                guest.connect_ex(("127.0.0.1", port))
            yield port
        finally:
            for guest in guests:
                guest.close()


async def test_a_vendor_that_does_not_take_the_call_is_given_up_after_the_connect_deadline() -> (
    None
):
    with full_house() as port, trio.fail_after(LIMIT_S):
        url = f"http://127.0.0.1:{port}"
        deadlines = Deadlines(connect_s=0.1)
        async with AnthropicModel(KEY, "claude-test", url=url, deadlines=deadlines) as model:
            with pytest.raises(ModelTimeout) as caught:
                await model.stream(asking(), Ears())
    assert phase_of(caught.value) == "connect"
    assert not caught.value.began


async def test_a_vendor_that_is_not_there_is_out_of_reach() -> None:
    with socket.socket() as unheard, trio.fail_after(LIMIT_S):
        unheard.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unheard.getsockname()[1]}"
        async with AnthropicModel(KEY, "claude-test", url=url) as model:
            with pytest.raises(ModelUnreachable) as caught:
                await model.stream(asking(), Ears())
    assert caught.value.retryable
    assert "127.0.0.1" not in str(caught.value)
