"""A person at a terminal whose server is killed, started again, drained, or not there at all."""

from __future__ import annotations

import re
from pathlib import Path

from tests.e2e.process import server_process
from tests.terminal.person import END, STOP, person_process


async def test_after_a_kill_and_a_restart_all_goes_on_and_nothing_is_shown_twice(tmp_path: Path):
    async with (
        server_process(tmp_path) as server,
        person_process(f"ws://127.0.0.1:{server.port}") as someone,
    ):
        found = await someone.shows(r"This is (sess_[0-9a-f]{32})\.")
        await someone.shows(r"answers, with the model scripted")
        someone.types("Long story")
        await someone.shows(r"\bw30\b")
        await server.kill()
        await someone.shows(r"^\.\.  Not connected: .*Next try in \d+\.\d s; Enter tries now\.$")
        someone.types("Brief, please")  # on its way while nobody is there
        await server.start()
        someone.presses("\r")
        await someone.shows(r"^!!  .*\(server_restarted\)$")
        await someone.shows(r"^!!  /resume goes on from there\.$")
        await someone.shows(r"^Very well\.$")
        printed = re.search(r"(?s)> Long story\n(.*?)\n>", someone.text)
        assert printed is not None
        words = printed[1].split()
        assert words == [f"w{number}" for number in range(len(words))]
        stored = b"".join(await server.whole(found[1])).decode()
        assert f"w{len(words) - 1}" in stored
        assert "Long story" in stored
        someone.types("/resume")
        await someone.shows(r"(?s)^Very well\..*\bw\d+ w\d+")
        someone.presses(STOP)
        await someone.shows(r"^--  stopped after ")
        assert someone.text.count("> Brief, please") == 1
        someone.presses(END)
        assert await someone.ended() == 0


async def test_a_server_that_drains_says_so_and_is_waited_for(tmp_path: Path):
    async with (
        server_process(tmp_path) as server,
        person_process(f"ws://127.0.0.1:{server.port}") as someone,
    ):
        await someone.shows(r"answers, with the model scripted")
        server.terminate()
        await someone.shows(r"^--  The server is going away \(")
        assert await server.exit_code() == 0
        await server.start()
        someone.types("Brief, please")
        await someone.shows(r"^Very well\.$")
        assert someone.text.count("This is sess_") == 1
