"""Plan, title and guardrail together: how long a turn waits for three calls of a model.

    python -m examples.bench.consult

Starts `bargein serve` with the app below, whose model takes 300 ms for every
call, says something in ten sessions one after the other, and prints how long
the first stage had to wait beside what the three calls took added up.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import trio
from trio_websocket import open_websocket_url

from bargein.agents.app import Agent, App
from bargein.agents.guardrail import Rule
from bargein.agents.planning import Planning, Titling
from bargein.models.client import Completion, Listener, ModelRequest, Usage
from examples.bench.processes import running

CALL_S: Final = 0.3
SESSIONS: Final = 10
LIMIT_S: Final = 60.0
ROOT: Final = Path(__file__).resolve().parents[2]

PLAN: Final = json.dumps({"steps": [{"title": "Answer the question", "agent": "writer"}]})


class SlowModel:
    """Answers every call after 300 ms, as whoever asks needs it."""

    name = "slow"

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        """Wait, then say everything at once."""
        await trio.sleep(CALL_S)
        listener.started(10)
        listener.heard(_answer_for(request.system), 1)
        return Completion("end_turn", Usage(10, 10, estimated=False))


def _answer_for(system: str) -> str:
    if '"steps"' in system:
        return PLAN
    return "PASS" if "PASS" in system else "Words"


app = App(
    name="consult",
    agents=(Agent("writer", "Answer."),),
    client=SlowModel(),
    planning=Planning("always"),
    titling=Titling(),
    guardrails=(Rule("polite", "Nobody is insulted."),),
)


async def _one_session(url: str) -> tuple[float, float]:
    """Return how long the first stage waited, and what the calls before it took together, in s."""
    asked: list[float] = []
    ended: list[float] = []
    async with open_websocket_url(url) as ws:
        await ws.send_message('{"type":"say","text":"What is an ETF?"}')
        started_s = trio.current_time()
        waited_s = 0.0
        while True:
            frame: dict[str, Any] = json.loads(await ws.get_message())
            match frame["type"]:
                case "model.start" if not waited_s:
                    asked.append(trio.current_time())
                case "model.end" if len(ended) < len(asked):
                    ended.append(trio.current_time())
                case "stage.start":
                    waited_s = trio.current_time() - started_s
                case "response.end":
                    return waited_s, sum(ended[: len(asked)]) - sum(asked)
                case _:
                    pass


async def main() -> None:
    """Print the ratio."""
    served = ("serve", f"{__file__}:app", "--port", "0", "--store", "memory:")
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "server.log"
        command = (sys.executable, "-m", "bargein.server", *served)
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        async with running("server", command, log, environ=environ, core=None):
            with trio.fail_after(LIMIT_S):
                url = await _url_in(log)
                rows = [await _one_session(url) for _ in range(SESSIONS)]
    together_s = statistics.median(waited for waited, _ in rows)
    added_s = statistics.median(added for _, added in rows)
    print(
        f"plan, title and guardrail, {CALL_S * 1000:.0f} ms each: the first stage waited "
        f"{together_s * 1000:.0f} ms; one after the other they take {added_s * 1000:.0f} ms; "
        f"ratio {together_s / added_s:.2f} (0.33 would be perfect)"
    )


async def _url_in(log: Path) -> str:
    while True:
        if found := re.search(r"bargein serves (ws://\S+)", await trio.Path(log).read_text()):
            return found[1]
        await trio.sleep(0.05)


if __name__ == "__main__":
    trio.run(main)
