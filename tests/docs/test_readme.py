"""The README's commands and programs, run as they stand there."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from subprocess import STDOUT

import trio

from tests.docs import pages
from tests.docs.server_process import environment, running
from tests.e2e.client import attached
from tests.fakes.anthropic_api import serving
from tests.project.tree import ROOT, pyproject

README = pages.read(ROOT / "README.md")
TALK, SMALLEST = pages.blocks(README, "python")
MAKEFILE = pages.read(ROOT / "Makefile")
TEST_LIMIT_S = 90.0


def test_the_readme_is_the_description_of_the_package():
    assert pyproject()["project"]["readme"] == "README.md"


def test_the_two_commands_come_first_and_are_there():
    assert pages.commands(README)[:2] == ["make serve", "make test"]
    for command in pages.commands(README):
        target = re.search(r"make (\w+)((?: \w+=\S+)*)", command)
        if target is None:
            continue
        assert re.search(rf"^{target[1]}:", MAKEFILE, re.MULTILINE), command


async def test_the_server_says_at_its_start_what_the_readme_shows():
    (shown, *_) = pages.blocks(README, "text")
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server:
            said = server.said.replace(str(server.port), "8710")
            assert shown in said


async def test_the_program_talks_interrupts_hangs_up_and_resumes_without_a_gap(tmp_path: Path):
    script = tmp_path / "talk.py"
    assert len(TALK.splitlines()) <= 30
    with trio.fail_after(TEST_LIMIT_S):
        async with running() as server:
            script.write_text(TALK.replace("8710", str(server.port)), encoding="utf-8")
            done = await trio.run_process(
                [sys.executable, "-W", "error", str(script)],
                capture_stdout=True,
                stderr=STDOUT,
                env=environment(),
            )
            printed = done.stdout.decode()
            found = re.fullmatch(
                r"(.*)\n-- (\{.*\})\n"
                r"(.*)\n-- gone after event (\d+), in mid-sentence; back again:\n"
                r"(.*)\n-- the rest of it, and nothing twice\n",
                printed,
                re.DOTALL,
            )
            assert found is not None, printed
            first, ack, before, _, rest = found.groups()
            assert "'stopped': ['model']" in ack
            assert before
            assert rest
    assert first.startswith('You said: "Tell me why people interrupt each other."')
    assert (before + rest).startswith("Right, leaving that.")
    assert (before + rest).endswith("yours always wins.")


async def test_the_smallest_app_of_the_readme_is_served(tmp_path: Path):
    (tmp_path / "smallest.py").write_text(SMALLEST, encoding="utf-8")
    with trio.fail_after(TEST_LIMIT_S):
        async with running("smallest.py:app", directory=tmp_path) as server:
            await _has_agent(server.port, "chat")


async def test_the_example_is_served_as_the_readme_says():
    assert "make serve APP=examples/chat.py:app" in pages.commands(README)
    with trio.fail_after(TEST_LIMIT_S):
        async with running("examples/chat.py:app") as server:
            await _has_agent(server.port, "chat")


async def test_with_a_key_the_same_app_asks_anthropics_api():
    with trio.fail_after(TEST_LIMIT_S):
        async with serving([]) as api:
            variables = {"ANTHROPIC_API_KEY": "sk-fake", "ANTHROPIC_BASE_URL": api.url}
            async with running("examples/chat.py:app", variables=variables) as server:
                assert "model: claude-sonnet-5-5" in server.said
                assert "scripted" not in server.said
                assert "sk-fake" not in server.said


async def _has_agent(port: int, agent: str) -> None:
    async with trio.open_nursery() as nursery:
        client = await attached(nursery, port)
        opened = await client.until("session.opened")
        assert opened.payload["agent"] == agent
        await client.converse("Who are you?")
        nursery.cancel_scope.cancel()
