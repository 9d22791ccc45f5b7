"""The sessions of whoever asks, as the server lists them."""

from __future__ import annotations

import http.client
import ssl
from typing import Final
from urllib.parse import quote, urlsplit

import msgspec
from attrs import frozen

from bargein.gateway.terminal.address import Address
from bargein.protocol.lines import SHORT_CHARS, one_line

LIMIT_S: Final = 10.0
MOST_PAGES: Final = 100
MOST_PAGE_BYTES: Final = 4 * 1024 * 1024


class ListUnavailable(Exception):
    """There is no list; the message says why.

    Attributes:
        status: The HTTP status; None where there was no answer.
    """

    def __init__(self, reason: str, status: int | None = None) -> None:
        super().__init__(reason)
        self.status = status


@frozen
class Listed:
    """One session, as the server describes it."""

    session_id: str
    title: str | None = None
    opened_at: str | None = None
    last_at: str | None = None
    last_seq: int = 0
    state: str = ""
    live: bool = False


@frozen
class _Page:
    sessions: tuple[Listed, ...]
    next: str | int | None = None


def listed_sessions(address: Address, token: str | None) -> list[Listed]:
    """Return the sessions of whoever has *token*, in the server's order.  Blocks; has a deadline.

    Raises:
        ListUnavailable: Nobody answered, or the answer was no.
    """
    found: list[Listed] = []
    after: str | int | None = None
    for _ in range(MOST_PAGES):
        page = _page(address, token, after)
        found += page.sessions
        after = page.next
        if after is None:
            break
    return found


def _page(address: Address, token: str | None, after: str | int | None) -> _Page:
    parts = urlsplit(address.list_url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(host, parts.port, timeout=LIMIT_S, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=LIMIT_S)
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    path = parts.path if after is None else f"{parts.path}?after={quote(str(after), safe='')}"
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        body = answer.read(MOST_PAGE_BYTES)
    except (OSError, http.client.HTTPException) as error:
        # It may quote what the server sent.
        said = one_line(str(error), SHORT_CHARS) or type(error).__name__
        raise ListUnavailable(said) from None
    finally:
        connection.close()
    if answer.status != http.HTTPStatus.OK:
        said = one_line(body.decode(errors="replace"), SHORT_CHARS)
        raise ListUnavailable(f"the server answered {answer.status}: {said}", answer.status)
    try:
        return msgspec.json.decode(body, type=_Page)
    except msgspec.MsgspecError as error:
        said = one_line(str(error), SHORT_CHARS)
        raise ListUnavailable(f"that is no list of sessions ({said})", answer.status) from None


def line_of(session: Listed) -> str:
    """Return a line for a person: the id, when it was last used, and what it is about."""
    when = (session.last_at or session.opened_at or "")[:16].replace("T", " ")
    state = "live" if session.live else session.state
    name, title, when, state = (
        one_line(text, SHORT_CHARS)
        for text in (session.session_id, session.title or "", when, state)
    )
    return f"{name}  {when:16}  {state:10}  {title}".rstrip()
