"""Runs a file of browser tests in Node against a server, and answers what it asks.

    @needs_browser
    async def test_the_console(tmp_path: Path):
        async with server_process(tmp_path) as server:
            await driven("console.test.mjs", server, ledger=read_the_ledger)

The tests ask by `await ask("kill")`, `ask("start")`, `ask("ledger", {…})`; what an async function
given here returns is the answer, as JSON.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
import trio
from attrs import define, field

from tests.docs.server_process import environment
from tests.e2e.process import ServerProcess
from tests.project.tree import ROOT

HERE = ROOT / "tests" / "browser"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
RUN_LIMIT_S = 480.0
STOP_LIMIT_S = 10.0

Asked = Callable[..., Awaitable[Any]]


def why_not(*folders: Path) -> str | None:
    """Say what is missing for pages to be tested, packages in *folders* too; None: all is there.

    Where CI says that it is one, nothing may be missing, and the tests run into what is.
    """
    if os.environ.get("CI") == "true":
        return None
    if shutil.which("node") is None:
        return "node is not installed"
    if CHROMIUM is None:
        return "chromium is not installed"
    for folder in (HERE, *folders):
        if not (folder / "node_modules").exists():
            name = folder.relative_to(ROOT)
            return f"{name} is not installed: `make test` does that where npm is"
    return None


needs_browser = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")


@define(eq=False)
class Driver:
    """A running file of tests.

    Attributes:
        asked: What it may ask, by name.
        said: What its tests came to, and all that it wrote.
    """

    process: trio.Process
    asked: dict[str, Asked]
    said: str = field(default="", init=False)

    async def answer(self) -> None:
        """Answer what it asks until it ends; what else it writes is kept."""
        assert self.process.stdout is not None
        rest = b""
        async for some in self.process.stdout:
            *lines, rest = (rest + some).split(b"\n")
            for line in lines:
                if line.startswith(b"ask:"):
                    await self._answer(json.loads(line.removeprefix(b"ask:")))
                else:
                    self.said += line.decode() + "\n"
        self.said += rest.decode()

    async def _answer(self, question: dict[str, Any]) -> None:
        number, name = question.pop("id"), question.pop("ask")
        assert self.process.stdin is not None
        answer = {"id": number, "result": await self.asked[name](**question)}
        await self.process.stdin.send_all(json.dumps(answer).encode() + b"\n")

    async def listen(self) -> None:
        """Keep what it writes to its other stream."""
        assert self.process.stderr is not None
        async for some in self.process.stderr:
            self.said += some.decode(errors="replace")


async def driven(
    name: str, server: ServerProcess, more: Mapping[str, str] | None = None, /, **asked: Asked
) -> None:
    """Run the tests in the file *name* against *server*; every one of them has to pass.

    The tests have *more* in their environment.  Pictures of the pages of a test that failed are
    left in the server's directory.
    """
    assert CHROMIUM is not None, "chromium is not installed"
    command = ["node", "--test-reporter=spec", "--test-reporter-destination=stdout", HERE / name]
    variables = {
        "CHROMIUM": CHROMIUM,
        "SERVER_PORT": str(server.port),
        "TRACES": str(server.directory),
        "FORCE_COLOR": "0",
        **(more or {}),
    }
    if "BARGEIN_PICTURES" in os.environ:
        variables["BARGEIN_PICTURES"] = os.environ["BARGEIN_PICTURES"]
    process = await trio.lowlevel.open_process(
        list(map(str, command)),
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        cwd=HERE,
        env=environment(**variables),
    )
    driver = Driver(process, {"kill": server.kill, "start": server.start, **asked})
    try:
        with trio.move_on_after(RUN_LIMIT_S) as limit:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(driver.listen)
                nursery.start_soon(driver.answer)
            await process.wait()
    finally:
        await _gone(process)
    assert not limit.cancelled_caught, f"not over after {RUN_LIMIT_S} s\n{driver.said}"
    # One that ran no test, or skipped some, shows nothing.
    print(driver.said)  # noqa: T201 - shown when something else fails
    passed = re.search(r"^\S pass (\d+)$", driver.said, re.MULTILINE)
    assert process.returncode == 0, driver.said
    assert passed is not None, driver.said
    assert int(passed[1]) > 0, driver.said
    assert re.search(r"^\S skipped 0$", driver.said, re.MULTILINE), driver.said


async def _gone(process: trio.Process) -> None:
    """End it in order, so that it takes its browser with it; then at once."""
    if process.returncode is None:
        process.terminate()
    # Shielded so that nothing is left behind a failed test; 10 s, then it is killed.
    with trio.move_on_after(STOP_LIMIT_S, shield=True):
        await process.wait()
    if process.returncode is None:
        process.kill()
        with trio.CancelScope(shield=True):  # a killed process ends at once
            await process.wait()
