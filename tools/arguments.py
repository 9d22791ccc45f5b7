"""The arguments of a tool: their schema from a function's annotations, and the check."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Final, cast, get_args, get_origin, get_type_hints

import msgspec
from attrs import frozen

from bargein.tools.errors import ArgumentsRefused, ToolInvalid

HIDDEN: Final = "[secret]"
"""What everybody but the tool sees of a secret argument."""

Schema = Mapping[str, Any]


@frozen
class SecretMark:
    """Marks an argument whose value is for the tool alone; use `SECRET`."""


SECRET: Final = SecretMark()
"""In an annotation, `Annotated[str, SECRET]`: the value stays out of timeline and logs."""

# The struct is never seen by anybody; under this name it meets no class of an app's.
_STRUCT: Final = {"name": "Arguments", "module": __name__}

# By position only, or any number of them: the model gives arguments by name, each once.
_UNNAMED: Final = {
    inspect.Parameter.POSITIONAL_ONLY: "{}, /",
    inspect.Parameter.VAR_POSITIONAL: "*{}",
    inspect.Parameter.VAR_KEYWORD: "**{}",
}


@frozen(eq=False)
class Arguments:
    """What a function takes by name.

    Attributes:
        schema: JSON Schema of it, an object that takes nothing else.
        secrets: Parameters whose values stay with the tool.
        context: Name of the parameter that takes the context, if one does.
    """

    schema: Schema
    secrets: frozenset[str]
    context: str | None
    _struct: type[msgspec.Struct]

    def checked(self, tool: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return *args* as the function wants them, nothing coerced.

        Raises:
            ArgumentsRefused: If they don't fit.
        """
        try:
            struct = msgspec.convert(dict(args), self._struct)
        except (msgspec.ValidationError, TypeError, ValueError) as error:
            # The last two come from the classes of an app, when they are built.
            raise ArgumentsRefused(tool, str(error)) from None
        definitions = self.schema.get("$defs", {})
        if (place := _unknown(args, self.schema, definitions, "$")) is not None:
            raise ArgumentsRefused(tool, f"there is no field `{place}`")
        return {name: getattr(struct, name) for name in struct.__struct_fields__}


def without_secrets(text: str, secrets: frozenset[str], args: Mapping[str, Any]) -> str:
    """Return *text*, somebody's words about *args*, with the values of *secrets* hidden in it."""
    for name in secrets & args.keys():
        for secret in _texts(args[name]):
            text = text.replace(secret, HIDDEN)
    return text


def _texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            yield from (text for part in cast("Any", value).values() for text in _texts(part))
        case list():
            yield from (text for part in cast("Any", value) for text in _texts(part))
        case _ if str(value):
            yield str(value)
        case _:
            pass


def arguments_of(
    tool: str, function: Callable[..., Any], described: Mapping[str, str], context: type
) -> Arguments:
    """Read what *function* takes from its annotations; one parameter may be the *context*.

    Raises:
        ToolInvalid: If a parameter has no annotation, or none that JSON can hold.
    """
    try:
        hints = get_type_hints(_annotated(function), include_extras=True)
    except (NameError, TypeError) as error:
        raise ToolInvalid(tool, f"its annotations can't be read: {error}") from None
    context_parameter: str | None = None
    fields: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in _UNNAMED:
            written = _UNNAMED[parameter.kind].format(parameter.name)
            raise ToolInvalid(tool, f"`{written}` can't be given by name")
        if parameter.name not in hints:
            raise ToolInvalid(tool, f"parameter {parameter.name!r} has no annotation")
        kind = hints[parameter.name]
        if kind is context:
            context_parameter = parameter.name
        elif parameter.default is parameter.empty:
            fields.append((parameter.name, kind))
        else:
            _check_default(tool, parameter, kind)
            fields.append((parameter.name, kind, parameter.default))
    struct, schema = _struct_of(tool, fields)
    secrets = frozenset(name for name, kind, *_ in fields if _is_secret(kind, set()))
    for name, shape in schema["properties"].items():
        if name in described:
            shape.setdefault("description", described[name])
        if name in secrets:
            shape["writeOnly"] = True
    return Arguments(schema, secrets, context_parameter, struct)


def _annotated(function: Callable[..., Any]) -> Any:
    if isinstance(function, partial):
        return _annotated(cast("partial[Any]", function).func)
    return function if inspect.isroutine(function) else type(function).__call__


def _check_default(tool: str, parameter: inspect.Parameter, kind: Any) -> None:
    try:
        msgspec.convert(msgspec.to_builtins(parameter.default), kind)
    except (msgspec.ValidationError, TypeError, ValueError, RecursionError) as error:
        reason = f"the default of {parameter.name!r} does not fit its annotation: {error}"
        raise ToolInvalid(tool, reason) from None


def _struct_of(tool: str, fields: list[Any]) -> tuple[type[msgspec.Struct], dict[str, Any]]:
    try:
        struct = msgspec.defstruct(
            _STRUCT["name"],
            fields,
            module=_STRUCT["module"],
            kw_only=True,
            forbid_unknown_fields=True,
        )
        (reference,), found = msgspec.json.schema_components((struct,))
    except (TypeError, KeyError) as error:
        # The KeyError is msgspec's way to say that two classes have one name in one module.
        raise ToolInvalid(tool, f"its arguments have no JSON Schema: {error}") from None
    definitions = cast("dict[str, dict[str, Any]]", found)
    for schema in definitions.values():
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
    # The model's vendors want the object itself at the top, not a reference to it.
    top = definitions.pop(_name_in(reference["$ref"]))
    del top["title"]
    return struct, {**top, "$defs": definitions} if definitions else top


def _is_secret(kind: Any, seen: set[Any]) -> bool:
    """Tell whether anything inside *kind* is marked: then all of it is hidden."""
    if get_origin(kind) is Annotated and SECRET in get_args(kind)[1:]:
        return True
    if isinstance(kind, type) and kind not in seen and "__annotations__" in vars(kind):
        seen.add(kind)
        inside = tuple(get_type_hints(kind, include_extras=True).values())
    else:
        inside = get_args(kind)
    return any(_is_secret(part, seen) for part in inside)


def _unknown(value: Any, schema: Schema, definitions: Schema, place: str) -> str | None:
    """Find a field that is not in the schema; *value* fits it otherwise."""
    match value:
        case dict():
            found = _of_object(cast("dict[str, Any]", value), schema, definitions, place)
        case list():
            found = _of_array(cast("list[Any]", value), schema, definitions, place)
        case _:
            return None
    return next(found, None)


def _of_object(
    value: dict[str, Any], schema: Schema, definitions: Schema, place: str
) -> Iterator[str]:
    shapes = list(_shapes(schema, definitions, "object"))
    fitting = [shape for shape in shapes if value.keys() <= shape.get("properties", value).keys()]
    if not fitting:
        known = {name for shape in shapes for name in shape["properties"]}
        # None is unknown where they are of different shapes: then it is the whole.
        yield from (f"{place}.{name}" for name in value if shapes and name not in known)
        yield from [place] if shapes else []
    for shape in fitting[:1]:
        others: Schema = shape.get("additionalProperties") or {}
        for name, inside in value.items():
            part = shape.get("properties", {}).get(name, others)
            if (found := _unknown(inside, part, definitions, f"{place}.{name}")) is not None:
                yield found


def _of_array(value: list[Any], schema: Schema, definitions: Schema, place: str) -> Iterator[str]:
    for shape in list(_shapes(schema, definitions, "array"))[:1]:
        first: list[Schema] = shape.get("prefixItems", [])
        rest: Schema = shape.get("items") or {}
        for index, inside in enumerate(value):
            part = first[index] if index < len(first) else rest
            if (found := _unknown(inside, part, definitions, f"{place}[{index}]")) is not None:
                yield found


def _shapes(schema: Schema, definitions: Schema, kind: str) -> Iterator[Schema]:
    """Yield what *schema* allows of *kind*, references followed."""
    if "$ref" in schema:
        yield from _shapes(definitions[_name_in(schema["$ref"])], definitions, kind)
    for option in schema.get("anyOf", ()):
        yield from _shapes(option, definitions, kind)
    if schema.get("type") == kind:
        yield schema


def _name_in(reference: str) -> str:
    return reference.rpartition("/")[2]
