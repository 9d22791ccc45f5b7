"""Tools that come from elsewhere, such as an MCP server: opened before an app is served."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

from attrs import evolve

from bargein.agents.app import App


@asynccontextmanager
async def opened(app: App) -> AsyncGenerator[App]:
    """Return *app* with the tools of its agents' sources, which work until the block ends.

    Raises:
        AppInvalid: If a source has a tool of a name that the agent has already.
        Exception: Whatever a source raises that can't be opened.
    """
    async with AsyncExitStack() as stack:
        agents = list(app.agents)
        for index, agent in enumerate(agents):
            tools = list(agent.tools)
            for source in agent.sources:
                tools.extend(await stack.enter_async_context(source()))
            agents[index] = evolve(agent, tools=tuple(tools), sources=())
        yield evolve(app, agents=tuple(agents))
