"""The SDK runs in a real browser as it does in Node."""

from __future__ import annotations

import time
from pathlib import Path

from tests.browser.driver import HERE, driven, needs_browser
from tests.e2e.process import server_process
from tests.fakes.tokens import SECRET, SHARED

TALK = str(HERE / "talk.toml")


async def token(sub: str, for_s: int) -> str:
    return SHARED.sign(sub, exp=int(time.time()) + for_s)


@needs_browser
async def test_the_sdk_works_in_chromium(tmp_path: Path):
    open_to_all, by_token = tmp_path / "open", tmp_path / "guarded"
    open_to_all.mkdir()
    by_token.mkdir()
    async with (
        server_process(open_to_all, deadline_s=600.0, BARGEIN_SCREENPLAY=TALK) as server,
        server_process(by_token, deadline_s=600.0, BARGEIN_AUTH_SECRET=SECRET) as other,
    ):

        async def guarded() -> int:
            return other.port

        await driven("sdk.test.mjs", server, guarded=guarded, token=token)
