"""Apps with a plan, several agents, a library and a memory: all of it in one seeded run."""

from __future__ import annotations

from bargein.agents.app import Agent, App
from bargein.testing import World, calls, scene, simulate, simulated
from bargein.tools.memory import memory_tools
from examples import finserve


async def consulting(world: World) -> None:
    """Ask for a list, and think better of it while it is being told."""
    await world.serve(finserve.app)
    guest = await world.join()
    await guest.say("List the top-performing ETFs in my portfolio")
    await guest.until("model.token", nth=6)
    await guest.say("just show me the ones with expense ratios below 0.2%")
    await guest.until("turn.trace")
    assert "0.07 %" in guest.spoken()
    assert len(world.timeline.of("plan.ready")) >= 1


def test_a_desk_of_several_agents_is_the_same_run_for_the_same_seed():
    digests = [simulate(consulting, seed=seed).digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


@simulated(seeds=5)
async def test_what_is_remembered_in_a_session_is_known_in_the_next_also_after_a_power_cut(
    world: World,
) -> None:
    remembers = scene(calls("remember", key="name", text="Ann"), said="my name")
    knows = scene("You are Ann.", instructions="Ann")
    app = App("aide", (Agent("aide", "Be brief.", tools=memory_tools()),))
    await world.serve(app, [remembers, scene("Shall I?", after_tool=True), knows, "Who are you?"])
    ann = await world.join()
    await ann.say("my name is Ann")
    await ann.until("action.proposed")
    await ann.confirm()
    await ann.until("action.committed")
    await world.cut_power()
    later = await world.join("later")
    await later.say("hello")
    await later.until("response.end")
    assert later.spoken() == "You are Ann."
    stranger = await world.join("stranger", principal="bob")
    await stranger.say("hello")
    await stranger.until("response.end")
    assert stranger.spoken() == "Who are you?"
