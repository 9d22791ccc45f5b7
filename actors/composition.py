"""Puts a session together: which actor reaches which, and what each is given."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

from bargein.actors.allowance import Allowance
from bargein.actors.answers import Answers
from bargein.actors.attendance import Attendance
from bargein.actors.audience import Audience
from bargein.actors.clock import Clock
from bargein.actors.commits import Commits
from bargein.actors.input import MAILBOX as INPUT_MAILBOX
from bargein.actors.input import Input
from bargein.actors.ledger import MAILBOX as LEDGER_MAILBOX
from bargein.actors.ledger import Ledger
from bargein.actors.limits import Limits
from bargein.actors.mailbox import Mailbox
from bargein.actors.messages import (
    InputMessage,
    LedgerMessage,
    OutputMessage,
    PipelineMessage,
    PlannerMessage,
)
from bargein.actors.output import MAILBOX as OUTPUT_MAILBOX
from bargein.actors.output import Output
from bargein.actors.pipeline import MAILBOX as PIPELINE_MAILBOX
from bargein.actors.pipeline import Pipeline
from bargein.actors.planner import MAILBOX as PLANNER_MAILBOX
from bargein.actors.planner import Planner
from bargein.actors.playback import reports_playback
from bargein.actors.scribe import Scribe
from bargein.actors.session import Session
from bargein.actors.turn import ResponseSlot
from bargein.agents.app import App, Apps
from bargein.memory.facts import FactBook
from bargein.models.client import Model
from bargein.protocol.ids import Seq, TurnId
from bargein.protocol.state import SessionState
from bargein.timeline.log import Timeline
from bargein.tools.running import Workbench

TurnOver: TypeAlias = Callable[[Timeline, SessionState, TurnId], None]
"""Told of each turn whose last event is on the timeline.  Must not wait, and must not raise."""


def untold(_: Timeline, __: SessionState, ___: TurnId) -> None:
    """Tell nobody that a turn is over."""


def compose(
    *,
    scribe: Scribe,
    principal: str,
    tenant: str | None,
    apps: Apps,
    model: Model,
    clock: Clock,
    limits: Callable[[], Limits],
    workbench: Workbench,
    may_commit: Callable[[str], bool],
    facts: FactBook | None,
    allowance: Allowance,
    on_turn_over: TurnOver = untold,
) -> Session:
    """Put a session together; nothing runs before `Session.run`.

    *limits* are asked for each time that they are needed: a server may be tuned while it runs.
    """
    state, timeline, lasting = scribe.state, scribe.timeline, limits()
    to_input, input_box = Mailbox[InputMessage].open("input", INPUT_MAILBOX)
    to_planner, planner_box = Mailbox[PlannerMessage].open("planner", PLANNER_MAILBOX)
    to_pipeline, pipeline_box = Mailbox[PipelineMessage].open("pipeline", PIPELINE_MAILBOX)
    to_ledger, ledger_box = Mailbox[LedgerMessage].open("ledger", LEDGER_MAILBOX)
    to_output, output_box = Mailbox[OutputMessage].open("output", OUTPUT_MAILBOX)
    audience = Audience(timeline)
    slot = ResponseSlot(clock, audience, state.last_turn, reports_playback(state))
    answers = Answers()
    session: Session

    def end() -> None:
        session.end()

    def was_closed(seq: Seq) -> None:
        session.was_closed(seq)

    doing = to_output, state, timeline, workbench, slot, lasting.commits_most
    commits = Commits(timeline.session_id, principal, *doing, may_commit, facts)
    keeps = Ledger(ledger_box, to_output, commits, slot, state, apps, clock, limits)
    until_settled = partial(keeps.until_quiet, also_undecided=True)
    attendance = Attendance(
        audience, to_planner, to_output, slot, state, limits, until_settled, end
    )
    addresses = to_planner, to_ledger, to_output
    heard = attendance, answers, slot, state, timeline, apps, clock, allowance
    hears = Input(input_box, *addresses, *heard)

    def turn_over(turn_id: TurnId) -> None:
        on_turn_over(timeline, state, turn_id)

    ends = keeps.wind_up, was_closed, allowance, turn_over
    plans = Planner(planner_box, to_pipeline, to_output, slot, state, clock, limits, *ends)
    thinking = state, apps, model, allowance, lasting, timeline
    owner = principal, tenant
    addresses = to_output, to_ledger, to_input
    works = Pipeline(pipeline_box, *addresses, *thinking, *owner, workbench, facts)
    actors = hears, plans, works, keeps, Output(output_box, scribe, allowance)
    shared = timeline, state, allowance, lasting, clock, slot, audience, answers
    session = Session(*owner, *shared, to_input, keeps, actors, scribe.tally)
    return session


def first_config(app: App, model: Model) -> dict[str, Any]:
    """Return the settings with which a session opens."""
    return {
        "app": app.name,
        "agent": app.default.name,
        "model": app.default.model or model.name,
        "on_disconnect": "grace",
        "voice": False,
    }
