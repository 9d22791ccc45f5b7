"""What an app says of planning: whether, by whom, and what a plan may look like."""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from attrs import field, frozen
from attrs.validators import gt
from msgspec import UNSET

from bargein.protocol.events import Step
from bargein.protocol.events.thinking import StepState

PlanPolicy = Literal["never", "always", "auto"]

MOST_STEPS: Final = 12
MOST_TITLE_CHARS: Final = 200

PLANNER: Final = """\
You plan how a team answers a user. Don't answer yourself. Reply with JSON alone:
{"steps": [{"title": "what is to be done, in a few words", "agent": "who does it", "group": 1}]}
Steps are done in order. Steps with the same group number are done at the same time, so give that
only to steps that don't need each other's results. The last step answers the user.
"""

WHEN_NEEDED: Final = 'If one answer will do, without steps, reply {"steps": []}.\n'

TITLER: Final = (
    "Give this conversation a title of at most six words, in the user's language. "
    "Reply with the title alone."
)


@frozen
class Planning:
    """Whether a turn is planned, and how.

    Attributes:
        policy: `auto` lets the planner say, in its one call, that no plan is needed.
        instructions: For the planner, before the list of agents.
        model: Name of the planner's model; None for the server's default.
        deadline_s: How long all its tries may take.
        most_steps: A longer plan is invalid.
    """

    policy: PlanPolicy = "never"
    instructions: str = PLANNER
    model: str | None = None
    deadline_s: float = field(default=20.0, validator=gt(0))
    most_steps: int = field(default=MOST_STEPS, validator=gt(0))


@frozen
class Titling:
    """How the conversation gets its title, in its first turn.

    Attributes:
        deadline_s: After this it stays without one.
    """

    instructions: str = TITLER
    model: str | None = None
    deadline_s: float = field(default=10.0, validator=gt(0))


@frozen
class PlannedStep:
    """One step of a plan.

    Attributes:
        id: `step_1` and so on.
        group: Neighbours with the same group run at the same time; None for a step alone.
    """

    id: str
    title: str
    agent: str
    group: int | None = None

    @classmethod
    def of(cls, step: Step) -> PlannedStep:
        """Return what was planned, from the timeline's words."""
        return cls(step.id, step.title, step.agent, None if step.group is UNSET else step.group)

    def on_timeline(self, state: StepState = "pending") -> Step:
        """Return the step as it stands on the timeline."""
        group = UNSET if self.group is None else self.group
        return Step(self.id, self.title, self.agent, state, group)


@frozen
class Plan:
    """What is to be done for a turn, in order."""

    steps: tuple[PlannedStep, ...]


class PlanInvalid(ValueError):
    """The planner's words are no plan; it is told why, and may mend it.

    Attributes:
        reason: What is wrong, in words that the planner can act on.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def plan_from(value: object, *, agents: tuple[str, ...], most_steps: int) -> Plan:
    """Return the plan that the planner's JSON holds; without steps, it wants none.

    Raises:
        PlanInvalid: If it is of the wrong shape, too long, or names somebody unknown.
    """
    try:
        drafted = msgspec.convert(value, _Draft, strict=True)
    except msgspec.ValidationError as error:
        raise PlanInvalid(f'reply with {{"steps": [...]}} and nothing else: {error}') from None
    if len(drafted.steps) > most_steps:
        raise PlanInvalid(f"at most {most_steps} steps")
    return Plan(tuple(_step_from(n, step, agents) for n, step in enumerate(drafted.steps, 1)))


@frozen(slots=False)
class _DraftedStep:
    title: str
    agent: str
    group: int | None = None


@frozen(slots=False)
class _Draft:
    steps: tuple[_DraftedStep, ...]


def _step_from(number: int, step: _DraftedStep, agents: tuple[str, ...]) -> PlannedStep:
    if not step.title.strip():
        raise PlanInvalid(f"step {number} needs a title in words")
    if step.agent not in agents:
        raise PlanInvalid(f"step {number} needs an agent, one of: {', '.join(agents)}")
    title = step.title.strip()[:MOST_TITLE_CHARS]
    return PlannedStep(f"step_{number}", title, step.agent, step.group)
