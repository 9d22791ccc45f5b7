"""Hypothesis strategies, built from the attrs classes of the protocol themselves."""

from __future__ import annotations

import types
import typing
from base64 import b64encode
from enum import Enum
from functools import cache
from typing import Any, Final, Literal, TypeVar, Union

import attrs
import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from bargein.protocol.audio import FORMATS
from bargein.protocol.commands import SendAudio
from bargein.protocol.gate import SAFE_INTEGER

T = TypeVar("T")

SETTLED: Final = settings(derandomize=True, deadline=None, max_examples=200, database=None)
"""For properties over single values."""

FEW: Final = settings(SETTLED, max_examples=40)
"""For properties over whole timelines, each of which tries every prefix."""

integers: Final = st.integers(-SAFE_INTEGER, SAFE_INTEGER)
reals: Final = st.floats(allow_nan=False, allow_infinity=False)
json_values: Final[SearchStrategy[Any]] = st.recursive(
    st.none() | st.booleans() | integers | reals | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)

_PLAIN: Final[dict[Any, SearchStrategy[Any]]] = {
    str: st.text(max_size=20),
    int: integers,
    float: reals,
    bool: st.booleans(),
    type(None): st.none(),
    msgspec.UnsetType: st.just(msgspec.UNSET),
    Any: json_values,
}


def instances(kind: type[T]) -> SearchStrategy[T]:
    """Instances of an attrs class, any value that its annotations allow in each field."""
    return typing.cast("SearchStrategy[T]", _instances(kind))


@cache
def _instances(kind: Any) -> SearchStrategy[Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {field.name: values_of(hints[field.name]) for field in attrs.fields(kind)}
    if kind is SendAudio:  # what an annotation can't say
        fields["format"] = st.sampled_from(FORMATS)
        fields["data"] = st.binary(max_size=20).map(lambda sound: b64encode(sound).decode())
    return st.builds(kind, **fields)


def values_of(annotation: Any) -> SearchStrategy[Any]:
    """Values that *annotation* allows."""
    while hasattr(annotation, "__supertype__"):  # a NewType
        annotation = annotation.__supertype__
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if attrs.has(annotation):
        return _instances(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return st.sampled_from(annotation)
    return _composed(typing.get_origin(annotation), typing.get_args(annotation))


def _composed(origin: Any, args: tuple[Any, ...]) -> SearchStrategy[Any]:
    if origin is typing.Annotated:
        return _constrained(*args)
    if origin is Literal:
        return st.sampled_from(args)
    if origin in (Union, types.UnionType):
        return st.one_of([values_of(arg) for arg in args])
    if origin is tuple:
        return st.lists(values_of(args[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(st.text(max_size=5), values_of(args[1]), max_size=3)
    raise NotImplementedError(origin)


def _constrained(kind: Any, meta: msgspec.Meta) -> SearchStrategy[Any]:
    if meta.extra_json_schema is not None:
        return _of_schema(meta.extra_json_schema)
    if meta.pattern is not None:
        return st.from_regex(meta.pattern, fullmatch=True)
    if meta.max_length is not None and kind is not str:
        return values_of(kind)
    if meta.max_length is not None:
        return st.text(max_size=min(meta.max_length, 20))
    least = meta.gt if meta.gt is not None else meta.ge or 0
    if kind is int:
        return st.integers(int(least), SAFE_INTEGER)
    most = None if meta.le is None else meta.le
    return st.floats(least, most, allow_infinity=False, exclude_min=meta.gt is not None)


def _of_schema(schema: dict[str, Any]) -> SearchStrategy[Any]:
    """Values that fit what the classes say in JSON Schema, because no annotation can."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "properties" in schema:
        fields = {name: _of_schema(field) for name, field in schema["properties"].items()}
        required = {name: fields.pop(name) for name in schema.get("required", ())}
        return st.fixed_dictionaries(required, optional=fields)
    plain = {"string": str, "integer": int, "number": float, "boolean": bool, "null": type(None)}
    given: str | list[str] = schema["type"]
    names = [given] if isinstance(given, str) else given
    return st.one_of([_PLAIN[plain[name]] for name in names])
