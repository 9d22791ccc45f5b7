"""What goes wrong with a tool: in its declaration, in its arguments, in itself."""

from __future__ import annotations


class ToolFailed(Exception):
    """The tool did not do what it was asked, and says why to the agent.

    Raise it from a tool with words for the model, and only where nothing was
    done; any other exception is logged, and the model learns only that the tool
    failed.  Of an action nobody knows then whether it happened: it is in doubt.
    """


class ToolInvalid(TypeError):
    """A function can't be a tool as it is declared; mend it before you start.

    Attributes:
        tool: Its name.
        reason: What is wrong with it.
    """

    def __init__(self, tool: str, reason: str) -> None:
        super().__init__(f"tool {tool!r}: {reason}")
        self.tool = tool
        self.reason = reason


class ArgumentsRefused(ValueError):
    """The arguments don't fit the tool's schema; the agent is told, and may try again.

    Attributes:
        tool: Name of the tool.
        reason: What does not fit, and where.
    """

    def __init__(self, tool: str, reason: str) -> None:
        super().__init__(f"the arguments of {tool!r} don't fit: {reason}")
        self.tool = tool
        self.reason = reason
