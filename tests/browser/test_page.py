"""The page of docs/sdk.md works in a real browser."""

from __future__ import annotations

from pathlib import Path

from tests.browser.driver import HERE, driven, needs_browser
from tests.e2e.process import server_process

TALK = str(HERE / "talk.toml")


@needs_browser
async def test_the_page_of_the_sdk_works_in_chromium(tmp_path: Path):
    async with server_process(tmp_path, deadline_s=600.0, BARGEIN_SCREENPLAY=TALK) as server:
        await driven("page.test.mjs", server)
