from __future__ import annotations

import gc
import json
import ssl
import subprocess
import sys
from itertools import count
from pathlib import Path

import pytest
import trio

from bargein.models.anthropic import STREAMS_PER_CLIENT, AnthropicModel
from bargein.models.client import (
    Completion,
    Message,
    ModelRequest,
    ModelUnreachable,
    Text,
    ToolOutcome,
    ToolSpec,
    ToolUse,
    Usage,
)
from bargein.protocol.ids import CallId
from tests.fakes.anthropic_answers import (
    Answer,
    Call,
    Hang,
    Ping,
    Raw,
    Say,
    Silence,
    Stop,
    Stream,
    doing,
    saying,
)
from tests.fakes.anthropic_api import (
    serving,
)
from tests.fakes.anthropic_format import INPUT_TOKENS
from tests.models.ears import KEY, LIMIT_S, Ears, asking, talking

FILES = Path("/proc/self/fd")
WORDS = tuple(f"word{number} " for number in range(40))
PLAIN = Stream(tuple(Say(word) for word in WORDS), gzipped=False, interval_s=0.001)
GZIPPED = Stream(tuple(Say(word) for word in WORDS), gzipped=True, interval_s=0.001)
ENDLESS = Stream(tuple(Say(word) for word in WORDS * 100), interval_s=0.02)
ENDLESS_GZIPPED = Stream(ENDLESS.steps, interval_s=0.02, gzipped=True)

both_ways = pytest.mark.parametrize("answer", [PLAIN, GZIPPED], ids=["plain", "gzipped"])
both_ways_endless = pytest.mark.parametrize(
    "answer", [ENDLESS, ENDLESS_GZIPPED], ids=["plain", "gzipped"]
)


@both_ways
async def test_forty_tokens_come_whole_and_in_order(answer: Answer) -> None:
    ears = Ears()
    async with talking([answer]) as (_, model):
        completion = await model.stream(asking(), ears)
    assert ears.text == "".join(WORDS)
    assert ears.deltas == len(WORDS)
    assert ears.starts == [INPUT_TOKENS]
    assert completion == Completion("end_turn", Usage(INPUT_TOKENS, len(WORDS), estimated=False))


async def test_the_users_words_reach_the_api_unchanged() -> None:
    words = 'Zürich \N{GRINNING FACE} "quoted" \\ \u2028 {"type": "text"} \t\n end '
    async with talking([saying("ok")]) as (api, model):
        await model.stream(asking(words), Ears())
    assert api.bodies[0]["messages"][-1] == {"role": "user", "content": words}


async def test_a_request_is_mapped_to_the_vendors_words() -> None:
    request = ModelRequest(
        model="claude-other",
        system="Be brief.",
        messages=(
            Message("user", "look it up"),
            Message(
                "assistant",
                (Text("Looking."), Text(""), ToolUse(CallId("c1"), "search", {"q": "x"})),
            ),
            Message(
                "user",
                (ToolOutcome(CallId("c1"), "no network", failed=True), Text("go on")),
            ),
        ),
        tools=(ToolSpec("search", "Search the web.", {"type": "object", "properties": {}}),),
        max_tokens=99,
    )
    async with talking([saying("ok")]) as (api, model):
        await model.stream(request, Ears())
    assert api.bodies[0] == {
        "model": "claude-other",
        "max_tokens": 99,
        "stream": True,
        "system": [
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        ],
        "messages": [
            {"role": "user", "content": "look it up"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Looking."},
                    {"type": "tool_use", "id": "c1", "name": "search", "input": {"q": "x"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "c1",
                        "content": "no network",
                        "is_error": True,
                    },
                    {"type": "text", "text": "go on"},
                ],
            },
        ],
        "tools": [
            {
                "name": "search",
                "description": "Search the web.",
                "input_schema": {"type": "object", "properties": {}},
            },
        ],
    }


async def test_the_clients_own_model_answers_where_none_is_named_and_the_key_is_sent() -> None:
    async with talking([saying("ok")]) as (api, model):
        await model.stream(asking("\ud83d"), Ears())
        assert KEY not in repr(model)
        assert model.name == "claude-test"
    assert api.bodies[0]["model"] == "claude-test"
    assert api.bodies[0]["messages"][0]["content"] == "\N{REPLACEMENT CHARACTER}"
    assert any(KEY in value for value in api.exchanges[0].headers.values())


async def test_a_tool_call_between_words_is_heard_in_its_place() -> None:
    pieces = ('{"q"', ': "et', 'fs"}')
    answer = doing(Say("Let me look."), Ping(), Call("c7", "search", pieces), Stop("tool_use"))
    ears = Ears()
    async with talking([answer]) as (_, model):
        completion = await model.stream(asking(), ears)
    assert ears.order == ["started", "heard", "tool_called"]
    assert ears.calls == [ToolUse(CallId("c7"), "search", {"q": "etfs"})]
    assert completion.stop_reason == "tool_use"


async def test_deltas_that_arrive_together_are_heard_together() -> None:
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "x"}}
    answer = doing(Raw(f"data: {json.dumps(delta)}\n\n".encode() * 3))
    ears = Ears()
    async with talking([answer]) as (_, model):
        await model.stream(asking(), ears)
    assert ears.heard_texts == [("xxx", 3)]


@both_ways
async def test_a_finished_stream_leaves_its_connection_to_the_next(answer: Answer) -> None:
    async with talking([answer]) as (api, model):
        for _ in range(5):
            ears = Ears()
            await model.stream(asking(), ears)
            assert ears.text == "".join(WORDS)
    assert api.connections == 1


@both_ways_endless
async def test_a_cancelled_stream_closes_its_http_connection(answer: Answer) -> None:
    ears = Ears()
    async with talking([answer]) as (api, model):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(model.stream, asking(), ears)
            await ears.hears(3)
            nursery.cancel_scope.cancel()
            cancelled_at_s = trio.current_time()
        exchange = await api.exchange()
        noticed_after_s = await exchange.gone() - cancelled_at_s
        await api.closed()
    assert noticed_after_s < 0.25  # it takes less than 1 ms; other processes may take the rest
    assert exchange.tokens_sent <= ears.deltas + 3
    gc.collect()  # a generator left behind would warn now, and warnings are errors


@both_ways_endless
async def test_a_stream_cancelled_while_its_listener_has_no_room_closes_its_connection(
    answer: Answer,
) -> None:
    ears = Ears(stuck=trio.Event(), stuck_after=2)
    async with talking([answer]) as (api, model):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(model.stream, asking(), ears)
            await ears.waiting.wait()
            nursery.cancel_scope.cancel()
        await (await api.exchange()).gone()
        await api.closed()
    gc.collect()


async def test_a_stream_cancelled_before_the_vendor_answers_closes_its_connection() -> None:
    async with talking([Silence()]) as (api, model):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(model.stream, asking(), Ears())
            await api.exchange()
            nursery.cancel_scope.cancel()
        await (await api.exchange()).gone()
        await api.closed()
    gc.collect()


async def test_five_hundred_cancels_leak_nothing() -> None:
    kinds = (ENDLESS, Silence(), ENDLESS_GZIPPED, doing(Say("a"), Hang()))
    numbers = count()
    async with talking(lambda _: kinds[next(numbers) % len(kinds)]) as (api, model):

        async def cancel_twenty() -> None:
            before = len(api.exchanges)
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(model.stream, asking(), Ears())
                await api.exchange(before + 19)
                nursery.cancel_scope.cancel()

        await cancel_twenty()
        await api.closed()
        open_files = len(list(FILES.iterdir()))
        for _ in range(25):
            await cancel_twenty()
        await api.closed()
        assert len(api.exchanges) == 520
        assert all(exchange.client_gone for exchange in api.exchanges)
        assert len(list(FILES.iterdir())) <= open_files
    gc.collect()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a file with a key and a certificate for loopback, good for a day."""
    pem = tmp_path / "loopback.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 "
        f"-subj /CN=loopback -addext subjectAltName=IP:127.0.0.1 -keyout {pem} -out {pem}.crt"
    )
    subprocess.run(command.split(), check=True, capture_output=True, timeout=LIMIT_S)
    pem.write_bytes(pem.read_bytes() + Path(f"{pem}.crt").read_bytes())
    return pem


@both_ways_endless
async def test_over_tls_a_stream_is_read_and_its_cancel_seen_all_the_same(
    answer: Answer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    ears, last_ears = Ears(), Ears()
    async with talking([PLAIN, answer], tls=tls) as (api, model):
        await model.stream(asking(), ears)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(model.stream, asking(), last_ears)
            await last_ears.hears(3)
            nursery.cancel_scope.cancel()
        await (await api.exchange(1)).gone()
        await api.closed()
    assert ears.text == "".join(WORDS)
    assert api.connections == 1  # the first stream left its connection to the second
    gc.collect()


async def test_a_vendor_whose_certificate_is_not_trusted_is_out_of_reach(certificate: Path) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate)
    async with talking([PLAIN], tls=tls) as (api, model):
        with pytest.raises(ModelUnreachable):
            await model.stream(asking(), Ears())
        await api.closed()
    assert not api.exchanges


async def test_streams_are_spread_over_clients_and_their_places_are_given_back() -> None:
    async with talking([doing(Say("a"), Hang())]) as (api, model):
        async with trio.open_nursery() as nursery:
            for _ in range(STREAMS_PER_CLIENT + 1):
                nursery.start_soon(model.stream, asking(), Ears())
            await api.exchange(STREAMS_PER_CLIENT)
            assert [shard.streams for shard in model._shards] == [STREAMS_PER_CLIENT, 1]  # pyright: ignore[reportPrivateUsage]
            nursery.cancel_scope.cancel()
        assert [shard.streams for shard in model._shards] == [0, 0]  # pyright: ignore[reportPrivateUsage]


async def test_closing_the_model_closes_idle_connections() -> None:
    with trio.fail_after(LIMIT_S):
        async with serving([saying("ok")]) as api:
            async with AnthropicModel(KEY, "claude-test", url=api.url) as model:
                await model.stream(asking(), Ears())
                assert api.open_connections == 1
            await api.closed()


def test_importing_the_adapter_does_not_import_the_sdk() -> None:
    code = (
        "import sys, bargein.models.anthropic; "
        "print({'anthropic', 'httpx2', 'httpcore2'} & {name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=LIMIT_S
    )
    assert done.stdout.strip() == "set()"


async def test_warming_twice_at_once_imports_once() -> None:
    async with talking([saying("ok")]) as (_, model), trio.open_nursery() as nursery:
        nursery.start_soon(model.warm)
        nursery.start_soon(model.warm)
