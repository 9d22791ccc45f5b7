from __future__ import annotations

import enum
import functools
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import pytest
from attrs import Factory, field, frozen
from jsonschema import Draft202012Validator
from msgspec import Meta, Struct

from bargein.tools.tool import (
    HIDDEN,
    SECRET,
    ArgumentsRefused,
    Tool,
    ToolContext,
    ToolInvalid,
    tool,
)
from tests.tools.notes import context


@frozen
class Fee:
    percent: float
    note: str = ""


@frozen
class Order:
    symbol: Annotated[str, Meta(description="The ticker")]
    shares: int
    fees: list[Fee] = Factory(list[Fee])
    by_place: dict[str, Fee] = Factory(dict[str, Fee])
    limit: Fee | None = None
    pair: tuple[Fee, int] | None = None


@frozen
class Card:
    number: Annotated[str, SECRET]


@frozen
class Wallet:
    cards: list[Card]
    parent: Wallet | None = None


@frozen
class Picky:
    n: int = field()

    def __attrs_post_init__(self) -> None:
        if self.n == 13:
            raise ValueError("not thirteen")
        if self.n == 14:
            raise TypeError("not fourteen either")


class Pair(Struct):
    left: int


@dataclass
class Point:
    x: int


class Place(TypedDict):
    name: str


@frozen
class Arguments:
    """A class of an app under the name that the tools' own struct has."""

    n: int


def _given(made: Tool, args: Mapping[str, Any]) -> Any:
    return made.bind(args, context())()


def _echo(**given: Any) -> dict[str, Any]:
    return given


# --- the schema -------------------------------------------------------------------------------


def test_the_schema_is_an_object_that_takes_what_the_annotations_say():
    @tool
    def buy(
        order: Order,
        side: Literal["buy", "sell"],
        tags: list[str],
        limits: dict[str, float],
        rate: Annotated[float, Meta(ge=0, le=1, description="From 0 to 1")] = 0.5,
        note: str | None = None,
    ) -> None:
        """Buy."""
        _echo(order=order, side=side, tags=tags, limits=limits, rate=rate, note=note)

    schema = buy.schema
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert schema["required"] == ["order", "side", "tags", "limits"]
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert properties["order"] == {"$ref": "#/$defs/Order"}
    assert properties["side"]["enum"] == ["buy", "sell"]
    assert properties["tags"] == {"type": "array", "items": {"type": "string"}}
    assert properties["limits"]["additionalProperties"] == {"type": "number"}
    assert properties["rate"] == {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "From 0 to 1",
        "default": 0.5,
    }
    assert properties["note"]["default"] is None
    order = schema["$defs"]["Order"]
    assert order["additionalProperties"] is False
    assert order["properties"]["symbol"]["description"] == "The ticker"


def test_a_schema_without_classes_has_no_definitions():
    @tool
    def now() -> str:
        return "now"

    assert now.schema == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }


def test_a_class_may_have_the_name_of_the_struct_that_holds_the_arguments():
    @tool
    def count(given: Arguments) -> int:
        return given.n

    reference = count.schema["properties"]["given"]["$ref"].rpartition("/")[2]
    assert count.schema["$defs"][reference]["properties"] == {"n": {"type": "integer"}}
    assert _given(count, {"given": {"n": 3}}) == 3


def test_the_docstring_describes_the_tool_and_each_parameter():
    @tool
    def buy(symbol: str, shares: int, note: str = "", other: str = "") -> None:
        """Buy shares.

        At once, and at any price.

        Args:
            symbol: The ticker,
                in capitals.
            shares (int): How many: at least one.

            unknown: Nobody takes this.

        Returns:
            Nothing.
        """
        _echo(symbol=symbol, shares=shares, note=note, other=other)

    assert buy.description == (
        "Buy shares.\n\nAt once, and at any price.\n\nReturns:\n    Nothing."
    )
    properties = buy.schema["properties"]
    assert properties["symbol"]["description"] == "The ticker, in capitals."
    assert properties["shares"]["description"] == "How many: at least one."
    assert "description" not in properties["note"]


def test_a_description_in_the_annotation_goes_before_the_docstring():
    @tool
    def buy(symbol: Annotated[str, Meta(description="A ticker")]) -> str:
        """Buy.

        Args:
            symbol: Something else.
        After the section.
        """
        return symbol

    assert buy.schema["properties"]["symbol"]["description"] == "A ticker"
    assert buy.description == "Buy.\n\nAfter the section."


def test_what_args_says_before_its_first_parameter_is_dropped():
    @tool
    def buy(symbol: str) -> str:
        """Buy.

        Args:
            nothing here that looks like one
            symbol: A ticker.
        """
        return symbol

    assert buy.schema["properties"]["symbol"]["description"] == "A ticker."


def test_a_function_without_a_docstring_has_no_description():
    @tool
    def bare() -> None: ...

    assert bare.description == ""


# --- what is declared ---------------------------------------------------------------------------


def test_a_tool_that_declares_nothing_is_a_side_effect():
    @tool
    async def act() -> None: ...

    assert (act.effect, act.timeout_s, act.at_once, act.in_thread) == (
        "side_effect",
        30.0,
        4,
        False,
    )
    assert act.most_result_bytes == 256 * 1024
    assert act.name == "act"


def test_what_is_declared_is_what_holds():
    @tool(effect="read", name="look", timeout_s=2, most_result_bytes=10, at_once=1)
    def act() -> None: ...

    assert (act.name, act.effect, act.timeout_s, act.at_once) == ("look", "read", 2, 1)
    assert (act.most_result_bytes, act.in_thread) == (10, True)


class Lookup:
    async def __call__(self, n: int) -> int:
        return n

    def plain(self, n: int) -> int:
        return n + 1


async def test_methods_partials_and_callable_objects_may_be_tools():
    named = tool(name="lookup")(Lookup())
    assert not named.in_thread
    assert await _given(named, {"n": 1}) == 1
    method = tool(Lookup().plain)
    assert (method.name, method.in_thread) == ("plain", True)
    assert _given(method, {"n": 1}) == 2
    partial = tool(name="two")(functools.partial(Lookup().plain, n=2))
    assert _given(partial, {}) == 3


def _generator(n: int) -> Iterator[int]:
    yield n


async def _async_generator(n: int) -> AsyncIterator[int]:
    yield n


def _no_annotation(n: Any) -> None: ...


def _star(*n: int) -> None: ...
def _stars(**n: int) -> None: ...
def _by_place(n: int, /) -> None: ...
def _no_json(n: Callable[[], int]) -> None: ...
def _complex(n: complex) -> None: ...
def _unknown_name(n: Nowhere) -> None: ...  # noqa: F821  # pyright: ignore[reportUndefinedVariable, reportUnknownParameterType]
def _no_such_default(n: int = "three") -> None: ...  # pyright: ignore[reportArgumentType]
def _default_object(n: Any = object()) -> None: ...  # noqa: B008
def _mutable(n: list[int] = [1]) -> None: ...  # noqa: B006
def _größe(n: int) -> None: ...  # noqa: PLC2401
def _optional_context(n: ToolContext | None) -> None: ...


del _no_annotation.__annotations__["n"]

REFUSED: list[tuple[Callable[..., Any], str]] = [
    (_generator, "a generator has no one result"),
    (_async_generator, "a generator has no one result"),
    (_no_annotation, "parameter 'n' has no annotation"),
    (_star, "`*n` can't be given by name"),
    (_stars, "`**n` can't be given by name"),
    (_by_place, "`n, /` can't be given by name"),
    (_no_json, "no JSON Schema"),
    (_complex, "no JSON Schema"),
    (_unknown_name, "annotations can't be read"),
    (_no_such_default, "the default of 'n' does not fit"),
    (_default_object, "the default of 'n' does not fit"),
    (_mutable, "no JSON Schema"),
    (_größe, "takes only names like"),
    (_optional_context, "no JSON Schema"),
    (functools.partial(_star), "given by name"),
    (functools.partial(_complex), "no JSON Schema"),
]


@pytest.mark.parametrize(("function", "reason"), REFUSED)
def test_a_function_that_can_be_no_tool_is_refused_when_it_is_declared(
    function: Callable[..., Any], reason: str
):
    with pytest.raises(ToolInvalid, match=r"^tool ") as refused:
        tool(function)
    assert reason in refused.value.reason
    assert refused.value.tool == getattr(function, "__name__", "")


def test_classes_that_msgspec_can_t_tell_apart_are_refused():
    def twin() -> type:
        @frozen
        class Twin:
            n: int

        return Twin

    def take(one: Any, other: Any) -> None: ...

    take.__annotations__ = {"one": twin(), "other": twin()}
    with pytest.raises(ToolInvalid, match="no JSON Schema"):
        tool(take)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout_s": 0},
        {"timeout_s": float("nan")},
        {"at_once": 0},
        {"most_result_bytes": -1},
        {"effect": "none"},
        {"name": "a b"},
        {"name": "a" * 65},
    ],
)
def test_limits_that_let_nothing_through_are_refused(wrong: dict[str, Any]):
    def act() -> None: ...

    with pytest.raises(ToolInvalid):
        tool(**wrong)(act)


def test_a_tool_may_be_anything_behind_its_binding():
    def bind(args: Mapping[str, Any], given: ToolContext) -> Callable[[], Any]:
        return lambda: (dict(args), given.principal)

    made = Tool("foreign", "Elsewhere.", {"type": "object"}, bind, effect="read", in_thread=True)
    assert made.bind({"a": 1}, context())() == ({"a": 1}, "somebody")


def test_a_schema_that_is_not_of_an_object_is_refused():
    with pytest.raises(ToolInvalid, match="not of an object"):
        Tool("foreign", "", {"type": "array"}, lambda args, given: lambda: (args, given))


# --- the arguments --------------------------------------------------------------------------


@tool
def everything(
    n: int = 0,
    text: str = "",
    flag: bool = False,
    side: Literal["buy", "sell", ""] = "",
    order: Order | None = None,
    pair: Pair | None = None,
    point: Point | None = None,
    place: Place | None = None,
    picky: Picky | None = None,
    either: list[int] | dict[str, Fee] | None = None,
    anything: Any = None,
) -> dict[str, Any]:
    return {name: value for name, value in locals().items() if value}


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ({"n": True}, "Expected `int`, got `bool` - at `$.n`"),
        ({"n": 1.5}, "Expected `int`, got `float` - at `$.n`"),
        ({"n": "1"}, "Expected `int`, got `str` - at `$.n`"),
        ({"n": None}, "Expected `int`, got `null` - at `$.n`"),
        ({"flag": 1}, "Expected `bool`, got `int` - at `$.flag`"),
        ({"text": 1}, "Expected `str`, got `int` - at `$.text`"),
        ({"side": "hold"}, "Invalid enum value 'hold' - at `$.side`"),
        ({"m": 1}, "Object contains unknown field `m`"),
        ({"order": {"symbol": "A"}}, "missing required field `shares`"),
        ({"order": {"symbol": "A", "shares": 1, "x": 1}}, "there is no field `$.order.x`"),
        (
            {
                "order": {
                    "symbol": "A",
                    "shares": 1,
                    "fees": [{"percent": 1}, {"percent": 1, "p": 2}],
                }
            },
            "there is no field `$.order.fees[1].p`",
        ),
        (
            {"order": {"symbol": "A", "shares": 1, "by_place": {"L": {"percent": 1, "p": 2}}}},
            "there is no field `$.order.by_place.L.p`",
        ),
        (
            {"order": {"symbol": "A", "shares": 1, "limit": {"percent": 1, "p": 2}}},
            "there is no field `$.order.limit.p`",
        ),
        (
            {"order": {"symbol": "A", "shares": 1, "pair": [{"percent": 1, "p": 2}, 1]}},
            "there is no field `$.order.pair[0].p`",
        ),
        ({"pair": {"left": 1, "right": 2}}, "there is no field `$.pair.right`"),
        ({"point": {"x": 1, "y": 2}}, "there is no field `$.point.y`"),
        ({"place": {"name": "x", "y": 2}}, "there is no field `$.place.y`"),
        ({"either": {"a": {"percent": 1, "p": 2}}}, "there is no field `$.either.a.p`"),
        ({"picky": {"n": 13}}, "not thirteen"),
        ({"picky": {"n": 14}}, "not fourteen"),
    ],
)
def test_arguments_that_don_t_fit_are_refused_with_their_place(args: dict[str, Any], reason: str):
    with pytest.raises(ArgumentsRefused) as refused:
        everything.bind(args, context())
    assert reason in refused.value.reason
    assert refused.value.tool == "everything"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({}, {}),
        ({"n": 2, "text": "ä"}, {"n": 2, "text": "ä"}),
        ({"pair": {"left": 1}}, {"pair": Pair(1)}),
        ({"point": {"x": 1}}, {"point": Point(1)}),
        ({"place": {"name": "x"}}, {"place": {"name": "x"}}),
        ({"either": [1]}, {"either": [1]}),
        ({"either": {"a": {"percent": 1}}}, {"either": {"a": Fee(1.0)}}),
        ({"anything": {"a": [{"b": 1}]}}, {"anything": {"a": [{"b": 1}]}}),
        (
            {"order": {"symbol": "A", "shares": 1, "pair": [{"percent": 1}, 2]}},
            {"order": Order("A", 1, pair=(Fee(1.0), 2))},
        ),
    ],
)
def test_arguments_come_as_what_the_function_is_annotated_with(
    args: dict[str, Any], expected: dict[str, Any]
):
    assert _given(everything, args) == expected


class Mood(enum.Enum):
    IDLE = "idle"
    BUSY = "busy"


@frozen
class Cat:
    lives: int
    mood: Mood = Mood.IDLE


class Dog(Struct, tag=True):
    bones: int


class Bird(Struct, tag=True):
    wings: int


def test_an_unknown_field_of_one_of_several_classes_is_found():
    @tool
    def pet(animal: Dog | Bird) -> Any:
        return animal

    assert _given(pet, {"animal": {"type": "Dog", "bones": 1}}) == Dog(1)
    with pytest.raises(ArgumentsRefused, match=r"no field `\$.animal.lives`"):
        pet.bind({"animal": {"type": "Dog", "bones": 1, "lives": 9}}, context())
    with pytest.raises(ArgumentsRefused, match=r"no field `\$.animal`"):
        pet.bind({"animal": {"type": "Dog", "bones": 1, "wings": 2}}, context())


def test_a_class_with_an_enumeration_is_taken():
    @tool
    def pet(cat: Cat) -> Any:
        return cat

    assert _given(pet, {"cat": {"lives": 9, "mood": "busy"}}) == Cat(9, Mood.BUSY)
    with pytest.raises(ArgumentsRefused, match="Invalid enum value 'sad'"):
        pet.bind({"cat": {"lives": 9, "mood": "sad"}}, context())


def test_the_context_is_given_and_not_asked_for():
    @tool
    def who(n: int, call: ToolContext) -> tuple[int, str]:
        return n, call.call_id

    assert list(who.schema["properties"]) == ["n"]
    assert _given(who, {"n": 1}) == (1, "call_1")


def test_what_a_call_is_given_is_its_own():
    @tool
    def add(seen: list[int] = []) -> list[int]:  # noqa: B006
        seen.append(1)
        return seen

    assert _given(add, {}) == [1]
    assert _given(add, {}) == [1]


# --- secrets ------------------------------------------------------------------------------


@tool
def log_in(
    user: str,
    password: Annotated[str, SECRET],
    codes: list[Annotated[int, SECRET]] = [],  # noqa: B006
    wallet: Wallet | None = None,
) -> str:
    return f"{user} {password} {codes} {wallet}"


def test_secret_arguments_are_shown_to_nobody():
    shown = log_in.shown({"user": "ann", "password": "pw-1", "codes": [5], "wallet": {"cards": []}})
    assert shown == {"user": "ann", "password": HIDDEN, "codes": HIDDEN, "wallet": HIDDEN}
    assert log_in.secrets == {"password", "codes", "wallet"}
    assert log_in.schema["properties"]["password"]["writeOnly"] is True
    assert "writeOnly" not in log_in.schema["properties"]["user"]


def test_a_secret_under_a_wrong_name_is_hidden_too():
    assert log_in.shown({"passwd": "pw-1"}) == {"passwd": HIDDEN}


def test_a_secret_reaches_the_tool():
    assert _given(log_in, {"user": "ann", "password": "pw-1"}) == "ann pw-1 [] None"


def test_a_tool_without_secrets_shows_its_arguments_as_they_came():
    args = {"n": 1, "m": 2}
    shown = everything.shown(args)
    assert shown == args
    assert shown is not args
