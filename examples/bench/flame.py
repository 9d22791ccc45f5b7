"""Draws where the time of a thread goes, from what py-spy has recorded, as an SVG.

    py-spy record -p PID -d 8 -r 300 -t -F -f raw -o stacks.raw
    python -m examples.bench.flame stacks.raw docs/images/flame.svg --title "200 sessions"

Each box is a function, as wide as its share of the samples; what it calls stands on it.  The
functions around all others (the interpreter, the command line, the loop) are left out, as are boxes
too narrow to be read, which are counted in what they stand on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Final

import click
from attrs import define, field

WIDTH_PX: Final = 1200
ROW_PX: Final = 17
CHAR_PX: Final = 6.1
HEAD_PX: Final = 30
LEAST_SHARE: Final = 0.004
"""Narrower boxes are not drawn: they would hold no word."""

LOOP: Final = "unrolled_run"
"""Everything above it is how the process came to run its loop."""

_FRAME: Final = re.compile(r"(.*) \((.*?)(?::\d+)?\)")
_COLOURS: Final = {
    "models": "#e9b44c",
    "actors": "#5fa8d3",
    "protocol": "#8fb996",
    "timeline": "#c38d9e",
    "gateway": "#e27d60",
}
_OTHER: Final = "#c9c9c4"


@define(eq=False)
class Box:
    """A function at one place of the stacks.

    Attributes:
        samples: In how many it was there.
        above: What it called.
    """

    name: str
    place: str
    samples: int = 0
    above: dict[str, Box] = field(factory=dict[str, "Box"])

    def add(self, frames: Sequence[str], samples: int) -> None:
        """Count *samples* of a stack whose *frames* stand on this one."""
        self.samples += samples
        if frames:
            self.on_it(frames[0]).add(frames[1:], samples)

    def on_it(self, frame: str) -> Box:
        """Return the box of *frame* right above this one."""
        if frame not in self.above:
            found = _FRAME.fullmatch(frame)
            name, path = (frame, "") if found is None else (found[1], found[2])
            self.above[frame] = Box(name, "/".join(path.split("/")[-2:]))
        return self.above[frame]

    @property
    def depth(self) -> int:
        """How many boxes stand on each other here, this one included."""
        return 1 + max((box.depth for box in self.above.values()), default=0)

    @property
    def colour(self) -> str:
        """Of the package that the function belongs to."""
        package, _, _ = self.place.partition("/")
        return _COLOURS.get(package, _OTHER)


def stacks(lines: Iterable[str], thread: str) -> Box:
    """Return the stacks of the threads whose names contain *thread*, below the loop where it runs.

    Each line is a stack, outermost function first, a space and a number of samples.
    """
    root = Box(thread, "")
    for line in lines:
        stack, _, samples = line.strip().rpartition(" ")
        frames = stack.split(";")
        if thread not in frames[0]:
            continue
        inner = frames[1:]
        loop = next((at for at, frame in enumerate(inner) if frame.startswith(LOOP)), None)
        root.add(inner if loop is None else inner[loop + 1 :], int(samples))
    return root


def drawn(root: Box, title: str) -> str:
    """Return *root* and all that stands on it as an SVG document, the outermost at the bottom."""
    least = max(1.0, root.samples * LEAST_SHARE)
    height_px = HEAD_PX + root.depth * ROW_PX
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH_PX} {height_px}">',
        "<style>text{font:10px monospace}.t{font-size:13px}</style>",
        f'<rect width="{WIDTH_PX}" height="{height_px}" fill="#fbfaf7"/>',
        f'<text x="8" y="19" class="t">{escape(title)}: {root.samples} samples</text>',
    ]
    waiting = [(root, 0.0, 0)]
    while waiting:
        box, x_px, row = waiting.pop()
        parts.append(_rectangle(box, x_px, height_px - (row + 1) * ROW_PX, root.samples))
        for above in sorted(box.above.values(), key=lambda each: -each.samples):
            if above.samples >= least:
                waiting.append((above, x_px, row + 1))
            x_px += above.samples / root.samples * WIDTH_PX
    return "\n".join([*parts, "</svg>", ""])


def _rectangle(box: Box, x_px: float, y_px: int, samples: int) -> str:
    share = box.samples / samples
    width_px = share * WIDTH_PX
    told = escape(f"{box.name} {box.place} {share:.1%}")
    name = escape(box.name[: int((width_px - 4) / CHAR_PX)]) if width_px > 5 * CHAR_PX else ""
    text = f'<text x="{x_px + 2:.1f}" y="{y_px + 12}">{name}</text>' if name else ""
    return (
        f'<g><title>{told}</title><rect x="{x_px:.1f}" y="{y_px}" width="{width_px - 0.5:.1f}" '
        f'height="{ROW_PX - 1}" fill="{box.colour}"/>{text}</g>'
    )


@click.command(context_settings={"show_default": True})
@click.argument("recorded", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.argument("picture", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--thread", default="MainThread", help="Part of the name of the thread to draw.")
@click.option("--title", default="CPU", help="What it shows.")
def main(recorded: Path, picture: Path, thread: str, title: str) -> None:
    """Draw what py-spy RECORDED as an SVG PICTURE."""
    with recorded.open(encoding="utf-8") as lines:
        root = stacks(lines, thread)
    if not root.samples:
        raise click.ClickException(f"there is no sample of a thread called {thread!r}")
    picture.write_text(drawn(root, title), encoding="utf-8")


if __name__ == "__main__":
    main()
