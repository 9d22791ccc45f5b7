"""What happens in a session as lines for a person: tools, plans, actions, faults and notices."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import define, field

from bargein.gateway.action_lines import Action, outcome_lines, proposal_lines, summary_of
from bargein.gateway.line_parts import as_json, keep, uncut
from bargein.protocol import events
from bargein.protocol.lines import (
    SHORT_CHARS,
    compact,
    last_words,
    notice,
    one_line,
    prefixed,
)

_STOPPED_BY: Final[dict[events.CancelledBy, str]] = {
    "user": "stopped",
    "speech": "stopped by speech",
    "preempted": "stopped to make room for other work",
    "disconnected": "stopped because nobody was connected",
    "deadline": "stopped because the time was up",
    "operator": "stopped by the operator",
}
_BOXES: Final[dict[str, str]] = {
    "pending": "[ ]", "active": "[>]", "done": "[x]",
    "failed": "[!]", "skipped": "[-]", "cancelled": "[-]",
}  # fmt: skip
_TOOL_ENDS: Final[dict[str, str]] = {
    "error": "failed",
    "timeout": "took too long",
    "committing": "is still being done and can't be stopped any more",
}


@define(eq=False)
class EventLines:
    """Says what each event means to a person; the answer's text is not its business.

    Holds 64 names of calls, actions and steps each.  Lives as long as whoever shows them.
    """

    _tools: dict[str, str] = field(factory=dict[str, str], init=False)
    _actions: dict[str, Action] = field(factory=dict[str, Action], init=False)
    _steps: dict[str, tuple[int, str]] = field(factory=dict[str, tuple[int, str]], init=False)

    def begin_turn(self) -> None:
        """Forget the plan of the turn before."""
        self._steps.clear()

    def of(self, payload: events.Payload) -> list[str]:
        """Return the lines of an event that is no part of the answer; often there are none."""
        return list(self._of(payload))

    def _of(self, payload: events.Payload) -> Iterable[str]:
        match payload:
            case events.PlanReady(steps=steps):
                self._steps.clear()
                for number, step in enumerate(steps, start=1):
                    keep(self._steps, step.id, (number, one_line(step.title, SHORT_CHARS)))
                    yield step_line(number, step.title, step.state)
            case events.PlanStep(id=step_id, state=state):
                if step_id in self._steps:
                    yield step_line(*self._steps[step_id], state)
            case events.ToolCall():
                name = one_line(payload.tool, SHORT_CHARS)
                keep(self._tools, payload.call_id, name)
                args = ", ".join(f"{key}={as_json(arg)}" for key, arg in payload.args.items())
                yield f"tool  {name}({one_line(args, SHORT_CHARS)}) …"
            case events.ToolProgress(fraction=fraction):
                name = self._tools.get(payload.call_id, payload.call_id)
                share = f" {fraction:.0%}" if isinstance(fraction, float) else ""
                yield prefixed("tool", f"{name}{share} {payload.text}")
            case events.ToolResult():
                yield from self._result(payload)
            case events.ActionProposed():
                yield from proposal_lines(self._actions, payload)
            case events.Fault(recover=recover):
                yield from uncut("!!", f"{payload.message} ({payload.code.value})")
                if token := recover.resume_token:
                    how = as_json({"type": "say", "resume": token})
                    yield prefixed("!!", f"To go on from there: {how}")
            case _:
                if line := notice(payload):
                    yield line
                yield from outcome_lines(self._actions, payload)

    def stopped(
        self,
        by: events.CancelledBy,
        heard: str,
        shown_chars: int | None,
        ack: events.CancelAck,
    ) -> str:
        """Return the receipt of an interrupt: what was heard, how long it took, what goes on.

        *shown_chars* of *heard* stand on the screen already; None where that is not known.
        """
        quote = last_words(heard, shown_chars)
        where = f'after "{quote}"' if quote else "before the first word"
        line = f"--  {_STOPPED_BY[by]} {where} ({ack.took_ms:.1f} ms)"
        going_on = ", ".join(
            summary_of(self._actions, action_id) for action_id in ack.still_committing
        )
        return f"{line}; still being done: {going_on}" if going_on else line

    def _result(self, payload: events.ToolResult) -> Iterable[str]:
        name = self._tools.pop(payload.call_id, None)
        status, result = payload.status, payload.result
        if status == "proposed" or (status == "cancelled" and name is None):
            return
        name = payload.call_id if name is None else name
        if status == "ok":
            text = f"{name} is done" if result is None else f"{name} = {compact(result)}"
        else:
            end = _TOOL_ENDS.get(status, status)
            text = f"{name} {end}" if result is None else f"{name} {end}: {compact(result)}"
        yield prefixed("tool", text)


def step_line(number: int, title: str, state: str) -> str:
    """Return the line of one step of a plan."""
    return prefixed("plan", f"{number}. {_BOXES.get(state, '[?]')} {title}")
