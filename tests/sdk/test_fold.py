"""The JavaScript fold and the server's come to the same, event for event."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scale import scaled
from tests.sdk import vectors
from tests.sdk.node import HERE, run, why_not

needs_node = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")
FRESH = scaled(500)


@pytest.mark.parametrize("path", vectors.recorded(), ids=lambda path: path.stem)
def test_a_vector_says_what_the_server_makes_of_its_events(path: Path):
    assert path.read_text(encoding="utf-8") == vectors.computed_again(path), (
        "the fold or a projection changed: run python -m tests.sdk.vectors, and mend the SDK"
    )


def test_the_vectors_show_every_way_that_a_session_goes():
    whole = "".join(path.read_text(encoding="utf-8") for path in vectors.recorded())
    assert [wanted for wanted in vectors.WANTED if wanted not in whole] == []


async def node_agrees(directory: Path) -> None:
    await run("node", "--test", HERE / "fold.test.mjs", VECTORS=str(directory))


@needs_node
async def test_the_sdks_views_are_the_servers_at_every_moment_of_the_vectors():
    await node_agrees(vectors.VECTORS)


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Play sessions, each in a trio run of its own; return the directory of their vectors."""
    for seed in range(FRESH):
        for number, frames in enumerate(vectors.simulated(seed)):
            text = vectors.text_of(vectors.vector(frames))
            (tmp_path / f"{seed}_{number}.json").write_text(text, encoding="utf-8")
    return tmp_path


@needs_node
async def test_the_sdks_views_are_the_servers_on_sessions_that_nobody_recorded(fresh: Path):
    assert len(list(fresh.iterdir())) >= FRESH
    await node_agrees(fresh)


@needs_node
async def test_a_fold_that_differs_in_one_word_is_found(tmp_path: Path):
    path = vectors.VECTORS / "barge_in.json"
    text = path.read_text(encoding="utf-8").replace('"interrupted":true', '"interrupted":false')
    (tmp_path / path.name).write_text(text, encoding="utf-8")
    with pytest.raises(AssertionError, match="not ok 1"):
        await node_agrees(tmp_path)
