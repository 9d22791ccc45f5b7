"""A new version of the app: served where its file has changed, and in nobody's way."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trio
from attrs import define
from structlog.testing import capture_logs

from bargein.agents.app import Agent, App, Apps
from bargein.gateway.app_renewal import AppRenewal, stamp_of_app

DEADLINE_S = 30.0
FIRST = App("first", (Agent("one"),))

APP = """\
from bargein.agents.app import Agent, App
from tests.gateway.test_app_renewal import OPENINGS

app = App({name!r}, (Agent("one", sources=(OPENINGS.source,)),))
"""


@define(eq=False)
class Openings:
    """Says how a source of tools opens, and how often it was opened."""

    count: int = 0
    gate: trio.Event | None = None
    error: Exception | None = None
    waiting: int = 0

    def reset(self) -> None:
        """Open at once again, and have opened nothing."""
        self.count = self.waiting = 0
        self.gate = self.error = None

    @asynccontextmanager
    async def source(self) -> AsyncGenerator[tuple[()]]:
        if self.gate is not None:
            self.waiting += 1
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.count += 1
        yield ()


OPENINGS = Openings()


@define(eq=False)
class Bench:
    """An app in a file, and what renews it."""

    file: Path
    apps: Apps
    renewal: AppRenewal
    logs: list[structlog.typing.EventDict]

    @property
    def served(self) -> str:
        return self.apps.current.name

    def write(self, text: str) -> None:
        beside = self.file.with_suffix(".new")
        beside.write_text(text, encoding="utf-8")
        beside.rename(self.file)

    async def hang_up(self, event: str) -> structlog.typing.EventDict:
        """Ask for a renewal; return the line that says what came of it."""
        self.logs.clear()
        self.renewal.renew_soon()
        return await self.said(event)

    async def said(self, event: str) -> structlog.typing.EventDict:
        with trio.fail_after(DEADLINE_S):
            while not self.logs:  # noqa: ASYNC110 - a log is all that tells
                await trio.sleep(0.002)
        assert [line["event"] for line in self.logs] == [event]
        return self.logs[0]


@asynccontextmanager
async def bench(tmp_path: Path) -> AsyncGenerator[Bench]:
    """Serve the first version of an app, whose file has not changed yet."""
    OPENINGS.reset()
    file = tmp_path / "mine.py"
    file.write_text(APP.format(name="first"), encoding="utf-8")
    spec, apps = f"{file}:app", Apps(FIRST)
    renewal = AppRenewal(apps, spec, stamp_of_app(spec))
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(renewal.run)
            yield Bench(file, apps, renewal, logs)
            nursery.cancel_scope.cancel()


async def test_a_file_that_has_not_changed_is_not_read_and_opens_no_tools_again(tmp_path: Path):
    async with bench(tmp_path) as b:
        await b.hang_up("app.unchanged")
        assert (b.apps.current, OPENINGS.count) == (FIRST, 0)
        b.write(APP.format(name="second"))
        assert (await b.hang_up("app.renewed"))["app"] == "second"
        for _ in range(3):
            await b.hang_up("app.unchanged")
        assert (b.served, OPENINGS.count) == ("second", 1)


async def test_a_file_that_was_replaced_is_another_whatever_its_time_and_size(tmp_path: Path):
    async with bench(tmp_path) as b:
        facts = b.file.stat()
        b.write(APP.format(name="other"))
        os.utime(b.file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        assert b.file.stat().st_size == facts.st_size
        await b.hang_up("app.renewed")
        assert b.served == "other"


async def test_an_app_without_a_file_of_its_own_is_read_each_time():
    assert stamp_of_app(None) is None
    assert stamp_of_app("no_module_of_that_name:app") is None
    assert stamp_of_app("/nowhere/mine.py:app") is None
    assert stamp_of_app("bargein.agents.assistant:ASSISTANT") is not None


async def test_an_app_that_ends_the_process_when_it_is_imported_does_not(tmp_path: Path):
    async with bench(tmp_path) as b:
        b.write('raise SystemExit("enough")')
        assert (await b.hang_up("app.not_renewed"))["error"] == "AppNotFound"
        assert b.apps.current is FIRST
        b.write(APP.format(name="mended"))
        await b.hang_up("app.renewed")
        assert b.served == "mended"


async def test_tools_that_can_not_be_opened_are_tried_again_at_the_next_hangup(tmp_path: Path):
    async with bench(tmp_path) as b:
        b.write(APP.format(name="second"))
        OPENINGS.error = ConnectionError()
        assert (await b.hang_up("app.not_renewed"))["error"] == "ConnectionError"
        assert b.apps.current is FIRST
        OPENINGS.error = None
        await b.hang_up("app.renewed")
        assert b.served == "second"


async def test_tools_that_never_open_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bargein.gateway.app_renewal.OPEN_LIMIT_S", 0.05)
    async with bench(tmp_path) as b:
        b.write(APP.format(name="second"))
        OPENINGS.gate = trio.Event()
        assert (await b.hang_up("app.not_renewed"))["error"] == "TooSlowError"
        assert (b.apps.current, OPENINGS.waiting) == (FIRST, 1)


async def test_what_is_asked_for_while_tools_open_is_done_after_it_and_once(tmp_path: Path):
    async with bench(tmp_path) as b:
        b.write(APP.format(name="second"))
        OPENINGS.gate = trio.Event()
        b.renewal.renew_soon()
        with trio.fail_after(DEADLINE_S):
            while not OPENINGS.waiting:  # noqa: ASYNC110 - nobody announces it
                await trio.sleep(0.002)
        b.write(APP.format(name="third"))
        for _ in range(3):
            b.renewal.renew_soon()
        OPENINGS.gate.set()
        with trio.fail_after(DEADLINE_S):
            while b.served != "third":  # noqa: ASYNC110 - nobody announces it
                await trio.sleep(0.002)
        assert [line["app"] for line in b.logs] == ["second", "third"]
        await b.hang_up("app.unchanged")
        assert OPENINGS.count == 2
