"""An app that says too much: its tools write into the log what nobody should."""

from __future__ import annotations

import logging
import os
from typing import Annotated

import structlog

from bargein.agents.app import Agent, App
from bargein.tools.arguments import SECRET
from bargein.tools.tool import tool

SAID = "canary-of-what-an-exception-says-40ce"


@tool(effect="read")
async def vault(pin: Annotated[str, SECRET]) -> str:
    """Open the vault, and fail with what it was given."""
    raise RuntimeError(f"{SAID}: {pin} and {os.environ['ANTHROPIC_API_KEY']}")


@tool(effect="read")
async def chatter() -> str:
    """Log every secret of the environment in every way there is."""
    for name in ("ANTHROPIC_API_KEY", "BARGEIN_AUTH_SECRET"):
        secret = os.environ[name]
        structlog.get_logger().info("app.chattered", nested={"headers": [f"x-key: {secret}"]})
        logging.getLogger("app").warning("as a library: %r", {name: secret})
        failure = ValueError(secret)
        structlog.get_logger().warning("app.failed", exc_info=failure)
        logging.getLogger("app").error("as a library", exc_info=failure)
    return "done"


app = App("leaky", (Agent("teller", tools=(vault, chatter)),))
