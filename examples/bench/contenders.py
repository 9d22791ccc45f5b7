"""The servers that are compared: how each is started, and how its words are heard."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from attrs import frozen

from examples.bench.diary import Diary, Ear
from examples.bench.ear import BargeinEar
from examples.bench.machine import ROOT
from examples.bench.peer_ear import PeerEar

ContenderName: TypeAlias = Literal["bargein", "Node", "FastAPI"]

PEERS: Final = ROOT / "examples" / "bench" / "peers"

FREE: Final = 1_000_000
"""A limit that no benchmark meets: commands a second, sessions in memory."""


@frozen
class Contender:
    """A server that can be measured.

    Attributes:
        announced: What it says when it serves, with its URL as the only group.
        token: What is in each frame of text.
        over: What is in the last frame of a turn: of a completed one, or a cancelled one.
        ear_of: How its users hear it.
    """

    name: ContenderName
    announced: str
    token: bytes
    over: tuple[bytes, ...]
    ear_of: Callable[[Diary], Ear]


BARGEIN: Final = Contender(
    "bargein", r"bargein serves (ws://\S+)", b'"model.token"', (b'"turn.trace"',), BargeinEar
)
_PEER: Final = (r"peer serves (ws://\S+)", b'"token"', (b'"stopped"', b'"done"'), PeerEar)
NODE: Final = Contender("Node", *_PEER)
FASTAPI: Final = Contender("FastAPI", *_PEER)
CONTENDERS: Final = (BARGEIN, NODE, FASTAPI)


def why_not(contender: Contender) -> str | None:
    """Say what is missing for *contender* to run here; None where all is there."""
    if contender is not NODE:
        return None
    if shutil.which("node") is None:
        return "node is not installed"
    if not (PEERS / "node" / "node_modules" / "ws").exists():
        return "examples/bench/peers/node is not installed: `make bench` does that where npm is"
    return None


def command(contender: Contender, directory: Path, *more: str) -> tuple[str, ...]:
    """Return how to start *contender*; its store is in *directory*, *more* are flags of bargein."""
    if contender is NODE:
        return ("node", str(PEERS / "node" / "server.mjs"))
    if contender is FASTAPI:
        return (sys.executable, "-m", "examples.bench.peers.fastapi_server")
    return (
        *(sys.executable, "-m", "bargein.server", "serve", f"{ROOT}/examples/chat.py:app"),
        *("--port", "0", "--store", f"sqlite:///{directory}/bench.sqlite3"),
        # What limits one client would limit the bots, who stand for many.
        *("--limits-commands-per-s", f"{FREE}", "--limits-commands-burst", f"{FREE}"),
        *("--limits-interrupts-per-s", f"{FREE}"),
        *("--limits-connections-most", f"{FREE}", "--limits-sessions-most", f"{FREE}"),
        *("--drain-s", "0"),  # nobody listens any more when it is told to stop
        *more,
    )


def environment(contender: Contender, model_url: str | None) -> Mapping[str, str]:
    """Return the environment to start *contender* in; the model's API is at *model_url*."""
    environ = {key: text for key, text in os.environ.items() if not key.startswith("ANTHROPIC_")}
    if contender is FASTAPI:
        environ["PYTHONPATH"] = str(ROOT)
    if contender is NODE:
        environ["PORT"] = "0"
    if model_url is not None:
        environ["ANTHROPIC_API_KEY"] = "test"
        environ["ANTHROPIC_BASE_URL"] = model_url
    return environ
