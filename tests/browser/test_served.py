"""What the server serves to browsers works in one, and goes no further than it should."""

from __future__ import annotations

from pathlib import Path

from tests.browser.driver import driven, needs_browser
from tests.e2e.process import server_process


@needs_browser
async def test_what_is_served_works_in_chromium(tmp_path: Path):
    async with server_process(tmp_path, deadline_s=300.0) as server:
        await driven("served.test.mjs", server)
