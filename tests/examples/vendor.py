"""A fake vendor that plays a screenplay: what an app's script does, through the real SDK."""

# pyright: reportPrivateUsage=false
# It borrows the scripted model's own reading of a request, so that both play the same scene.

from __future__ import annotations

import json
from itertools import count
from typing import Any

from bargein.models import scripted
from bargein.models.client import Block, Message, ModelRequest, Text, ToolOutcome, ToolUse
from bargein.models.screenplay import Call, Say, Screenplay
from bargein.models.scripted import ScriptedModel
from tests.fakes import anthropic_answers as fake
from tests.fakes.anthropic_api import Exchange, Script

PACE_S = 0.005


def acting(play: Screenplay) -> Script:
    """Return a script for the fake API that answers as *play* does, a word at a time."""
    model, ids = ScriptedModel(play), count(1)

    def answer(exchange: Exchange) -> fake.Answer:
        request = request_of(exchange.body)
        words = scripted._latest_words(request.messages)
        outcome = scripted._latest_outcome(request.messages)
        scene, found = model._scene_for(request, words, outcome)
        blanks = {**found, "user": words, "outcome": outcome or ""}
        steps: list[fake.Step] = []
        for step in scene.steps:
            match step:
                case Say(say):
                    text = scripted._filled(say, blanks)
                    steps += [fake.Say(token) for token in model.tokens(text)]
                case Call(tool, args):
                    filled = json.dumps(scripted._filled_deeply(args, blanks))
                    steps.append(fake.Call(f"toolu_{next(ids)}", tool, (filled[:5], filled[5:])))
                case _:
                    pass  # pauses are for people
        if any(isinstance(step, fake.Call) for step in steps):
            steps.append(fake.Stop("tool_use"))
        return fake.Stream(tuple(steps), interval_s=PACE_S)

    return answer


def request_of(body: dict[str, Any]) -> ModelRequest:
    """Return the request that the SDK was given, read back from what it posted."""
    system = "".join(part["text"] for part in body.get("system", ()))
    messages = tuple(
        Message(message["role"], _content(message["content"])) for message in body["messages"]
    )
    return ModelRequest(body["model"], system, messages)


def _content(content: str | list[dict[str, Any]]) -> str | tuple[Block, ...]:
    return content if isinstance(content, str) else tuple(map(_block, content))


def _block(block: dict[str, Any]) -> Block:
    match block["type"]:
        case "text":
            return Text(block["text"])
        case "tool_use":
            return ToolUse(block["id"], block["name"], block["input"])
        case _:
            return ToolOutcome(block["tool_use_id"], block["content"])
