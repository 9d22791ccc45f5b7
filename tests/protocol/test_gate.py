"""What passes the gate means the same everywhere; the rest is refused with its reason."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bargein.protocol.gate import (
    MOST_DEPTH,
    MOST_KEYS,
    MOST_NODES,
    SAFE_INTEGER,
    JsonRefused,
    parse,
)
from tests.protocol.strategies import SETTLED, json_values


def _object_of(count: int) -> str:
    return json.dumps({f"k{number}": number for number in range(count)})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "Expecting value at character 0"),
        ('{"a":}', "Expecting value at character 5"),
        ('{"a":1} x', "Extra data at character 8"),
        ("\ufeff{}", "byte order mark"),
        ("[" * (MOST_DEPTH + 1) + "]" * (MOST_DEPTH + 1), "deeper than 32"),
        ('{"a":' * (MOST_DEPTH + 1) + "1" + "}" * (MOST_DEPTH + 1), "deeper than 32"),
        ("[" * 100_000, "deeper than 32"),
        ('{"a":' * 100_000, "deeper than 32"),
        (_object_of(MOST_KEYS + 1), "more than 1000 keys"),
        (json.dumps([0] * MOST_NODES), "more than 10000 values"),
        ('{"a":1,"a":2}', "same key twice"),
        ('{"x":{"a":1,"\\u0061":1}}', "same key twice"),
        ("NaN", "NaN is not a JSON number"),
        ("[Infinity]", "Infinity is not a JSON number"),
        ("-Infinity", "-Infinity is not a JSON number"),
        ("1e999", "beyond what a double can hold"),
        ("-1e999", "beyond what a double can hold"),
        ("9" * 400 + ".0", "beyond what a double can hold"),
        (str(SAFE_INTEGER + 1), "integer beyond 2^53"),
        (str(-SAFE_INTEGER - 1), "integer beyond 2^53"),
        ("1" * 5_000, "integer beyond 2^53"),
        ('"\\ud800"', "lone surrogate"),
        ('"\\udc00\\ud800"', "lone surrogate"),
        ('["ok",{"a":["\ud800"]}]', "lone surrogate"),
        ('{"\\ud83d":1}', "lone surrogate"),
        ('"a\nb"', "Invalid control character"),
    ],
)
def test_what_is_not_the_same_everywhere_is_refused(text: str, reason: str) -> None:
    with pytest.raises(JsonRefused, match=r".*") as refused:
        parse(text)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "[" * MOST_DEPTH + "]" * MOST_DEPTH,
        '{"a":' * MOST_DEPTH + "1" + "}" * MOST_DEPTH,
        _object_of(MOST_KEYS),
        json.dumps([0] * (MOST_NODES - 1)),
        json.dumps("[{" * 20_000),
        str(SAFE_INTEGER),
        str(-SAFE_INTEGER),
        "1e308",
        '"\\ud83d\\ude00"',
        '"\u202e\\u0000\\n"',
        ' {"a" : [1, 2.5, true, null, "x"]} ',
        '{"a":{"a":1}}',
    ],
)
def test_what_is_at_the_limit_is_taken(text: str) -> None:
    assert parse(text) == json.loads(text)


def test_a_refusal_says_where_the_fault_is() -> None:
    with pytest.raises(JsonRefused) as refused:
        parse('{"type":"say",}')
    assert refused.value.position == 14
    assert str(refused.value) == f"{refused.value.reason} at character 14"


def test_a_fault_of_the_whole_has_no_position() -> None:
    with pytest.raises(JsonRefused) as refused:
        parse('{"a":1,"a":1}')
    assert refused.value.position is None
    assert str(refused.value) == refused.value.reason


@SETTLED
@given(json_values, st.booleans())
def test_every_decent_value_passes_and_comes_back(value: Any, ascii_only: bool) -> None:
    assert parse(json.dumps(value, ensure_ascii=ascii_only)) == value


@SETTLED
@given(st.text(alphabet='{}[]",:\\ude0189.-+ eEtrufalsn\ud800é\x00', max_size=40))
@example('{"a":[1]}')
def test_whatever_passes_equals_what_the_standard_library_reads(text: str) -> None:
    try:
        value = parse(text)
    except JsonRefused:
        return
    assert value == json.loads(text)


@SETTLED
@given(json_values, st.data())
def test_a_damaged_text_is_read_alike_or_refused(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value)
    place = data.draw(st.integers(0, len(text) - 1))
    damaged = text[:place] + data.draw(st.characters()) + text[place + 1 :]
    try:
        read = parse(damaged)
    except JsonRefused:
        return
    assert read == json.loads(damaged)
