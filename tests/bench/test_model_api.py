from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from bargein.models.anthropic import AnthropicModel
from bargein.models.client import Completion, Usage
from examples.bench.arrival import made_in_s
from examples.bench.model_api import Metronome, ModelApi, pieces
from tests.fakes.anthropic_format import INPUT_TOKENS
from tests.models.ears import KEY, LIMIT_S, Ears, asking

TOKENS = 12


@asynccontextmanager
async def serving(tokens: int, interval_s: float) -> AsyncGenerator[str]:
    metronome = Metronome(interval_s)
    api = ModelApi(metronome, pieces(tokens), 0.005)
    with trio.fail_after(LIMIT_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(metronome.run)
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            nursery.start_soon(trio.serve_listeners, api.serve, listeners)
            yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            nursery.cancel_scope.cancel()


async def test_the_real_sdk_reads_whole_answers_one_after_the_other():
    async with serving(TOKENS, 0.001) as url, AnthropicModel(KEY, "claude-test", url=url) as model:
        for _ in range(2):
            ears = Ears()
            completion = await model.stream(asking(), ears)
            first, *others = ears.text.split()
            assert others == [f"token{number:02d}" for number in range(1, TOKENS)]
            took_s = made_in_s(first.encode())
            assert took_s is not None
            assert 0.005 <= took_s < LIMIT_S
            assert completion == Completion(
                "end_turn", Usage(INPUT_TOKENS, TOKENS, estimated=False)
            )


async def test_answers_side_by_side_are_all_sent():
    async with serving(TOKENS, 0.001) as url, AnthropicModel(KEY, "claude-test", url=url) as model:
        await model.warm()
        ears = [Ears() for _ in range(8)]
        async with trio.open_nursery() as nursery:
            for each in ears:
                nursery.start_soon(model.stream, asking(), each)
        assert [each.deltas for each in ears] == [TOKENS] * 8


async def test_an_answer_larger_than_the_sockets_buffers_comes_whole():
    tokens = 100_000
    async with serving(tokens, 0.0) as url, AnthropicModel(KEY, "claude-test", url=url) as model:
        await model.warm()
        ears = Ears()
        await model.stream(asking(), ears)
        assert ears.deltas == tokens


async def test_a_client_that_hangs_up_ends_its_answer_and_no_other():
    async with serving(TOKENS, 0.001) as url, AnthropicModel(KEY, "claude-test", url=url) as model:
        await model.warm()
        async with trio.open_nursery() as nursery:
            ears = Ears()
            nursery.start_soon(model.stream, asking(), ears)
            await ears.hears(2)
            nursery.cancel_scope.cancel()
        after = Ears()
        await model.stream(asking(), after)
        assert after.deltas == TOKENS
