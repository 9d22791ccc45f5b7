"""The table of faults as values: read from table.toml, where it is written."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import field, frozen

TABLE: Final = Path(__file__).with_name("table.toml")

SECTIONS: Final[dict[str, str]] = {
    "bytes": "Bytes and JSON",
    "attaching": "Attaching",
    "commands": "Commands",
    "models": "Models",
    "tools": "Tools",
    "store": "The store",
    "process": "Process, host, network",
}


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(value)


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value)


@frozen(kw_only=True)
class Row:
    """One row; its fields are told at the head of table.toml."""

    n: int
    section: str
    comes: str
    code: tuple[str, ...] = field(default=(), converter=_texts)
    close: tuple[int, ...] = field(default=(), converter=_numbers)
    http: tuple[int, ...] = field(default=(), converter=_numbers)
    exit: tuple[int, ...] = field(default=(), converter=_numbers)
    does: str = ""
    after: str
    strike: bool = False
    ends: bool = False
    by: tuple[str, ...] = field(default=(), converter=_texts)
    held: tuple[str, ...] = field(default=(), converter=_texts)
    later: str = ""


def rows_in(document: Mapping[str, Any]) -> tuple[Row, ...]:
    """Return the rows of a table in their order."""
    return tuple(Row(section=section, **row) for section in SECTIONS for row in document[section])


_DOCUMENT: Final = tomllib.loads(TABLE.read_text(encoding="utf-8"))

ROWS: Final = rows_in(_DOCUMENT)

WHEN: Final[dict[str, str]] = _DOCUMENT["codes"]
"""What each code of an error is for."""

THEN: Final[dict[int, str]] = {int(code): text for code, text in _DOCUMENT["closes"].items()}
"""What a client does after each close."""
