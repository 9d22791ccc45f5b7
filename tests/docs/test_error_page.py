"""docs/errors.md is what the registry and the table of faults say, and both are whole."""

from __future__ import annotations

import re

from bargein.protocol.codes import CloseCode, ErrorCode
from tests.docs import error_page, pages
from tests.faults.table import ROWS, THEN, WHEN

PAGE = pages.read(error_page.PAGE)


def test_the_page_is_up_to_date():
    assert error_page.page() == PAGE, "run `make docs`"


def test_every_code_has_its_row_and_says_when():
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (yes|no) \|", PAGE, re.MULTILINE)
    assert [row[0] for row in rows] == [code.value for code in ErrorCode]
    assert [row[2] == "yes" for row in rows] == [code.retryable for code in ErrorCode]
    assert WHEN.keys() == {code.value for code in ErrorCode}


def test_every_close_code_says_what_a_client_does():
    assert THEN.keys() >= {code.value for code in CloseCode}
    assert THEN.keys() == {code for row in ROWS for code in row.close} | set(CloseCode)
    for code in CloseCode:
        if code.reconnect:
            assert "comes back with `after`" in THEN[code]
        assert f"\n| {code.value} | {code.sentence} | {THEN[code]} |" in PAGE


FAULTS = PAGE.partition("## Faults")[2]


def test_every_fault_has_its_row_in_order():
    assert re.findall(r"^\| (\d+) \|", FAULTS, re.MULTILINE) == [str(row.n) for row in ROWS]


def test_nothing_of_a_row_is_left_out():
    for row in ROWS:
        (line,) = re.findall(rf"^\| {row.n} \| .*$", FAULTS, re.MULTILINE)
        for part in (row.comes, row.does, row.after, row.later, *map(str, row.close + row.http)):
            assert part in line
        if row.strike:
            assert line.removesuffix(" |").endswith("; a strike")
