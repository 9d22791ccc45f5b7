"""The thinking loop's second half: the work of a turn, inside the turn's scope."""

from __future__ import annotations

from functools import partial
from typing import Final

import structlog
import trio
from attrs import define, field
from structlog.contextvars import bind_contextvars

from bargein.actors.allowance import Allowance
from bargein.actors.budget import Budgeted
from bargein.actors.context import Conversation
from bargein.actors.executor import Executor
from bargein.actors.keeper import write
from bargein.actors.limits import Limits
from bargein.actors.loudspeaker import Loudspeaker
from bargein.actors.mailbox import Address, Mailbox
from bargein.actors.messages import (
    Foresee,
    InputMessage,
    LedgerMessage,
    Noted,
    Outlet,
    OutputMessage,
    Perform,
    PipelineMessage,
)
from bargein.actors.phases import SLOT
from bargein.actors.shaping import ShapedOutlet
from bargein.actors.slots import SlotsAway
from bargein.actors.speculation import Prompted, Speculations
from bargein.actors.turn import Outcome, Turn
from bargein.actors.voicing import VoicedOutlet
from bargein.agents.app import Apps
from bargein.agents.shaping import Viewer
from bargein.memory.facts import FactBook
from bargein.models.client import Model
from bargein.protocol.codes import ErrorCode
from bargein.protocol.events import Fault, Recover, Status
from bargein.protocol.recovery import resume_token
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.tools.running import Workbench

MAILBOX: Final = 4

TOLD_AFTER_S: Final = 1.0
"""A shorter wait for a model slot is nothing that a person has to be told of."""

WAITS: Final = "Many are being answered at the moment. Your turn comes as soon as there is a place."

REMEMBERED_S: Final = 20.0
"""How long a conversation is kept as a model is told of it: it can be told anew from the fold."""

_log = structlog.get_logger()


@define(eq=False)
class Pipeline:
    """Performs turns: each in a task of its own, which the turn's scope can end."""

    _mailbox: Mailbox[PipelineMessage]
    _output: Address[OutputMessage]
    _ledger: Address[LedgerMessage]
    _input: Address[InputMessage]
    _state: SessionState
    _apps: Apps
    _model: Model
    _allowance: Allowance
    _limits: Limits
    _timeline: Timeline
    _principal: str
    _tenant: str | None
    _workbench: Workbench
    _facts: FactBook | None = None
    _conversation: Conversation = field(init=False)
    _speculations: Speculations | None = field(default=None, init=False)
    _began_s: float = field(default=0.0, init=False)
    _remembers: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self._conversation = Conversation(self._state)

    async def run(self) -> None:
        """Run until the address is closed and all work has unwound."""
        with self._mailbox:
            async with trio.open_nursery() as work:
                self._mailbox.when_idle(partial(self._begin_now, work))
                batch = await self._mailbox.take()
                while batch:
                    for message in batch:
                        self._begin(work, message)
                    batch = await self._next()
                if self._speculations is not None:
                    self._speculations.drop()
        self._ledger.close()

    def _begin_now(self, work: trio.Nursery, message: PipelineMessage, told: bool) -> bool:  # noqa: FBT001
        del told
        at_once = self._remembers and isinstance(message, Perform)
        if at_once:
            self._begin(work, message)
        return at_once

    def _begin(self, work: trio.Nursery, message: PipelineMessage) -> None:
        self._began_s = trio.current_time()
        if isinstance(message, Foresee):
            if self._speculations is None:
                places = self._state, self._conversation, self._apps, self._model, self._allowance
                most_chars = self._limits.history_chars
                self._speculations = Speculations(*places, most_chars, self._facts)
            self._speculations.obey(message, work)
        else:
            work.start_soon(self._perform, message, name=message.turn.id)

    async def _next(self) -> list[PipelineMessage]:
        """Wait for more work; where none comes for a while, make room for other sessions."""
        self._remembers = True  # so whoever has more of it begins it without waking this task
        try:
            while (until_s := self._began_s + REMEMBERED_S) > trio.current_time():
                with trio.move_on_at(until_s):
                    return await self._mailbox.take()
        finally:
            self._remembers = False
        self._conversation.forget()
        return await self._mailbox.take()

    async def _perform(self, perform: Perform) -> None:
        bind_contextvars(turn=perform.turn.id)
        outcome: Outcome | None = None
        try:
            with perform.turn.scope:
                is_voiced = await self._is_voiced(perform.turn)
                outlet, executor, voiced, aloud = self._prepared(perform, is_voiced=is_voiced)
                if aloud is None:
                    outcome = await _work(perform, outlet, executor, voiced)
                else:
                    async with trio.open_nursery() as beside:
                        beside.start_soon(aloud.run)
                        outcome = await _work(perform, outlet, executor, voiced)
                        _only_speak(perform, aloud)
        finally:
            if self._speculations is not None:
                self._speculations.drop()  # a turn has its own by now, or asked something else
            perform.claim.release()
            perform.turn.finish(outcome)

    def _prepared(
        self, perform: Perform, *, is_voiced: bool
    ) -> tuple[Outlet, Executor, VoicedOutlet | None, Loudspeaker | None]:
        # The app of this turn is the one that is served when the turn begins.
        app = self._apps.current
        viewer = Viewer(self._principal, self._tenant)
        outlet: Outlet = self._output
        voiced: VoicedOutlet | None = None
        aloud: Loudspeaker | None = None
        if is_voiced:
            has_tools = any(agent.tools for agent in app.agents)
            if app.voice.speaker is not None:
                places = self._input, perform.turn, app.voice.speaker, self._timeline
                outlet = aloud = Loudspeaker(self._output, *places)
            outlet = voiced = VoicedOutlet(outlet, perform.turn, app.voice, has_tools)
        if app.shaping:
            outlet = shaped = ShapedOutlet(outlet, app.shaping, viewer)
            perform.turn.shown = shaped.shown
        model = app.client or self._model
        if self._speculations is not None:
            self._speculations.expect(perform.turn.words, perform.claim)
            model = Prompted(model, self._speculations)
        executor = Executor(
            perform,
            app,
            Budgeted(model, self._allowance),
            self._state,
            self._conversation,
            self._timeline,
            self._principal,
            self._workbench,
            outlet,
            self._ledger,
            self._limits,
            self._facts,
        )
        return outlet, executor, voiced, aloud

    async def _is_voiced(self, turn: Turn) -> bool:
        known = self._state.turns.get(turn.id)
        if known is None or known.start_seq is None:
            # Its beginning is still to be written, and settings may be on their way before it.
            await write(self._output, turn, ())
            known = self._state.turns[turn.id]
        return known.voiced


async def _work(
    perform: Perform, outlet: Outlet, executor: Executor, voiced: VoicedOutlet | None
) -> Outcome:
    outcome = await _until_placed(perform, outlet) or await executor.run()
    if voiced is not None:
        await voiced.finish()
    return outcome


def _only_speak(perform: Perform, aloud: Loudspeaker) -> None:
    """Let others think while the rest of this answer is said."""
    aloud.complete()
    perform.claim.release()
    perform.turn.steer_no_more()
    perform.turn.phases.enter("playback")


async def _until_placed(perform: Perform, outlet: Outlet) -> Outcome | None:
    """Wait for the turn's model slot, and say so where that takes a while.

    Returns what the turn has come to where there is none to be had.
    """
    turn, claim = perform.turn, perform.claim
    if claim.is_granted:
        return None
    turn.phases.enter(SLOT)
    try:
        with trio.move_on_after(TOLD_AFTER_S):
            await claim.until_granted()
        if not claim.is_granted:
            await outlet.tell(Noted(turn, (Status(WAITS),)))
            await claim.until_granted()
    except SlotsAway as away:
        code, recover = ErrorCode.OVERLOADED, Recover(resume_token=resume_token(turn.id))
        _log.warning("turn.failed", code=code.value, layer="pipeline")
        fault = Fault(code, str(away), retryable=True, layer="pipeline", recover=recover)
        await outlet.tell(Noted(turn, (fault,)))
        return Outcome("failed")
    return None
