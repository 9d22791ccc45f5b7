"""Gets a plan out of the planner's model, whatever the model makes of it."""

from __future__ import annotations

import re
from typing import Final

import structlog
import trio
from attrs import define, field

from bargein.actors.asking import Asking
from bargein.actors.messages import Noted, Outlet
from bargein.actors.turn import Turn
from bargein.agents.app import Agent, App
from bargein.agents.planning import WHEN_NEEDED, Plan, PlanInvalid, PlannedStep, plan_from
from bargein.models.client import Message, ModelError
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import Payload, RecoveryEnd, RecoveryStart, Status
from bargein.protocol.gate import JsonRefused, parse

MOST_MENDS: Final = 2
"""How often the planner may mend its words: who fails three times has not understood."""

MOST_TITLE_CHARS: Final = 80
MOST_SENTENCE_CHARS: Final = 200

MEND: Final = "That is no usable plan: {reason}. Reply with the mended JSON alone."

NOTHING_SAID: Final = "(no words)"
"""Stands for an empty answer, which no vendor takes back as a message."""

IN_ONE_STEP: Final = "There is no usable plan for this, so it is answered in one step."

ANSWER: Final = "Answer the user"

_SENTENCE: Final = re.compile(r".+?(?:[.!?](?=\s|$)|$)", re.MULTILINE)

_log = structlog.get_logger()


@define(eq=False)
class Drafting:
    """Asks for one plan.  Lives as long as that takes.

    Attributes:
        _history: The conversation before the user's words.
        _mending: Number of the attempt whose `recovery.start` is on its way, and whose end is not.
    """

    _turn: Turn
    _app: App
    _asking: Asking
    _output: Outlet
    _history: tuple[Message, ...]
    _mending: int = field(default=0, init=False)

    async def run(self) -> Plan:
        """Return a valid plan, within the app's deadline; without steps none is wanted.

        Words that are no plan go back to the model to be mended.  Where there
        still is none, or the model fails, the default agent does all in one step.
        """
        code = ErrorCode.MODEL_TIMEOUT
        with trio.move_on_after(self._app.planning.deadline_s):
            try:
                return await self._drafted()
            except PlanInvalid:
                code = ErrorCode.PLAN_INVALID
            except ModelError as error:
                code = ErrorCode(error.code)
        _log.warning("plan.given_up", turn=self._turn.id, code=code.value)
        return await self._in_one_step(code)

    async def break_off(self) -> None:
        """Close what `run` left open on the timeline when it was cancelled."""
        if self._mending:
            await self._end_mending("broken off")

    async def _drafted(self) -> Plan:
        system = self._instructions()
        messages = (*self._history, Message("user", self._turn.words))
        while True:
            words = await self._asking.ask(system, messages)
            try:
                plan = self._plan_in(words)
            except PlanInvalid as error:
                if self._mending == MOST_MENDS:
                    raise
                await self._begin_mending()
                messages = (
                    *messages,
                    Message("assistant", words.strip() or NOTHING_SAID),
                    Message("user", MEND.format(reason=error.reason.rstrip("."))),
                )
            else:
                if self._mending:
                    await self._end_mending("mended")
                return plan

    def _instructions(self) -> str:
        planning = self._app.planning
        when_needed = WHEN_NEEDED if planning.policy == "auto" else ""
        agents = "\n".join(_line_of(agent) for agent in self._app.agents)
        return f"{planning.instructions.rstrip()}\n{when_needed}The agents:\n{agents}"

    def _plan_in(self, words: str) -> Plan:
        planning = self._app.planning
        # Models like to put JSON into a fence, or a sentence in front of it.
        start, end = words.find("{"), words.rfind("}")
        if end < start or start < 0:
            raise PlanInvalid("there is no JSON object in it")
        try:
            value = parse(words[start : end + 1])
        except JsonRefused as error:
            raise PlanInvalid(f"it is not valid JSON: {error}") from None
        names = tuple(agent.name for agent in self._app.agents)
        plan = plan_from(value, agents=names, most_steps=planning.most_steps)
        if planning.policy == "always" and not plan.steps:
            raise PlanInvalid("it needs at least one step")
        return plan

    # --- recovery, as it is seen --------------------------------------------------

    async def _begin_mending(self) -> None:
        attempt = self._mending + 1
        events: list[Payload] = [RecoveryStart(ErrorCode.PLAN_INVALID.value, attempt)]
        if self._mending:
            events.insert(0, _mended(self._mending, "still invalid"))
        await self._note(*events)
        self._mending = attempt

    async def _end_mending(self, outcome: str) -> None:
        await self._note(_mended(self._mending, outcome))
        self._mending = 0

    async def _in_one_step(self, code: ErrorCode) -> Plan:
        status = Status(IN_ONE_STEP)
        if code is ErrorCode.PLAN_INVALID:
            await self._note(status, _mended(self._mending, "in one step"))
        else:
            await self.break_off()
            await self._note(
                RecoveryStart(code.value, 1), status, RecoveryEnd(code.value, 1, "in one step")
            )
        self._mending = 0
        return Plan((PlannedStep("step_1", _title_of(self._turn.words), self._app.default.name),))

    async def _note(self, *payloads: Payload) -> None:
        await self._output.tell(Noted(self._turn, payloads))


def _mended(attempt: int, outcome: str) -> RecoveryEnd:
    return RecoveryEnd(ErrorCode.PLAN_INVALID.value, attempt, outcome)


def _line_of(agent: Agent) -> str:
    found = _SENTENCE.search(agent.instructions.strip())
    if found is None:
        return f"- {agent.name}"
    return f"- {agent.name}: {found[0][:MOST_SENTENCE_CHARS]}"


def _title_of(words: str) -> str:
    title = " ".join(words.split())
    if len(title) > MOST_TITLE_CHARS:
        return title[: MOST_TITLE_CHARS - 1].rstrip() + "…"
    return title or ANSWER
