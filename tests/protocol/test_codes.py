"""The registry of codes: complete, and the same as the protocol's lists."""

from __future__ import annotations

import pytest

from bargein.protocol.codes import RETRYABLE, SENTENCES, CloseCode, ErrorCode
from bargein.protocol.frames import Problem, problem

RETRY = {
    "busy",
    "rate_limited",
    "quota_exceeded",
    "overloaded",
    "model_error",
    "model_overloaded",
    "model_timeout",
    "tool_error",
    "tool_timeout",
    "store_unavailable",
    "server_restarted",
    "internal",
}
FINAL = {
    "invalid_json",
    "invalid_command",
    "unknown_command",
    "frame_too_large",
    "not_utf8",
    "binary_not_supported",
    "unauthorized",
    "forbidden",
    "not_found",
    "duplicate",
    "expired",
    "stale",
    "guardrail",
    "model_refused",
    "context_overflow",
    "tool_limit",
    "plan_invalid",
    "timeline_corrupt",
}


def test_the_codes_are_those_of_the_protocol() -> None:
    assert {code.value for code in ErrorCode} == RETRY | FINAL
    assert SENTENCES.keys() == set(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_every_error_code_has_a_sentence_and_says_whether_to_retry(code: ErrorCode) -> None:
    assert code.sentence[0].isupper()
    assert code.sentence.endswith(".")
    assert code.retryable is (code.value in RETRY) is (code in RETRYABLE)
    assert f"{code}" == code.value


@pytest.mark.parametrize("code", CloseCode)
def test_every_close_code_has_a_sentence_and_says_whether_to_come_back(code: CloseCode) -> None:
    assert code.sentence[0].isupper()
    assert code.sentence.endswith(".")
    assert code.reconnect is (code in (4000, 4001, 4002, 4003, 4004))


def test_a_problem_says_the_registrys_sentence_unless_told_otherwise() -> None:
    assert problem(ErrorCode.BUSY) == Problem(ErrorCode.BUSY, ErrorCode.BUSY.sentence, True)
    assert problem(ErrorCode.BUSY, "Wait.", param="text", retryable=False) == Problem(
        ErrorCode.BUSY, "Wait.", False, "text"
    )
