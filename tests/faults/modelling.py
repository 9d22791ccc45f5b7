"""Provocations by the model: a vendor that fails in each of its ways."""

from __future__ import annotations

from typing import Any, Final

from prometheus_client import REGISTRY

from tests.e2e.apps.obedient import last_of
from tests.e2e.faults import MODEL, SMALLER, calling, payloads, status
from tests.e2e.scripts import BRIEF, FOR_EVER, assert_ladder
from tests.fakes.anthropic_answers import (
    Answer,
    Call,
    Cut,
    Fail,
    Hang,
    Leave,
    Raw,
    Refusal,
    Say,
    Stop,
    Stream,
    doing,
    refusing,
    saying,
)
from tests.fakes.anthropic_api import Exchange, Script
from tests.faults.ground import Ground, Seen, Stage, failing, replying
from tests.faults.trials import provocation
from tests.gateway.raw_client import ask
from tests.gateway.raw_client import status as status_of

TOO_LONG: Final = Refusal(400, "invalid_request_error", "prompt is too long: 200001 > 200000")
LIMITED: Final = refusing(429, "rate_limit_error", retry_after="0.02")


def troubled(trouble: Answer | dict[str, Answer], otherwise: Answer = BRIEF) -> Any:
    """Return what makes a script: words that begin with `Trouble` meet *trouble*."""

    def answers(exchange: Exchange) -> Answer:
        _, words = last_of(exchange)
        if isinstance(trouble, dict):
            return next((trouble[key] for key in trouble if words.startswith(key)), otherwise)
        return trouble if words.startswith("Trouble") else otherwise

    return lambda: answers


async def trouble(here: Ground, words: str = "Trouble", said: str = "") -> Seen:
    """Ask for trouble; the turn fails, keeps what came, and may be resumed if that may help."""
    ann = await here.attach()
    turn_id = await ann.converse(words)
    assert status(ann, turn_id) == "failed"
    assert ann.answer_of(turn_id) == said
    (fault,) = payloads(ann, turn_id, "error")
    assert ("resume_token" in fault["recover"]) is fault["retryable"]
    return failing(ann, turn_id)


@provocation("a vendor that limits", Stage(script=troubled(LIMITED)))
async def vendor_that_limits(here: Ground, _: None) -> Seen:
    seen = await trouble(here)
    (ann,) = here.world.clients
    retries = [event.payload for event in ann.events if event.type == "model.retry"]
    assert [(retry["attempt"], retry["after_ms"]) for retry in retries] == [(2, 20), (3, 20)]
    assert len(here.api.exchanges) == 3
    return seen


@provocation(
    "a vendor that fails",
    Stage(
        script=troubled(
            {
                "500": refusing(500, "api_error"),
                "503": refusing(503, "api_error"),
                "529": refusing(529, "overloaded_error"),
            }
        )
    ),
    cases=lambda _: [(name, name) for name in ("500", "503", "529")],
)
async def vendor_that_fails(here: Ground, case: str) -> Seen:
    seen = await trouble(here, case)
    assert len(here.api.exchanges) == 3
    return seen


def _only_small(exchange: Exchange) -> Answer:
    return refusing(500, "api_error") if exchange.body["model"] == MODEL else BRIEF


@provocation(
    "a vendor that keeps failing",
    Stage(script=lambda: _only_small, agent={"fallbacks": (SMALLER,)}),
)
async def vendor_that_keeps_failing(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    kinds: list[str] = []
    for _turn in range(4):
        turn_id = await ann.converse("Trouble")
        assert status(ann, turn_id) == "completed"
        assert payloads(ann, turn_id, "model.fallback") == [{"from": MODEL, "to": SMALLER}]
        kinds += [start["kind"] for start in payloads(ann, turn_id, "recovery.start")]
    asked = [body["model"] for body in here.api.bodies]
    assert (asked.count(MODEL), asked.count(SMALLER)) == (5, 4)
    # The breaker opened within the second turn: from there on nobody waits for the model.
    assert kinds == ["model_error", "model_overloaded", "model_overloaded", "model_overloaded"]
    assert REGISTRY.get_sample_value("bargein_model_breaker_open", {"model": MODEL}) == 1
    assert [line["model"] for line in here.world.logs if line["event"] == "model.left_alone"] == [
        MODEL
    ]
    return Seen(frozenset(kinds), session_id=ann.session_id)


@provocation(
    "a silent vendor",
    Stage(script=troubled({"Never": doing(Hang()), "Midway": doing(Say("So "), Hang())})),
    cases=lambda _: [
        ("before the first word", ("Never", "", "begin")),
        ("between words", ("Midway", "So ", "silent")),
    ],
)
async def silent_vendor(here: Ground, case: tuple[str, str, str]) -> Seen:
    words, said, why = case
    seen = await trouble(here, words, said)
    (ann,) = here.world.clients
    (fault,) = (event.payload for event in ann.events if event.type == "error")
    assert why in fault["message"]
    return seen


@provocation(
    "an answer that breaks off",
    Stage(
        script=troubled(
            {
                "Cut": doing(Say("So "), Cut()),
                "Left": doing(Say("So "), Leave()),
                "Overloaded": doing(Say("So "), Fail()),
            }
        )
    ),
    cases=lambda _: [(name, name) for name in ("Cut", "Left", "Overloaded")],
)
async def answer_that_breaks_off(here: Ground, case: str) -> Seen:
    seen = await trouble(here, case, "So ")
    assert len(here.api.exchanges) == 1
    expected = "model_overloaded" if case == "Overloaded" else "model_error"
    assert seen.codes == {expected}
    return seen


@provocation("an interrupt of a hung vendor", Stage(script=troubled({"Long": FOR_EVER})))
async def interrupt_of_a_hung_vendor(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    turn_id = await here.busy(ann)
    answer = await ann.ask("interrupt")
    assert_ladder(ann.of_turn(turn_id))
    (ack,) = payloads(ann, turn_id, "cancel.ack")
    assert ack["took_ms"] < 1000
    exchange = await here.api.exchange(0)
    await exchange.gone()
    return replying(ann, answer)


@provocation(
    "a vendor that babbles",
    Stage(
        script=troubled(
            {
                "JSON": doing(Say("So "), Raw(b"event: content_block_delta\ndata: {{{\n\n")),
                "no event": doing(Say("So "), Raw(b"data: 7\n\n")),
            }
        )
    ),
    cases=lambda _: [("no JSON", "JSON")],
)
async def vendor_that_babbles(here: Ground, case: str) -> Seen:
    return await trouble(here, case, "So ")


def then_brief(first: Stream) -> Any:
    """Return what makes a script: the answer to `Trouble`, and after its tools a brief one."""

    def answers(exchange: Exchange) -> Answer:
        outcomes, words = last_of(exchange)
        return first if words.startswith("Trouble") and not outcomes else BRIEF

    return lambda: answers


async def told_to_the_model(here: Ground) -> Seen:
    """Ask for a call that can't be made; the model is told, and the turn goes on."""
    ann = await here.attach()
    turn_id = await ann.converse("Trouble")
    results = payloads(ann, turn_id, "tool.result")
    assert [result["status"] for result in results] == ["error"] * len(results)
    assert results
    (told,) = here.api.bodies[-1]["messages"][-1]["content"]
    assert told["is_error"] is True
    assert (status(ann, turn_id), ann.answer_of(turn_id)) == ("completed", "Very well.")
    assert here.till.entered == 0
    return replying(ann)


@provocation(
    "arguments that are no JSON",
    Stage(script=then_brief(doing(Call("t1", "count", ('{"x": ',)), Stop("tool_use")))),
)
async def arguments_that_are_no_json(here: Ground, _: None) -> Seen:
    return await told_to_the_model(here)


@provocation("a tool that is not there", Stage(script=then_brief(calling(("t1", "teleport", {})))))
async def tool_that_is_not_there(here: Ground, _: None) -> Seen:
    return await told_to_the_model(here)


def _calling_for_ever() -> Script:
    def answers(exchange: Exchange) -> Answer:
        if exchange.body["messages"][0]["content"] != "Trouble":
            return BRIEF
        return calling((f"t{len(exchange.body['messages'])}", "count", {}))

    return answers


@provocation("calls without an end", Stage(script=_calling_for_ever, agent={"tool_limit": 2}))
async def calls_without_an_end(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    turn_id = await ann.converse("Trouble")
    assert status(ann, turn_id) == "failed"
    results = payloads(ann, turn_id, "tool.result")
    assert [result["status"] for result in results] == ["ok"] * 8
    (fault,) = payloads(ann, turn_id, "error")
    assert fault["recover"]["resume_token"]
    return Seen(frozenset({fault["code"]}))


@provocation(
    "a model that declines",
    Stage(script=troubled(doing(Say("I'd rather not"), Stop("refusal")))),
)
async def model_that_declines(here: Ground, _: None) -> Seen:
    ann = await here.attach()
    turn_id = await ann.converse("Trouble")
    assert status(ann, turn_id) == "refused"
    (end,) = payloads(ann, turn_id, "model.end")
    assert end["stop_reason"] == "refusal"
    return failing(ann, turn_id)


SURROGATE: Final = Raw(
    b"event: content_block_delta\ndata: "
    b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\\ud800!"}}\n\n'
)


@provocation(
    "odd text of a model",
    Stage(script=troubled({"Half": doing(Say("So"), SURROGATE), "Much": saying("x" * 2_500_000)})),
    cases=lambda _: [("half a pair", ("Half", "So\ufffd!")), ("a lot", ("Much", "x" * 2_500_000))],
)
async def odd_text_of_a_model(here: Ground, case: tuple[str, str]) -> Seen:
    words, said = case
    ann = await here.attach()
    turn_id = await ann.converse(words)
    assert (status(ann, turn_id), ann.answer_of(turn_id)) == ("completed", said)
    return replying(ann)


def _refused_once() -> Script:
    left = [refusing(401, "authentication_error")]
    return lambda _: left.pop() if left else BRIEF


async def readiness(here: Ground) -> int:
    return status_of(await ask(here.world.port, b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"))


@provocation("a key that is refused", Stage(script=_refused_once, own_model=True))
async def key_that_is_refused(here: Ground, _: None) -> Seen:
    assert await readiness(here) == 200
    seen = await trouble(here)
    assert await readiness(here) == 503
    (ann,) = here.world.clients
    (fault,) = (event.payload for event in ann.events if event.type == "error")
    assert fault["retryable"] is False
    await ann.converse("Hello")
    assert await readiness(here) == 200
    return seen


@provocation("words that are too long", Stage(script=troubled(TOO_LONG)))
async def words_that_are_too_long(here: Ground, _: None) -> Seen:
    return await trouble(here)
