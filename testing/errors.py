"""How a simulated conversation says that something is wrong.

Errors, by whose fault it is::

    AssertionError
     ├── NeverCame      what the test waited for did not come
     ├── RulesBroken    the server, or a tool, broke a rule of the protocol
     └── Livelock       something goes on and on
    Exception
     └── Refused        the server refused a command: often just what the test is about
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

MOST_SHOWN: Final = 12
"""Frames, or rules, in one message."""

MOST_CHARS: Final = 300
"""Of each of them."""


class NeverCame(AssertionError):
    """What a test waited for did not come in time.

    Attributes:
        wanted: What that was.
        within_s: How long it was waited for, in virtual seconds.
    """

    def __init__(self, wanted: str, within_s: float, latest: Sequence[object]) -> None:
        shown = "".join(f"\n  {str(each)[:MOST_CHARS]}" for each in latest[-MOST_SHOWN:])
        came = f"; the latest:{shown}" if shown else "; nothing came at all"
        super().__init__(f"{wanted} did not come within {within_s:g} s{came}")
        self.wanted = wanted
        self.within_s = within_s


class RulesBroken(AssertionError):
    """A conversation broke rules that every conversation keeps.

    Attributes:
        broken: A sentence for each, with the number of the invariant.
    """

    def __init__(self, broken: Sequence[str]) -> None:
        shown = "".join(f"\n  {rule[:MOST_CHARS]}" for rule in broken[:MOST_SHOWN])
        super().__init__(f"{len(broken)} rules broken:{shown}")
        self.broken = tuple(broken)


class Livelock(AssertionError):
    """A conversation goes on and on: look for tasks that wake each other.

    Attributes:
        steps: After how many task steps it was given up.
    """

    def __init__(self, steps: int) -> None:
        super().__init__(f"still running after {steps} task steps")
        self.steps = steps


class Refused(Exception):
    """The server refused a command.

    Attributes:
        command: What was sent.
        code: The code of the error, such as `stale`.
        param: Which field was wrong; None where it was none.
        retryable: Whether the same command may succeed later.
    """

    def __init__(self, command: dict[str, Any], error: dict[str, Any]) -> None:
        super().__init__(f"{command['type']}: {error['code']}: {error['message']}")
        self.command = command
        self.code: str = error["code"]
        self.param: str | None = error.get("param")
        self.retryable: bool = error["retryable"]
