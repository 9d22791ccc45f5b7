from __future__ import annotations

import dataclasses
import enum
import json
import time
import uuid
from collections import OrderedDict
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from types import MappingProxyType
from typing import Any

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from structlog.testing import capture_logs

from bargein.protocol.gate import parse
from bargein.tools.results import MOST_VALUES, output_of

ROOM = 256 * 1024


@frozen
class Fund:
    name: str
    fee: Decimal


class Pair(Struct):
    left: Any


@dataclasses.dataclass
class Point:
    x: int


class Side(enum.Enum):
    BUY = "buy"


class Level(enum.IntEnum):
    HIGH = 3


KEPT: list[tuple[Any, Any]] = [
    (None, None),
    (True, True),
    (7, 7),
    (2**53, 2**53),
    (0.5, 0.5),
    ([], []),
    ({}, {}),
    ((1, "a"), [1, "a"]),
    ({"a": {"b": [1, {}]}, "c": []}, {"a": {"b": [1, {}]}, "c": []}),
    ([Fund("A", Decimal("0.2"))], [{"name": "A", "fee": "0.2"}]),
    (Pair([Point(1)]), {"left": [{"x": 1}]}),
    ({"side": Side.BUY, "level": Level.HIGH}, {"side": "buy", "level": 3}),
    (
        {2024: 1, Side.BUY: 2, uuid.UUID(int=0): 3},
        {"2024": 1, "buy": 2, str(uuid.UUID(int=0)): 3},
    ),
    (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00Z"),
    ({5}, [5]),
    (frozenset[int](), []),
    (OrderedDict(a=1), {"a": 1}),
    (MappingProxyType({"a": 1}), {"a": 1}),
]


@pytest.mark.parametrize(("result", "kept"), KEPT)
def test_a_result_is_kept_as_json(result: Any, kept: Any):
    output = output_of(result, ROOM)
    assert (output.status, output.result) == ("ok", kept)
    assert json.loads(output.text) == kept if output.text != kept else isinstance(kept, str)


def test_text_is_read_as_it_is_and_not_quoted():
    output = output_of('say "hi"', ROOM)
    assert (output.status, output.result, output.text) == ("ok", 'say "hi"', 'say "hi"')


def test_a_result_that_changes_later_is_kept_as_it_was():
    result = {"a": [1]}
    output = output_of(result, ROOM)
    result["a"].append(2)
    assert output.result == {"a": [1]}


def _cycle() -> list[Any]:
    cycle: list[Any] = []
    cycle.append({"again": cycle})
    return cycle


def _deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (b"raw", "bytes are no text"),
        ([bytearray(b"raw")], "bytes are no text"),
        ({"a": memoryview(b"raw")}, "bytes are no text"),
        (float("nan"), "not JSON compliant"),
        ([float("inf")], "not JSON compliant"),
        (2**53 + 1, "beyond 2^53"),
        (-(2**64), "beyond 2^53"),
        ([10**5000], "integer string conversion"),
        ("\ud800", "surrogates not allowed"),
        (["\ud800"], "surrogates not allowed"),
        ({"\ud800": 1}, "surrogates not allowed"),
        (_cycle(), "nested deeper"),
        (_deep(33), "nested deeper"),
        ({(1, 2): 3}, "a key is tuple"),
        ({True: 1}, "a key is bool"),
        ({None: 1}, "a key is NoneType"),
        ({1: "a", "1": "b"}, "the same key twice"),
        ({str(n): n for n in range(1001)}, "more than 1000 keys"),
        (object(), "object"),
        ([lambda: None], "function"),
        ((n for n in range(3)), "generator"),
        (Point, "type"),
        (complex(1, 2), "complex"),
    ],
    ids=count(),
)
def test_what_is_no_json_is_an_error_that_says_why(result: Any, reason: str):
    with capture_logs() as logs:
        output = output_of(result, ROOM)
    assert output.status == "error"
    assert output.result == output.text
    assert output.text.startswith("The tool's result is not JSON that can be kept:")
    assert reason in output.text
    assert [entry["event"] for entry in logs] == ["tool.result_refused"]


def test_the_deepest_that_the_timeline_takes_is_kept():
    assert output_of(_deep(32), ROOM).result == _deep(32)


def test_a_long_text_is_cut_and_says_so():
    output = output_of("ab" * 10, 7)
    assert output.status == "ok"
    assert output.result == {"cut": True, "most_bytes": 7, "text": "abababa"}
    assert output.text == "abababa\n[cut: the whole result is longer than 7 bytes]"


def test_text_that_just_fits_is_not_cut():
    assert output_of("äöü", 6).result == "äöü"


def test_a_cut_does_not_split_a_character():
    assert output_of("äöü", 5).result["text"] == "äö"
    assert output_of(["äöü"], 5).result["text"] == '["ä'


def test_a_long_list_is_cut_and_says_so():
    output = output_of([{"name": "A"}, {"name": "B"}], 12)
    assert output.result == {"cut": True, "most_bytes": 12, "text": '[{"name":"A"'}
    assert output.text.endswith("[cut: the whole result is longer than 12 bytes]")


def test_a_long_name_in_an_object_is_cut():
    assert output_of({"n" * 100: 1}, 5).result["text"] == '{"nnn'


def test_a_list_that_just_fits_is_not_cut():
    assert output_of([1, 2], 5).result == [1, 2]
    assert output_of([1, 2], 4).result["text"] == "[1,2"


def test_more_values_than_an_event_may_hold_are_cut():
    assert output_of([0] * (MOST_VALUES - 1), ROOM).result == [0] * (MOST_VALUES - 1)
    assert output_of([0] * MOST_VALUES, ROOM).result["cut"] is True


@pytest.mark.parametrize("kind", ["text", "texts", "numbers", "escapes"])
def test_a_result_of_100_mb_holds_nobody_up(kind: str):
    result: Any = {
        "text": lambda: "x" * 100_000_000,
        "texts": lambda: ["x" * 100_000_000],
        "numbers": lambda: [[0] * 1000] * 100_000,
        "escapes": lambda: {"a": "\n" * 100_000_000},
    }[kind]()
    began_s = time.perf_counter()
    output = output_of(result, ROOM)
    took_s = time.perf_counter() - began_s
    assert output.result["cut"] is True
    assert len(output.text) < ROOM + 100
    assert took_s < 0.5  # writing all of it would take seconds; mostly it is some ms


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats()
    | st.text(st.characters())
    | st.binary(max_size=3),
    lambda inside: st.lists(inside) | st.dictionaries(st.text() | st.integers(), inside),
    max_leaves=20,
)


@given(JSON, st.integers(1, 200))
def test_whatever_comes_out_the_timeline_takes(result: Any, most_bytes: int):
    output = output_of(result, most_bytes)
    encoded = json.dumps(output.result, allow_nan=False)
    assert parse(encoded) == output.result
    output.text.encode()
    if output.status == "ok" and "[cut:" not in output.text:
        assert len(output.text.encode()) <= most_bytes
