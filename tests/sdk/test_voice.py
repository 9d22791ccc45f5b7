"""The voice of the SDK: its facts, run by Node, and what it weighs."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from tests.sdk.node import HERE, SDK, run, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")

MOST_BYTES = 9_000


@pytest.mark.parametrize("name", ["voice.test.mjs", "voice_parts.test.mjs"])
async def test_the_facts_of_the_voice_hold(name: str):
    said = await run("node", "--test", HERE / name)
    assert "\n# fail 0\n" in said
    assert "\n# skipped 0\n" in said


async def test_the_voice_is_small_and_no_part_of_what_everybody_loads(tmp_path: Path):
    esbuild = SDK / "node_modules" / "esbuild" / "bin" / "esbuild"
    bundles: dict[str, bytes] = {}
    for entry in ("voice.js", "index.js"):
        made = tmp_path / entry
        how = ("--bundle", "--minify", "--format=esm", f"--outfile={made}")
        await run("node", esbuild, SDK / "src" / entry, *how)
        bundles[entry] = made.read_bytes()
    small = len(gzip.compress(bundles["voice.js"], 9))
    print(f"{small} bytes minified and gzipped")  # noqa: T201
    assert 2_000 < small < MOST_BYTES
    assert [b"getUserMedia" in made for made in bundles.values()] == [True, False]
