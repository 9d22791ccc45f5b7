"""The SDK alone, fact by fact: the Node tests, run by this one."""

from __future__ import annotations

import pytest

from tests.sdk.node import HERE, run, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")


@pytest.mark.parametrize("name", ["session.test.mjs", "past.test.mjs", "react.test.mjs"])
async def test_the_facts_of_the_sdk_hold(name: str):
    said = await run("node", "--test", HERE / name)
    assert "\n# fail 0\n" in said
    assert "\n# skipped 0\n" in said
