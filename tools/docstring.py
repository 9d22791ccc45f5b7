"""What a docstring says of a function and of each of its parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from attrs import frozen

_SECTION: Final = re.compile(
    r"(Args|Arguments|Attributes|Example|Examples|Note|Notes|Raises|Returns|Yields):\s*"
)
_PARAMETER: Final = re.compile(r"(?P<margin>\s+)\*{0,2}(?P<name>\w+)(?: ?\([^)]*\))?:(?P<text>.*)")


@frozen
class Docstring:
    """A docstring in Google's style, taken apart.

    Attributes:
        text: All but the `Args:`.
        parameters: What `Args:` says of each.
    """

    text: str
    parameters: dict[str, str]


def docstring_of(function: Callable[..., Any]) -> Docstring:
    """Read the docstring of *function*; one in another style is all text."""
    text: list[str] = []
    described: list[str] = []
    lines = text
    for line in (inspect.getdoc(function) or "").splitlines():
        if section := _SECTION.fullmatch(line):
            lines = described if section[1] in ("Args", "Arguments") else text
            if lines is described:
                continue
        elif line and not line[0].isspace():
            lines = text
        lines.append(line)
    return Docstring("\n".join(text).strip(), _parameters(described))


def _parameters(lines: Iterable[str]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    margin = name = ""
    for line in lines:
        entry = _PARAMETER.fullmatch(line)
        if entry and (not margin or entry["margin"] == margin):
            margin, name = entry["margin"], entry["name"]
            found[name] = [entry["text"].strip()]
        elif name:
            found[name].append(line.strip())
    return {name: " ".join(filter(None, text)) for name, text in found.items()}
