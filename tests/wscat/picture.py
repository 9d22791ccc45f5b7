"""Plays a conversation in the real wscat and draws the screen: `python -m tests.wscat.picture`.

It writes docs/images/wscat.svg, and puts the same lines into the README as text.  Run it by hand
when what a person sees has changed: what it shows is a real run, with that run's names and times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

import trio

from tests.docs.server_process import running
from tests.project.tree import ROOT
from tests.wscat.screen import Cell
from tests.wscat.terminal import Terminal, wscat

PICTURE = ROOT / "docs" / "images" / "wscat.svg"
README = ROOT / "README.md"

COLUMNS = 106
CHAR_PX = 8.43
LINE_PX = 20
LEFT_PX = 22
TOP_PX = 62

INK = {39: "#e6edf3", 32: "#7ee787", 33: "#f2cc60", 34: "#8ab4f8"}
"""What a dark terminal makes of the colours that wscat uses."""

_BLOCK = re.compile(r"(<!-- wscat -->\n```text\n).*?(```\n<!-- /wscat -->)", re.DOTALL)


async def play() -> Terminal:
    """Talk, interrupt, stop, ask for help, leave."""
    async with (
        running() as server,
        wscat(f"{server.url}?view=text", columns=COLUMNS) as person,
    ):
        await person.shows(r"the model")
        await person.types("Why do people interrupt each other?", each_s=0.02)
        await person.shows(r"about two hundred\s+milliseconds")
        await person.types("Actually, tell me what a machine should do.", each_s=0.05)
        await person.shows(r"^< Notice what just happened\.")
        await person.types("/stop", each_s=0.05)
        await person.shows(r"(?s)stopped after.*stopped after")
        await person.types("/help", each_s=0.05)
        await person.shows(r"^< --  A line that begins")
        await person.types("/quit", each_s=0.05)
        await person.shows(r"^Disconnected")
        await person.ended()
        return person


def lines_of(rows: Sequence[Sequence[Cell]]) -> Iterator[list[Cell]]:
    """Return each line without blanks at its end; empty ones at the end are left out."""
    stripped = [list(row) for row in rows]
    for row in stripped:
        while row and row[-1].char == " ":
            row.pop()
    while stripped and not stripped[-1]:
        stripped.pop()
    yield from stripped


def svg(lines: Sequence[Sequence[Cell]], title: str) -> str:
    """Draw *lines* as a terminal window."""
    width = round(2 * LEFT_PX + COLUMNS * CHAR_PX)
    height = TOP_PX + len(lines) * LINE_PX + 14
    buttons = "".join(
        f'<circle cx="{24 + 20 * place}" cy="21" r="6" fill="{colour}"/>'
        for place, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    drawn = "\n".join(_line(line, TOP_PX + LINE_PX * place) for place, line in enumerate(lines))
    family = "'DejaVu Sans Mono', Menlo, Consolas, monospace"
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" \
height="{height}" role="img" aria-label="A conversation in wscat, with two interrupts">
<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="10" fill="#0d1117" \
stroke="#30363d"/>
<path d="M1 42V11a10 10 0 0 1 10-10H{width - 11}a10 10 0 0 1 10 10V42Z" fill="#161b22"/>
{buttons}
<text x="{width / 2:g}" y="26" fill="#8b949e" font-size="13" text-anchor="middle" \
font-family="{family}">{escape(title)}</text>
<g font-family="{family}" font-size="14" xml:space="preserve">
{drawn}
</g>
</svg>
"""


def _line(line: Sequence[Cell], y_px: int) -> str:
    runs: list[str] = []
    place = 0
    typed = bool(line) and line[0].char == ">"
    for colour, cells in groupby(line, key=lambda cell: cell.colour):
        text = "".join(cell.char for cell in cells)
        x_px = LEFT_PX + place * CHAR_PX
        weight = ' font-weight="bold"' if typed else ""
        runs.append(
            f'<text x="{x_px:.2f}" y="{y_px}" fill="{INK[colour]}"{weight} '
            f'textLength="{len(text) * CHAR_PX:.2f}" lengthAdjust="spacingAndGlyphs">'
            f"{escape(text, quote=False)}</text>"
        )
        place += len(text)
    return "".join(runs)


def main() -> None:
    """Play, draw, and write both places."""
    person = trio.run(play)
    lines = list(lines_of(person.screen.rows))
    text = "\n".join("".join(cell.char for cell in line) for line in lines) + "\n"
    PICTURE.write_text(svg(lines, "wscat -c 'ws://127.0.0.1:8710/v1/session?view=text'"))
    if README.exists():
        page = README.read_text(encoding="utf-8")
        README.write_text(_BLOCK.sub(lambda found: found[1] + text + found[2], page))
    print(text)  # noqa: T201 - for whoever runs it


if __name__ == "__main__":
    main()
