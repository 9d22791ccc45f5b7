"""Models that do what they are told, and nothing else: one as an app's own, one as the vendor.

    do charge {"number": 1}

calls the tool `charge`; each line that begins so is a call.  When the outcomes have come, it
says what the last one was.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from attrs import define

from bargein.models.client import Completion, Listener, ModelRequest, Text, ToolOutcome, ToolUse
from bargein.models.client import Usage as ModelUsage
from bargein.protocol.ids import CallId
from tests.fakes.anthropic_answers import Answer, Call, Say, Step, Stop, Wait, doing, saying
from tests.fakes.anthropic_api import Exchange

_ORDER: Final = re.compile(r"^do (\w+) (\{.*\})$", re.MULTILINE)
_WAIT: Final = re.compile(r"^wait ([0-9.]+)$", re.MULTILINE)


def orders_in(text: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the tools that *text* says to call, and with what."""
    return [(tool, json.loads(args)) for tool, args in _ORDER.findall(text)]


def order(tool: str, **args: Any) -> str:
    """Return the words that make an obedient model call *tool*."""
    return f"do {tool} {json.dumps(args)}"


@define(eq=False)
class Obedient:
    """Calls what it is told to; the model of an app, without a vendor."""

    name: str = "obedient"

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        listener.started(1)
        last = request.messages[-1].content
        outcomes = [] if isinstance(last, str) else [b for b in last if isinstance(b, ToolOutcome)]
        if outcomes:
            listener.heard(outcomes[-1].content, 1)
            return Completion("end_turn", ModelUsage(1, 1, estimated=False))
        calls = orders_in(_words(last))
        for number, (tool, args) in enumerate(calls):
            place = f"call_{len(request.messages)}_{number}"
            listener.tool_called(ToolUse(CallId(place), tool, args))
        if not calls:
            listener.heard("Very well.", 1)
        reason = "tool_use" if calls else "end_turn"
        return Completion(reason, ModelUsage(1, 1, estimated=False))


def _words(content: str | tuple[Any, ...]) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block.text for block in content if isinstance(block, Text))


def vendor_obeys(exchange: Exchange) -> Answer:
    """Play a vendor whose model calls what it is told to; `wait 2` makes it think afterwards."""
    outcomes, words = last_of(exchange)
    if outcomes:
        told = outcomes[-1]
        said = _WAIT.findall(asked_in(exchange))
        return doing(Say(told), *(Wait(float(s)) for s in said), Say(" So it is."))
    calls = orders_in(words)
    if not calls:
        return saying("Very ", "well.")
    place = f"{exchange.connection}_{len(exchange.body['messages'])}"
    steps: list[Step] = [Say("One moment. ")]
    for number, (tool, args) in enumerate(calls):
        steps.append(Call(f"toolu_{place}_{number}", tool, (json.dumps(args),)))
    return doing(*steps, Stop("tool_use"))


def last_of(exchange: Exchange) -> tuple[list[str], str]:
    """Return what tools answered in the last message, and the words that are in it."""
    return _parts(exchange.body["messages"][-1]["content"])


def asked_in(exchange: Exchange) -> str:
    """Return the latest words of the user, whatever tools answered since."""
    for message in reversed(exchange.body["messages"]):
        if message["role"] == "user":
            outcomes, words = _parts(message["content"])
            if not outcomes:
                return words
    return ""


def _parts(content: Any) -> tuple[list[str], str]:
    if isinstance(content, str):
        return [], content
    words = "\n".join(part["text"] for part in content if part["type"] == "text")
    outcomes = [_text(part["content"]) for part in content if part["type"] == "tool_result"]
    return outcomes, words


def _text(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)
