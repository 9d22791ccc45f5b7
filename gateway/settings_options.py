"""What is known of each setting: where it may come from, what it takes, and what it is for."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from textwrap import dedent
from typing import Any, Final, cast

from attrs import Attribute, fields, frozen

from bargein.gateway.settings_kinds import Kind

ENV_PREFIX: Final = "BARGEIN_"


@frozen
class Option:
    """One setting as its sources and the reference see it.

    Attributes:
        key: Its dotted name, as in a TOML file.
        kind: What it takes.
        env: Its environment variable.
        flag: Its flag or argument of `bargein serve`, None where that would leak it.
        default: Its value where no source gives one.
        live: For what a SIGHUP changes it; None where that takes a restart.
        table: The class of its table, in which it stands by the last part of its key.
    """

    key: str
    kind: Kind[Any]
    env: str
    flag: str | None
    default: object
    live: str | None
    table: type

    @property
    def text(self) -> str:
        """What it is for; see `prose_of` for what that costs."""
        return prose_of(self.table)[self.key.rpartition(".")[2]]


def options_of(table: type, prefix: str = "") -> Iterator[Option]:
    """List the settings of a table, and of those in it, in the order of the class."""
    for part in cast("tuple[Attribute[Any], ...]", fields(table)):
        key = prefix + part.name
        if part.metadata:
            yield _option(table, key, part)
        else:  # a group, which its own class makes
            yield from options_of(cast("Any", part.default).factory, f"{key}.")


def _option(table: type, key: str, part: Attribute[Any]) -> Option:
    facts = part.metadata
    return Option(
        key=key,
        kind=facts["kind"],
        env=facts["env"] or ENV_PREFIX + key.replace(".", "_").upper(),
        flag=f"--{_hyphened(key)}" if facts["flag"] == "" else facts["flag"],
        default=part.default,
        live=facts["live"],
        table=table,
    )


def _hyphened(key: str) -> str:
    return key.replace(".", "-").replace("_", "-")


@cache
def prose_of(group: type) -> dict[str, str]:
    """Return the text below each attribute of a class that is declared in a file.

    It reads and parses that file, so ask for it only where somebody is going to read the text.
    """
    tree = ast.parse(dedent(inspect.getsource(group))).body[0]
    body = tree.body if isinstance(tree, ast.ClassDef) else []
    return {
        attribute.target.id: inspect.cleandoc(below.value.value)
        for attribute, below in pairwise(body)
        if isinstance(attribute, ast.AnnAssign)
        and isinstance(attribute.target, ast.Name)
        and isinstance(below, ast.Expr)
        and isinstance(below.value, ast.Constant)
        and isinstance(below.value.value, str)
    }
