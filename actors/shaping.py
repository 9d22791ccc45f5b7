"""Shapes a turn's events on their way to the output loop, as the app says.

It runs in the tasks that send, and not in the loop that writes: an enrichment
may wait for I/O, and an interrupt must not wait behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog
import trio
from attrs import define, evolve

from bargein.actors.adapters import unmixed
from bargein.actors.cleaning import cleaned
from bargein.actors.counters import SHAPING_FAILED
from bargein.actors.mailbox import Receipt
from bargein.actors.messages import Draft, Noted, Outlet, OutputMessage
from bargein.agents.shaping import Shaping, Viewer, withheld
from bargein.protocol.codec import decode_payload, encode_payload
from bargein.protocol.events import (
    ModelEnd,
    ModelStart,
    Payload,
    ToolCall,
    ToolResult,
    Unknown,
)

T = TypeVar("T")

_PAIRED = (ModelStart, ModelEnd, ToolCall, ToolResult)
"""A rule can hide what is in these, but not that they happened: each has its other half."""

_NAMES = ("call_id", "id", "stage")
"""Fields by which one event is matched with another."""

_log = structlog.get_logger()


@define(eq=False)
class ShapedOutlet:
    """An address of the output loop whose events are shaped before they are delivered.

    Text of the model passes as it is: it is the hottest path, and what it may
    say is decided before it is generated.
    """

    _output: Outlet
    _shaping: Shaping
    _viewer: Viewer

    async def tell(self, message: OutputMessage) -> None:
        """Shape *message* and deliver it, waiting while the mailbox is full."""
        await self._output.tell(await self._shaped(message))

    def offer(self, message: OutputMessage) -> bool:
        """Deliver *message* if there is room now, shaped by all that needs no I/O."""
        if not isinstance(message, Noted):
            return self._output.offer(message)
        drafts = tuple(self._ruled(self._transformed(draft)) for draft in message.drafts)
        return self._output.offer(evolve(message, drafts=_left(drafts)))

    async def ask(self, request: Callable[[Receipt[T]], OutputMessage], *, within_s: float) -> T:
        """Send `request(receipt)`, shaped, and return the answer."""
        shaped: list[OutputMessage] = []

        def build(receipt: Receipt[T]) -> OutputMessage:
            message, first = request(receipt), shaped[0]
            if isinstance(message, Noted) and isinstance(first, Noted):
                return evolve(message, drafts=first.drafts)
            return message

        shaped.append(await self._shaped(request(Receipt())))
        return await self._output.ask(build, within_s=within_s)

    async def _shaped(self, message: OutputMessage) -> OutputMessage:
        if not isinstance(message, Noted):
            return message
        drafts = [
            self._ruled(await self._enriched(self._transformed(draft))) for draft in message.drafts
        ]
        return evolve(message, drafts=_left(tuple(drafts)))

    def shown(self, result: ToolResult) -> ToolResult:
        """Return what may be seen of a tool's result, by all that needs no I/O."""
        ruled = self._ruled(self._transformed(result))
        return ruled if isinstance(ruled, ToolResult) else result

    def _transformed(self, draft: Draft) -> Draft:
        if callable(draft):
            return draft
        for transform in self._shaping.transforms:
            try:
                draft = _same_kind(draft, transform(draft))
            except Exception:  # noqa: BLE001 - an app's function; the event goes on as it was
                _failed("transform", draft)
        return draft

    async def _enriched(self, draft: Draft) -> Draft:
        if callable(draft):
            return draft
        enriched: Payload = draft
        with trio.move_on_after(self._shaping.enrich_limit_s) as limit:
            for enrichment in self._shaping.enrichments:
                try:
                    enriched = _same_kind(enriched, await unmixed(enrichment.enrich(enriched)))
                except Exception:  # noqa: BLE001 - I/O of an app; the event goes on without
                    _failed("enrich", draft)
        if limit.cancelled_caught:
            SHAPING_FAILED.labels("enrich").inc()
            _log.warning("event.unenriched", type=draft.type, limit_s=self._shaping.enrich_limit_s)
        return enriched

    def _ruled(self, draft: Draft) -> Draft | None:
        if callable(draft) or isinstance(draft, Unknown):
            return draft
        ruled: Payload = draft
        for rule in self._shaping.rules:
            try:
                ruled = _same_kind(ruled, rule(ruled, self._viewer))
            except Exception:  # noqa: BLE001 - an app's rule; nothing is shown that it may hide
                _failed("process", draft)
                hidden = withheld(draft)
                return draft if hidden is None and isinstance(draft, _PAIRED) else hidden
        return ruled


def _left(drafts: tuple[Draft | None, ...]) -> tuple[Draft, ...]:
    return tuple(draft for draft in drafts if draft is not None)


def _same_kind(before: Payload, after: Payload) -> Payload:
    """Return *after*, if it is still the same thing, and one that can be written."""
    if after is before:
        return after
    if type(after) is not type(before):
        raise TypeError(f"a {before.type} became a {type(after).__name__}")
    for name in _NAMES:
        if getattr(after, name, None) != getattr(before, name, None):
            raise ValueError(f"the {name} of a {before.type} was changed")
    after = cleaned(after)
    decode_payload(after.type, encode_payload(after))
    return after


def _failed(phase: str, draft: Payload) -> None:
    SHAPING_FAILED.labels(phase).inc()
    _log.warning("event.not_shaped", phase=phase, type=draft.type, exc_info=True)
