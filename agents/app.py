"""What an engineer composes: an app of agents, as values without tasks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Literal

from attrs import define, field, frozen

from bargein.agents.guardrail import Guardrail
from bargein.agents.planning import Plan, Planning, Titling
from bargein.agents.shaping import Shaping
from bargein.agents.stages import CarryOn, Hook, Pipeline, pipeline_of
from bargein.agents.voice import Voice
from bargein.models.client import Model
from bargein.tools.memory import is_memory_tool
from bargein.tools.tool import Tool

ToolSource = Callable[[], AbstractAsyncContextManager[tuple[Tool, ...]]]
"""Opens a source of tools, such as `partial(mcp_tools, StdioServer(...))`."""

Overflow = Literal["drop", "summarise"]


class AppInvalid(ValueError):
    """The app can't be served; mend it before you start.

    Attributes:
        app: Name of the app, or of the agent that is wrong.
        reason: What is wrong with it.
    """

    def __init__(self, app: str, reason: str) -> None:
        super().__init__(f"{app!r}: {reason}")
        self.app = app
        self.reason = reason


@frozen
class Agent:
    """Who answers: instructions, and the model that follows them.

    Attributes:
        name: As it stands on the timeline.
        instructions: The system prompt; may be empty.
        model: Name of the vendor's model; None for the server's default.
        max_tokens: The most that one call may generate.
        tools: What it may call.
        sources: Where more tools come from; each is opened when the app is served.
        tool_limit: Calls that it may make at a time; then it is told to go on, three times.
        overflow: What becomes of the oldest turns where the conversation is too long.
        fallbacks: Names of models that are asked, one after the other, where the model fails.
    """

    name: str
    instructions: str = ""
    model: str | None = None
    max_tokens: int = 4096
    tools: tuple[Tool, ...] = ()
    sources: tuple[ToolSource, ...] = ()
    tool_limit: int = 25
    fallbacks: tuple[str, ...] = ()
    overflow: Overflow = "drop"

    def __attrs_post_init__(self) -> None:
        names = [tool.name for tool in self.tools]
        if len(set(names)) != len(names):
            raise AppInvalid(self.name, f"two tools have one name: {', '.join(names)}")


@frozen
class App:
    """One agent or several, and the one that serves a new session.

    Attributes:
        name: As it stands in logs.
        agents: All of them; the first serves a new session.
        client: A model of the app's own; None for the server's.
        screenplay: What the server's model plays for it where there is no key.
        planning: Whether and how turns are planned.
        titling: How a conversation gets its title; None: it gets none.
        guardrails: All have to pass before anything expensive starts.
        build: Makes the pipeline of a plan.
        hooks: Run after each stage, in order.
        shaping: What is done to a turn's events on their way out.
        memory: Whether agents are told what is remembered of the user; None: where one of them
            has a tool of `memory_tools`.
        voice: How it takes turns, and what it says when, in a session that is spoken.
        page: A folder with a page of its own, which the server has at `/app/` as it was at the
            start; None: it has none.

    Raises:
        AppInvalid: If there is no agent, two of one name, or no `index.html` in the folder.
    """

    name: str
    agents: tuple[Agent, ...]
    client: Model | None = field(default=None, eq=False)
    screenplay: Path | None = None
    planning: Planning = field(factory=Planning)
    titling: Titling | None = None
    guardrails: tuple[Guardrail, ...] = ()
    build: Callable[[Plan], Pipeline] = pipeline_of
    hooks: tuple[Hook, ...] = (CarryOn(),)
    shaping: Shaping = field(factory=Shaping)
    memory: bool | None = None
    voice: Voice = field(factory=Voice)
    page: Path | None = None

    def __attrs_post_init__(self) -> None:
        names = [agent.name for agent in self.agents]
        if not names:
            raise AppInvalid(self.name, "it has no agent")
        if len(set(names)) != len(names):
            raise AppInvalid(self.name, f"two agents have one name: {', '.join(names)}")
        if self.page is not None and not (self.page / "index.html").is_file():
            raise AppInvalid(self.name, f"there is no page index.html in {self.page}")

    @property
    def plans(self) -> bool:
        """Whether turns may have a plan."""
        return self.planning.policy != "never"

    @property
    def recalls(self) -> bool:
        """Whether agents are told what is remembered of the user."""
        if self.memory is not None:
            return self.memory
        return any(is_memory_tool(tool) for agent in self.agents for tool in agent.tools)

    @property
    def default(self) -> Agent:
        """The agent that serves a new session."""
        return self.agents[0]

    def action_tool(self, name: str) -> Tool | None:
        """Return the tool of any agent that does something and is called *name*.

        None where there is none, and where agents have several: nobody knows which is meant.
        """
        tools = (tool for agent in self.agents for tool in agent.tools)
        found = {tool for tool in tools if tool.name == name and tool.effect != "read"}
        return found.pop() if len(found) == 1 else None

    def agent(self, name: str) -> Agent | None:
        """Return the agent called *name*, if there is one."""
        return next((agent for agent in self.agents if agent.name == name), None)


@define(eq=False)
class Apps:
    """The app that is served now; a turn sees the one with which it began.

    Lives as long as the process.
    """

    current: App
