"""Guardrails: whether a request may be answered at all, decided before anything expensive."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final, Literal, Protocol

from attrs import field, frozen
from attrs.validators import gt

DEADLINE_S: Final = 10.0

JUDGE: Final = """\
Decide whether the user's request may be answered under this rule:
{rule}
Reply with the one word PASS, or with STOP: and a short reason for the user.
"""


@frozen
class Verdict:
    """What a guardrail says of a request.

    Attributes:
        reason: For the user, where it did not pass.
    """

    passed: bool
    reason: str = ""


_PASS: Final = re.compile(r"PASS(?:\W(?!.*\bSTOP\b).*)?", re.IGNORECASE | re.DOTALL)
"""The word, and whatever else is said after it, unless that takes it back."""

Ask = Callable[[str, str], Awaitable[str]]
"""Ask a model: instructions and words in, its whole answer out.  May raise `ModelError`."""


class Guardrail(Protocol):
    """Judges a request.

    Attributes:
        name: As it stands on the timeline.
        deadline_s: How long it may take.
        otherwise: What counts where it fails or takes too long.
    """

    @property
    def name(self) -> str:
        """The name."""
        ...

    @property
    def deadline_s(self) -> float:
        """The deadline."""
        ...

    @property
    def otherwise(self) -> Literal["pass", "stop"]:
        """The default."""
        ...

    async def check(self, words: str, ask: Ask) -> Verdict:
        """Judge the user's words."""
        ...


@frozen
class Rule:
    """A guardrail in words, which a model judges by."""

    name: str
    rule: str
    deadline_s: float = field(default=DEADLINE_S, validator=gt(0))
    otherwise: Literal["pass", "stop"] = "stop"

    async def check(self, words: str, ask: Ask) -> Verdict:
        """Ask the model; anything but a clear PASS stops."""
        answer = (await ask(JUDGE.format(rule=self.rule), words)).strip()
        if _PASS.fullmatch(answer):
            return Verdict(passed=True)
        reason = answer.partition(":")[2].strip() or "This request can't be answered here."
        return Verdict(passed=False, reason=reason[:500])


@frozen
class Check:
    """A guardrail in code: a function from the user's words to a verdict."""

    name: str
    function: Callable[[str], Awaitable[Verdict]]
    deadline_s: float = field(default=DEADLINE_S, validator=gt(0))
    otherwise: Literal["pass", "stop"] = "stop"

    async def check(self, words: str, ask: Ask) -> Verdict:
        """Call the function."""
        del ask
        return await self.function(words)
