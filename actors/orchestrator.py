"""The orchestrator: whether a request is answered, and by which plan.

It asks for the plan, the title and every guardrail at the same time, since
none of them needs another's result, and holds what they came to.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio
from attrs import define, field, frozen

from bargein.actors.adapters import unmixed
from bargein.actors.asking import Asking
from bargein.actors.drafting import Drafting
from bargein.actors.mailbox import ActorGone
from bargein.actors.messages import Noted, Outlet, Record
from bargein.actors.turn import Turn
from bargein.agents.app import App
from bargein.agents.guardrail import Guardrail, Verdict
from bargein.agents.planning import Plan, Titling
from bargein.models.client import Message, Model, ModelError
from bargein.protocol.events import (
    GuardrailPassed,
    GuardrailTripped,
    Payload,
    PlanReady,
    PlanStart,
    SessionTitled,
)

MOST_TITLE_CHARS: Final = 120
MOST_REASON_CHARS: Final = 500

NOT_CHECKED: Final = (
    "This request could not be checked in time, so it is not answered. Please try again."
)
NO_REASON: Final = "This request can't be answered here."

_QUOTES: Final = "\"'`*“”„«»"

_log = structlog.get_logger()


@frozen
class Refusal:
    """A guardrail tripped: the turn ends as refused.

    Attributes:
        name: Of the guardrail.
        reason: For the user.
    """

    name: str
    reason: str


@define(eq=False)
class Orchestrator:
    """Consults everybody who has a say before a turn's work.  Lives as long as that turn's work.

    Attributes:
        _history: The conversation before the user's words.
        _first: This is the turn that gives the conversation its title.
        _background: Where the title goes on after `consult`; a nursery inside the turn's scope.
            Cancel it when the answer is complete: a title that is late is left out.  None where
            no title is wanted.
        plan: The current plan; None before it is ready, and where none is wanted.
        stop: Why this turn is not answered; None while nothing speaks against it.
    """

    _turn: Turn
    _app: App
    _model: Model
    _output: Outlet
    _history: tuple[Message, ...]
    _first: bool = field(alias="first")
    _background: trio.Nursery | None = field(alias="background")
    plan: Plan | None = field(default=None, init=False)
    stop: Refusal | None = field(default=None, init=False)
    _title_scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)

    async def consult(self) -> Plan | Refusal | None:
        """Return the plan, or None where none is wanted, or why the turn is not answered.

        Call it once, inside the turn's scope.  It returns when the plan and all
        guardrails are there, or as soon as one of these trips: then all the
        others are cancelled, the title too.  It does not wait for the title.
        Each `plan.ready`, `guardrail.*` and `session.titled` is told as it arrives.
        """
        if self._first and self._app.titling is not None and self._background is not None:
            self._background.start_soon(self._give_title, self._app.titling, name="title")
        if not (self._app.plans or self._app.guardrails):
            return None
        asking = self._asking("planner", self._app.planning.model)
        drafting = Drafting(self._turn, self._app, asking, self._output, self._history)
        async with trio.open_nursery() as consulted:
            if self._app.plans:
                consulted.start_soon(self._make_plan, drafting, name="plan")
            for guardrail in self._app.guardrails:
                consulted.start_soon(
                    self._guard, guardrail, consulted.cancel_scope, name=guardrail.name
                )
        if self.stop is not None:
            await drafting.break_off()
            await self._note(GuardrailTripped(self.stop.name, self.stop.reason))
            return self.stop
        return self.plan

    # --- the plan -------------------------------------------------------------------

    async def _make_plan(self, drafting: Drafting) -> None:
        await self._note(PlanStart())
        with self._turn.phases.child("planner"):
            plan = await drafting.run()
        # An empty plan is told, too: the last turn's is no longer the current one.
        steps = tuple(step.on_timeline() for step in plan.steps)
        await self._note(PlanReady(steps))
        self.plan = plan if plan.steps else None

    # --- guardrails -------------------------------------------------------------------

    async def _guard(self, guardrail: Guardrail, consulted: trio.CancelScope) -> None:
        verdict = None
        name = f"guardrail:{guardrail.name}"
        with self._turn.phases.child(name), trio.move_on_after(guardrail.deadline_s):
            verdict = await self._verdict_of(guardrail)
        if verdict is None:
            _log.warning(
                "guardrail.unchecked",
                turn=self._turn.id,
                guardrail=guardrail.name,
                otherwise=guardrail.otherwise,
            )
            verdict = Verdict(guardrail.otherwise == "pass", NOT_CHECKED)
        if verdict.passed:
            await self._note(GuardrailPassed(guardrail.name))
        elif self.stop is None:
            self.stop = Refusal(guardrail.name, _reason_of(verdict))
            consulted.cancel(reason="a guardrail tripped")
            self._title_scope.cancel(reason="a guardrail tripped")

    async def _verdict_of(self, guardrail: Guardrail) -> Verdict | None:
        """Return what *guardrail* says; None where that is nothing."""
        asking = self._asking(f"guardrail:{guardrail.name}")
        try:
            return _verdict_in(await unmixed(guardrail.check(self._turn.words, asking.answer)))
        except ActorGone:
            raise  # the session is ending
        except Exception as error:  # noqa: BLE001 - a guardrail is somebody else's code
            _log.warning(
                "guardrail.raised", turn=self._turn.id, guardrail=guardrail.name, exc_info=error
            )
            return None

    # --- the title --------------------------------------------------------------------

    async def _give_title(self, titling: Titling) -> None:
        title = ""
        with self._title_scope, trio.move_on_after(titling.deadline_s):
            title = await self._title(titling)
        if title:
            # Of the session, not of the turn: an interrupt does not take it back.
            await self._output.tell(Record(None, (SessionTitled(title),)))
        else:
            _log.warning("title.left_out", turn=self._turn.id)

    async def _title(self, titling: Titling) -> str:
        asking = self._asking("titler", titling.model)
        try:
            words = await asking.answer(titling.instructions, self._turn.words)
        except ModelError:
            return ""
        first_line = words.strip().partition("\n")[0]
        return first_line.strip(f"{_QUOTES} \t")[:MOST_TITLE_CHARS]

    # ------------------------------------------------------------------------------------

    def _asking(self, role: str, model_name: str | None = None) -> Asking:
        return Asking(self._turn, self._model, self._output, role, model_name)

    async def _note(self, *payloads: Payload) -> None:
        await self._output.tell(Noted(self._turn, payloads))


def _verdict_in(answer: object) -> Verdict | None:
    # The types are only a promise of the app's: what is no verdict lets nobody pass.
    match answer:
        case Verdict(passed=bool(), reason=str()):
            return answer
        case _:
            return None


def _reason_of(verdict: Verdict) -> str:
    return verdict.reason.strip()[:MOST_REASON_CHARS] or NO_REASON
