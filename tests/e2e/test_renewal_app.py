"""SIGHUP, and an app that has changed or sends one itself."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.harness import eventually
from tests.e2e.test_renewal import FILE, hang_up, lines, tuned

HANGS = """\
from contextlib import asynccontextmanager

import trio

from bargein.agents.app import Agent, App

@asynccontextmanager
async def never():
    print("it opens", flush=True)
    await trio.sleep_forever()
    yield ()

app = App("mine", (Agent("one", sources=(never,)),))
"""


async def test_tools_that_never_open_keep_nobody_from_the_next_hangup(tmp_path: Path):
    app = tmp_path / "mine.py"
    app.write_text(HANGS.replace("sources=(never,)", ""), encoding="utf-8")
    async with tuned(tmp_path, BARGEIN_APP="mine.py:app") as (server, path):
        app.write_text(HANGS, encoding="utf-8")
        await hang_up(server, "settings.renewed")
        await eventually(lambda: "it opens" in server.log)
        path.write_text(FILE.replace("queue_most = 5", "queue_most = 6"), encoding="utf-8")
        assert (await hang_up(server, "settings.renewed", 2))["keys"] == ["queue_most"]
        assert (await server.attach()).hello["limits"]["queue_most"] == 6


EARLY = """\
import os
import signal
from pathlib import Path

from bargein.agents.app import Agent, App

text = Path("bargein.toml").read_text()
Path("bargein.toml").write_text(text.replace("queue_most = 5", "queue_most = 6"))
os.kill(os.getpid(), signal.SIGHUP)
app = App("mine", (Agent("one"),))
"""


async def test_a_hangup_while_the_server_starts_is_made_up_for(tmp_path: Path):
    (tmp_path / "mine.py").write_text(EARLY, encoding="utf-8")
    async with tuned(tmp_path, BARGEIN_APP="mine.py:app") as (server, _):
        await eventually(lambda: lines(server, "app.unchanged"))
        assert [line["keys"] for line in lines(server, "settings.renewed")] == [["queue_most"]]
        assert (await server.attach()).hello["limits"]["queue_most"] == 6
