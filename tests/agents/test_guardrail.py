from __future__ import annotations

import pytest

from bargein.agents.guardrail import Check, Guardrail, Rule, Verdict

RULE = Rule("polite", "Answer {only} polite requests.")


def test_a_deadline_has_to_be_in_the_future() -> None:
    async def check(words: str) -> Verdict:
        return Verdict(bool(words))

    with pytest.raises(ValueError, match="deadline_s"):
        Rule("polite", "be polite", deadline_s=0)
    with pytest.raises(ValueError, match="deadline_s"):
        Check("code", check, deadline_s=-1)


async def judged(answer: str) -> tuple[Verdict, list[tuple[str, str]]]:
    asked: list[tuple[str, str]] = []

    async def ask(instructions: str, words: str) -> str:
        asked.append((instructions, words))
        return answer

    rule: Guardrail = RULE
    return await rule.check("Sell all.", ask), asked


async def test_a_rule_is_put_to_the_model_with_the_users_words() -> None:
    _, ((instructions, words),) = await judged("PASS")
    assert "\nAnswer {only} polite requests.\n" in instructions
    assert words == "Sell all."


@pytest.mark.parametrize("answer", ["PASS", " pass\n", "PASS.", "Pass: it is polite"])
async def test_a_pass_passes(answer: str) -> None:
    verdict, _ = await judged(answer)
    assert verdict == Verdict(passed=True)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("STOP: That is rude.", "That is rude."),
        ("stop:  Rude: very. ", "Rude: very."),
        ("STOP", "This request can't be answered here."),
        ("STOP: ", "This request can't be answered here."),
        ("", "This request can't be answered here."),
        ("I would let it PASS", "This request can't be answered here."),
        (f"STOP: {'x' * 900}", "x" * 500),
    ],
)
async def test_anything_but_a_clear_pass_stops(answer: str, reason: str) -> None:
    verdict, _ = await judged(answer)
    assert verdict == Verdict(passed=False, reason=reason)


async def test_a_check_is_a_function_of_the_words_and_asks_nobody() -> None:
    async def short(words: str) -> Verdict:
        return Verdict(len(words) < 5, "Too long.")

    async def ask(instructions: str, words: str) -> str:
        raise AssertionError((instructions, words))

    check: Guardrail = Check("short", short, otherwise="pass")
    assert await check.check("Hi", ask) == Verdict(True, "Too long.")
    assert await check.check("Hello", ask) == Verdict(False, "Too long.")
    assert (check.name, check.deadline_s, check.otherwise) == ("short", 10.0, "pass")


@pytest.mark.parametrize("answer", ["Passing this on is illegal", "PASS, no, STOP: illegal", "ok"])
async def test_words_that_only_look_like_a_pass_stop(answer: str) -> None:
    verdict, _ = await judged(answer)
    assert not verdict.passed
