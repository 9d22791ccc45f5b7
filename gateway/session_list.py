"""`GET /v1/sessions`: a principal's own sessions, newest activity first."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog
import trio
from attrs import define, field

from bargein.gateway.auth.identity import Credential
from bargein.gateway.handshake import read_fields
from bargein.gateway.page import METHODS, NOT_ALLOWED, Page, page_of
from bargein.gateway.request_head import Refusal
from bargein.protocol.codes import ErrorCode
from bargein.protocol.frames import Problem, problem
from bargein.protocol.ids import CLIENT_ID, SessionId
from bargein.timeline.archive import Archive
from bargein.timeline.recent import Asked, Mark, Recent, RecentPage
from bargein.timeline.store import StoreError

SESSIONS_PATH: Final = "/v1/sessions"

USUAL_LIMIT: Final = 50
MOST_LIMIT: Final = 200
AT_ONCE: Final = 1
"""Lists that the store reads at the same time: it reads one thing after the other, and a replay
should have to wait for one of them at most."""

ANSWER_S: Final = 3.0
"""Shorter than what a handshake may take: who asks gets an answer, if only that there is none."""

_LIMIT: Final = re.compile(r"[0-9]{1,3}")
_CURSOR: Final = re.compile(r"[A-Za-z0-9_-]{1,200}")
_MARK: Final = re.compile(
    rf"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[!-~]{{0,40}}Z) ({CLIENT_ID.pattern})", re.ASCII
)
_JSON: Final = "application/json"
# No page of another origin has any business with it, not even as something to embed.
_OWN: Final = ("Cross-Origin-Resource-Policy", "same-origin")

_CODES: Final[Mapping[int, ErrorCode]] = {
    HTTPStatus.BAD_REQUEST: ErrorCode.INVALID_COMMAND,
    HTTPStatus.UNAUTHORIZED: ErrorCode.UNAUTHORIZED,
    HTTPStatus.TOO_MANY_REQUESTS: ErrorCode.RATE_LIMITED,
}
"""What the statuses of refusals are called in JSON."""

_log = structlog.get_logger()

CallerOf = Callable[[str, str | None], Credential | Refusal]


@define(eq=False)
class SessionList:
    """Answer whoever wants to know its sessions.  Lives as long as the process.

    Args:
        store: Has them.
        is_live: Says whether a session is in memory.
        caller_of: Says who asks, given an address and an Authorization header.
    """

    _store: Archive
    _is_live: Callable[[SessionId], bool]
    _caller_of: CallerOf
    _turns: trio.CapacityLimiter = field(factory=lambda: trio.CapacityLimiter(AT_ONCE), init=False)

    async def answer(
        self, method: str, target: str, address: str, authorization: Sequence[str]
    ) -> Page:
        """Answer one request, whose Host and Origin were looked at, in `ANSWER_S` at most.

        Args:
            method: As in the request line.
            target: Path and query, as in the request line.
            address: Where it comes from, as limits count it.
            authorization: All headers of that name.
        """
        if method not in METHODS:
            return NOT_ALLOWED
        if len(authorization) > 1:
            return _refused(
                HTTPStatus.BAD_REQUEST,
                problem(ErrorCode.INVALID_COMMAND, "Send only one Authorization header."),
            )
        caller = self._caller_of(address, authorization[0] if authorization else None)
        if isinstance(caller, Refusal):
            return _as_json(caller)
        fields = read_fields(target.partition("?")[2])
        if isinstance(fields, Refusal):
            return _as_json(fields)
        asked = _asked(fields, caller)
        if isinstance(asked, Problem):
            return _refused(HTTPStatus.BAD_REQUEST, asked)
        try:
            with trio.fail_after(ANSWER_S):
                async with self._turns:
                    page = await self._store.recent_of(asked)
        except (StoreError, trio.TooSlowError) as error:
            _log.warning("sessions.not_listed", error=str(error) or "it took too long")
            trouble = problem(
                ErrorCode.STORE_UNAVAILABLE, "The sessions can't be read at the moment; ask again."
            )
            return _refused(HTTPStatus.SERVICE_UNAVAILABLE, trouble, ("Retry-After", "1"))
        return self._listed(page)

    def _listed(self, page: RecentPage) -> Page:
        body = {
            "sessions": [self._entry(each) for each in page.sessions],
            "next": None if page.end is None else _cursor_of(page.end),
        }
        return page_of(HTTPStatus.OK, msgspec.json.encode(body), _OWN, kind=_JSON)

    def _entry(self, found: Recent) -> dict[str, Any]:
        row = found.row
        return {
            "session_id": row.session_id,
            "title": found.title,
            "first_words": found.first_words,
            "opened_at": row.opened_at,
            "last_at": found.last_at,
            "last_seq": row.last_seq,
            "state": "closed" if row.closed else "open",
            "live": self._is_live(row.session_id),
        }


def _asked(fields: Mapping[str, str], caller: Credential) -> Asked | Problem:
    limit = fields.get("limit", str(USUAL_LIMIT))
    if not (_LIMIT.fullmatch(limit) and 1 <= int(limit) <= MOST_LIMIT):
        message = f"`limit` is a whole number from 1 to {MOST_LIMIT}."
        return problem(ErrorCode.INVALID_COMMAND, message, param="limit")
    before = None
    if (cursor := fields.get("before")) is not None and (before := _mark_in(cursor)) is None:
        message = "`before` is copied from `next` of the page before."
        return problem(ErrorCode.INVALID_COMMAND, message, param="before")
    principal, tenant = caller.identity.owner
    return Asked(principal, tenant, before, int(limit))


def _cursor_of(mark: Mark) -> str:
    return urlsafe_b64encode(f"{mark.last_at} {mark.session_id}".encode()).decode().rstrip("=")


def _mark_in(cursor: str) -> Mark | None:
    if not _CURSOR.fullmatch(cursor):
        return None
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:  # of a length that base64 has not, or not ASCII
        return None
    found = _MARK.fullmatch(text)
    return None if found is None else Mark(found[1], SessionId(found[2]))


def _as_json(refusal: Refusal) -> Page:
    code = _CODES.get(refusal.status, ErrorCode.FORBIDDEN)
    status = HTTPStatus(refusal.status)
    return _refused(status, problem(code, refusal.sentence), *refusal.headers)


def _refused(status: HTTPStatus, trouble: Problem, *headers: tuple[str, str]) -> Page:
    body = msgspec.json.encode({"error": trouble})
    return page_of(status, body, _OWN, *headers, kind=_JSON)
