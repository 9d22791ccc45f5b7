from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from click.testing import CliRunner

from examples.bench.flame import WIDTH_PX, drawn, main, stacks

LOOP = "<module> (server.py:1);run (trio/_core/_run.py:2424);unrolled_run (trio/_core/_run.py:2712)"
READER = "Readers._read_others (models/readers.py:189)"
LINES = [
    f"thread (1): MainThread;{LOOP};{READER} 60",
    f"thread (1): MainThread;{LOOP};{READER};Output._take (actors/output.py:68) 30",
    f"thread (1): MainThread;{LOOP};<lambda> (a/b.py:1) 9",
    f"thread (1): MainThread;{LOOP} 1",
    "thread (2): timeline writer;run (threading.py:1) 700",
]
SVG = "{http://www.w3.org/2000/svg}"


def test_a_thread_is_counted_from_its_loop_on() -> None:
    root = stacks(LINES, "MainThread")
    assert root.samples == 100
    assert {box.name: box.samples for box in root.above.values()} == {
        "Readers._read_others": 90,
        "<lambda>": 9,
    }
    reader = next(iter(root.above.values()))
    assert reader.place == "models/readers.py"
    assert [(box.name, box.samples) for box in reader.above.values()] == [("Output._take", 30)]
    assert stacks(LINES, "writer").samples == 700


def test_each_box_is_as_wide_as_its_share_and_stands_within_its_caller() -> None:
    picture = ET.fromstring(drawn(stacks(LINES, "MainThread"), "a < b"))  # noqa: S314 - our own
    told: dict[str, list[float]] = {}
    for group in picture.iter(f"{SVG}g"):
        title, rect = group.findtext(f"{SVG}title"), group.find(f"{SVG}rect")
        assert title is not None
        assert rect is not None
        told[title] = [float(rect.get(name, "")) for name in ("x", "width", "y")]
    assert list(told) == [
        "MainThread  100.0%",
        "<lambda> a/b.py 9.0%",
        "Readers._read_others models/readers.py 90.0%",
        "Output._take actors/output.py 30.0%",
    ]
    assert told["Readers._read_others models/readers.py 90.0%"][:2] == [0, 0.9 * WIDTH_PX - 0.5]
    assert told["<lambda> a/b.py 9.0%"][:2] == [0.9 * WIDTH_PX, 0.09 * WIDTH_PX - 0.5]
    x, width, y = told["Output._take actors/output.py 30.0%"]
    assert (x, width) == (0, 0.3 * WIDTH_PX - 0.5)
    assert y < told["Readers._read_others models/readers.py 90.0%"][2]


def test_the_command_draws_a_picture_and_says_when_there_is_nothing_to_draw(tmp_path: Path) -> None:
    recorded, picture = tmp_path / "stacks.raw", tmp_path / "flame.svg"
    recorded.write_text("\n".join(LINES) + "\n")
    run = CliRunner().invoke(main, [str(recorded), str(picture), "--title", "200 sessions"])
    assert run.exit_code == 0
    assert "200 sessions: 100 samples" in picture.read_text()
    run = CliRunner().invoke(main, [str(recorded), str(picture), "--thread", "nobody"])
    assert run.exit_code == 1
    assert "no sample of a thread called 'nobody'" in run.output
