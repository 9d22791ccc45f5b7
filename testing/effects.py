"""Keeps a ledger of what tools were started with, and holds it against the timeline."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from attrs import define, evolve, field

from bargein.agents.app import App
from bargein.protocol.ids import SessionId
from bargein.testing.action_rules import REVERT, Deed
from bargein.testing.timeline import Timeline
from bargein.timeline.memory import Shelf
from bargein.tools.commitment import Commitment, Revert
from bargein.tools.tool import Tool, ToolContext


@define(eq=False)
class Ledger:
    """What was begun outside, under which key; it outlives the server, as the outside does.

    Attributes:
        deeds: Every start of a tool that does something, and of an undoing, oldest first.
    """

    _shelf: Shelf
    deeds: list[Deed] = field(factory=list[Deed], init=False)

    def watching(self, app: App) -> App:
        """Return *app* with tools that say here when they begin."""
        return evolve(
            app,
            agents=tuple(
                evolve(agent, tools=tuple(map(self._watched, agent.tools))) for agent in app.agents
            ),
        )

    def of(self, timeline: Timeline) -> list[Deed]:
        """Return the deeds of a timeline's session, taking its word for what came of them.

        Whether something happened only the outside knows; whether it was begun too often, too
        early or without being confirmed is seen from here.
        """
        done = [
            Deed(fact.payload.idempotency_key, "done") for fact in timeline.of("action.committed")
        ]
        keys = {
            fact.payload.action_id: fact.payload.idempotency_key
            for fact in timeline.of("action.committing")
        }
        undone = [
            Deed(keys[fact.payload.action_id] + REVERT, "done")
            for fact in timeline.of("action.reverted")
            if fact.payload.action_id in keys
        ]
        started = {deed.key for deed in self.deeds}
        return [*self.deeds, *(deed for deed in (*done, *undone) if deed.key in started)]

    def _watched(self, tool: Tool) -> Tool:
        if tool.effect == "read":
            return tool

        def bind(args: Mapping[str, Any], context: ToolContext, /) -> Callable[[], Any]:
            call = tool.bind(args, context)

            def begun() -> Any:
                self._note(context.key, context.session_id, args)
                return call()

            return begun

        revert = None if tool.revert is None else self._undoing(tool.revert)
        return evolve(tool, binding=bind, revert=revert)

    def _undoing(self, revert: Revert) -> Revert:
        undo: Callable[..., Any] = revert

        @wraps(undo)
        def begun(done: Commitment, **context: Any) -> Any:
            self._note(done.revert_key, SessionId(done.key.split(":")[1]), None)
            return undo(done, **context)

        @wraps(undo)
        async def begun_async(done: Commitment, **context: Any) -> Any:
            return await begun(done, **context)

        return begun_async if inspect.iscoroutinefunction(undo) else begun

    def _note(self, key: str | None, session_id: SessionId, args: Mapping[str, Any] | None) -> None:
        row = self._shelf.row(session_id)
        seq = 0 if row is None else int(row.last_seq)
        self.deeds.append(Deed(key or "", "started", None if args is None else dict(args), seq))
