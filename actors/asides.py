"""What is answered beside the timeline: commands that read it, or have nothing to do with it."""

from __future__ import annotations

from typing import Final, TypeAlias

import msgspec

from bargein.actors.answers import Answer
from bargein.actors.audience import Client
from bargein.actors.clock import Clock, utc_text
from bargein.protocol.codec import encode_frame
from bargein.protocol.codes import ErrorCode
from bargein.protocol.commands import (
    Ack,
    Authenticate,
    Command,
    Confirm,
    History,
    Ping,
    Reject,
    Revert,
)
from bargein.protocol.frames import Pong, problem
from bargein.protocol.ids import Seq
from bargein.timeline.audit import AuditEntry
from bargein.timeline.log import Timeline
from bargein.timeline.store import StoreError

MOST_PAGE_EVENTS: Final = 1000
MOST_PAGE_BYTES: Final = 256 * 1024 - 1024  # the reply around it has to fit as well

Aside: TypeAlias = Ping | Ack | Authenticate


def answer_aside(
    command: Aside, answer: Answer, client: Client, timeline: Timeline, clock: Clock
) -> None:
    """Answer what concerns this connection alone."""
    match command:
        case Ping():
            client.show(encode_frame(Pong(command.nonce, utc_text(clock.utc_ms()))))
        case Ack():
            if not client.acknowledge(Seq(command.seq)):
                message = "`seq` is beyond what was sent."
                answer.refuse(problem(ErrorCode.INVALID_COMMAND, message, param="seq"))
                return
        case Authenticate():
            if (trouble := client.authenticate(command.token)) is not None:
                answer.refuse(trouble)
                return
    answer.reply({}, timeline.durable)


async def answer_page(command: History, answer: Answer, timeline: Timeline) -> None:
    """Answer with a page of what is stored."""
    limit = min(command.limit, MOST_PAGE_EVENTS)
    durable = timeline.durable
    try:
        page = await timeline.read_back(Seq(command.after), limit=limit, most_bytes=MOST_PAGE_BYTES)
    except StoreError:
        answer.refuse(problem(ErrorCode.STORE_UNAVAILABLE))
        return
    # Others may have written more, or wait for copies of it: what is not shown live is not yet.
    page = [stored for stored in page if stored.seq <= durable]
    events = [msgspec.Raw(stored.frame) for stored in page]
    last = page[-1].seq if page else None
    more = last if last is not None and last < durable else None
    answer.reply({"events": events, "next": more}, min(durable, timeline.durable))


def note_forbidden(
    command: Command, by: str, timeline: Timeline, clock: Clock, owner: tuple[str, str | None]
) -> None:
    """Put on the audit that somebody tried to decide who may not."""
    if not isinstance(command, (Confirm, Reject, Revert)):
        return
    named = command.action_id if isinstance(command, Revert) else command.confirmation_id
    principal, tenant = owner
    timeline.audit(
        AuditEntry(
            ts=utc_text(clock.utc_ms()),
            act=f"{command.type}.forbidden",
            session_id=timeline.session_id,
            principal=principal,
            tenant=tenant,
            subject=named,
            by=by,
        )
    )
