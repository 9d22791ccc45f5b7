"""The desk of the night train, spoken with as a page does, on virtual time."""

from __future__ import annotations

from typing import Any

from bargein.agents.loading import load_app
from bargein.testing import World, simulated
from bargein.testing.user import User
from tests.project.tree import ROOT

APP = ROOT / "examples" / "voice.py"


async def spoken_to(world: World) -> User:
    await world.serve(load_app(f"{APP}:app"))
    guest = await world.join()
    await guest.send("configure", voice=True)
    return guest


def chunks(world: World) -> list[dict[str, Any]]:
    return [vars_of(event.payload) for event in world.timeline.of("tts.chunk")]


def vars_of(payload: Any) -> dict[str, Any]:
    return {name: getattr(payload, name) for name in ("text", "commitment", "protected")}


@simulated(seeds=3)
async def test_a_fact_is_said_when_it_was_looked_up_and_not_before(world: World) -> None:
    guest = await spoken_to(world)
    await guest.say("When does the train to Vienna leave?")
    await guest.until("turn.trace")
    assert world.timeline.shows("tts.chunk", "tool.call", "tool.result", "tts.chunk")
    first, *facts = chunks(world)
    assert (first["text"], first["commitment"]) == ("Sure, let me look.", "preface")
    assert "nine forty in the evening" in facts[0]["text"]
    assert facts[0]["commitment"] == "claim"


@simulated(seeds=3)
async def test_what_the_conditions_say_is_quoted_with_its_source(world: World) -> None:
    guest = await spoken_to(world)
    await guest.say("Can I take my bike?")
    await guest.until("turn.trace")
    (found,) = world.timeline.of("retrieve.result")
    assert "Bicycles" in found.payload.sources[0]["heading"]
    assert any("twelve euros" in chunk["text"] for chunk in chunks(world))
    await guest.say("Is it punctual?")
    await guest.until("turn.trace")
    withheld = [e.payload.data for e in world.timeline.of("object", kind="speech.withheld")]
    assert "97 percent" in withheld[0]["text"]
    assert not any("97" in chunk["text"] for chunk in chunks(world))


@simulated(seeds=3)
async def test_a_berth_is_booked_after_the_notice_and_the_yes_and_given_back(world: World) -> None:
    guest = await spoken_to(world)
    await guest.say("Book a berth to Berlin")
    proposed = await guest.until("action.proposed")
    assert proposed.payload.summary == "Book a berth to Berlin, tonight"
    await guest.until("turn.trace")
    told = [chunk["text"] for chunk in chunks(world) if chunk["protected"] is True]
    assert " ".join(told).endswith("twenty-four hours before the train leaves.")
    await guest.confirm()
    done = await guest.until("action.committed")
    assert done.payload.result.endswith("to Berlin")
    await guest.revert()
    undone = await guest.until("action.reverted")
    assert undone.payload.result == f"{done.payload.result} is free again"


@simulated(seeds=3)
async def test_there_is_no_train_where_there_is_no_station(world: World) -> None:
    guest = await spoken_to(world)
    await guest.say("When is the train to Atlantis?")
    await guest.until("turn.trace")
    assert "no night train to Atlantis" in world.timeline.spoken()
    await guest.say("Book a berth to Atlantis")
    await guest.until("turn.trace")
    await guest.confirm()
    failed = await guest.until("action.failed")
    assert "There are trains to Vienna, Venice, Berlin." in failed.payload.error
