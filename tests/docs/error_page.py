"""Writes docs/errors.md from the registry of codes and the table of faults: `make docs`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from bargein.protocol.codes import CloseCode, ErrorCode
from tests.faults.table import ROWS, SECTIONS, THEN, WHEN, Row
from tests.project.tree import ROOT

PAGE: Final = ROOT / "docs" / "errors.md"

_RFC_6455: Final[dict[int, str]] = {
    1002: "A frame broke RFC 6455.",
    1009: "A message was longer than any may be.",
}
"""Close codes that the WebSocket library sends by itself."""

HEAD: Final = """\
# Errors

For whoever gets one, and for whoever wonders what would happen if. This page is generated (`make
docs`) from the registry of codes and from the table of faults, `tests/faults/table.toml`; the same
table is tried, row by row, on a real server (`tests/faults`).

- An error comes as a frame `error` with the command's `id` (null where none could be read), or as
  an event `error` on the timeline, where a turn failed. Its `code` is for programs, its `message`
  for people; `param` names the field that is wrong.
- **Retryable** means that the same request may succeed later, unchanged. A failed turn that may be
  taken up again has a `resume_token` in `recover`.
- A **strike** is a frame that no careful client sends. Ten of them within a minute close the
  connection with 4101.
- No error holds a traceback, a path, a prompt or a secret. What an exception says is in the log of
  the server alone, under keys that begin with `pii.`.
"""

CODES_HEAD: Final = """\
## Codes

| code | when | retryable | message, where nothing more precise is said | rows |
|---|---|---|---|---|
"""

CLOSES_HEAD: Final = """\
## Close codes

From 4000 to 4099 a client comes back with `after` and loses nothing; from 4100 on it does not come
back by itself.

| code | what happened | what a client does | rows |
|---|---|---|---|
"""

FAULTS_HEAD: Final = """\
## Faults

What comes in or fails, what the answer is, and what is there afterwards. Unless a row says
otherwise the session can be used as before. Rows that are not held by a test yet say why.
"""


def page() -> str:
    """Return the whole page as it has to be now."""
    parts = [f"{HEAD}\n{CODES_HEAD}", *code_rows(), "\n", CLOSES_HEAD, *close_rows(), "\n"]
    return "".join([*parts, FAULTS_HEAD, *fault_tables()])


def code_rows() -> Iterator[str]:
    """Return what each code is for."""
    for code in ErrorCode:
        retryable = "yes" if code.retryable else "no"
        rows = numbers(row for row in ROWS if code.value in row.code)
        yield f"| `{code.value}` | {WHEN[code]} | {retryable} | {code.sentence} | {rows} |\n"


def close_rows() -> Iterator[str]:
    """Return what each close code means, and what a client does then."""
    told = {**{code.value: code.sentence for code in CloseCode}, **_RFC_6455}
    for code in sorted(told):
        rows = numbers(row for row in ROWS if code in row.close)
        yield f"| {code} | {told[code]} | {THEN[code]} | {rows} |\n"


def fault_tables() -> Iterator[str]:
    """Return the table of faults, by section."""
    for section, title in SECTIONS.items():
        yield f"\n### {title}\n\n| # | what comes in | answer | afterwards |\n|---|---|---|---|\n"
        for row in ROWS:
            if row.section == section:
                yield f"| {row.n} | {row.comes} | {answer(row)} | {afterwards(row)} |\n"


def answer(row: Row) -> str:
    """Return what a row is answered with: codes first, words behind them."""
    named = [f"`{code}`" for code in row.code]
    named += [f"HTTP {status}" for status in row.http]
    named += [f"close {code}" for code in row.close]
    named += [f"exit code {code}" for code in row.exit]
    return "; ".join(part for part in (", ".join(named), row.does) if part)


def afterwards(row: Row) -> str:
    """Return what is there afterwards."""
    strike = "; a strike" if row.strike else ""
    later = f" (*not yet: {row.later}*)" if row.later else ""
    return f"{row.after}{strike}{later}"


def numbers(rows: Iterable[Row]) -> str:
    """Return the numbers of rows, or a dash where there are none."""
    return ", ".join(str(row.n) for row in rows) or "-"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
