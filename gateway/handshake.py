"""Which requests become sessions: pure checks of the upgrade request.

The order is: where the request comes from (`Host`, `Origin`), what it asks for (path, query,
subprotocols).  Who asks is checked later, by whoever knows about tokens.
"""

import re
from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Final, Literal, TypeGuard, TypeVar, get_args
from urllib.parse import parse_qsl, urlsplit

from attrs import field, frozen
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader
from websockets.headers import parse_subprotocol

from bargein.gateway.auth.identity import Credential, Denial
from bargein.gateway.egress import WireLimits
from bargein.gateway.request_head import Refusal
from bargein.protocol.commands import Role
from bargein.protocol.ids import CLIENT_ID

SUBPROTOCOL: Final = "bargein.v1"
TOKEN_PREFIX: Final = "bargein.jwt."  # noqa: S105 - where a token follows, not a token
SESSION_PATH: Final = "/v1/session"
CHALLENGE: Final = (("WWW-Authenticate", 'Bearer realm="bargein"'),)
"""What RFC 9110 asks of a 401."""

View = Literal["json", "text"]

_LOOPBACK_HOST: Final = re.compile(
    r"(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?", re.IGNORECASE
)
_LOOPBACK_ORIGIN: Final = re.compile(r"https?://(?:localhost|127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?")
# 2^53 has 16 digits: beyond it a JavaScript client could not have counted.
_SEQ: Final = re.compile(r"[0-9]{1,16}")
_MOST_SEQ: Final = 2**53
_SECRETS_IN_QUERY: Final = frozenset(
    {"token", "access_token", "id_token", "jwt", "auth", "authorization", "bearer", "api_key"}
)
_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
"""What a JWT looks like: its header begins with `{"`."""

_MOST_FIELDS: Final = 16

_Query = tuple[int | None, str | None, View, Role | None]

T = TypeVar("T")


def _blind(secret: str | None) -> str:
    return "None" if secret is None else "<hidden>"


@frozen
class AllowList:
    """Where requests may come from, and by which names this server may be called.

    Attributes:
        hosts: Names besides those of loopback, as in `Host`: with a port only that one fits,
            without one any does.
        origins: Origins besides those of loopback, compared exactly as browsers send them.
        loopback_origins: Whether pages of this machine may connect.
    """

    hosts: Collection[str] = ()
    origins: Collection[str] = ()
    loopback_origins: bool = True

    def takes_host(self, host: str) -> bool:
        """Say whether this server goes by that name."""
        if _LOOPBACK_HOST.fullmatch(host):
            return True
        named = host.lower()
        without_port = re.sub(r":[0-9]{1,5}\Z", "", named)
        return any(name.lower() in (named, without_port) for name in self.hosts)

    def takes_origin(self, origin: str) -> bool:
        """Say whether a page of that origin may connect."""
        if self.loopback_origins and _LOOPBACK_ORIGIN.fullmatch(origin):
            return True
        return origin != "null" and origin in self.origins


@frozen
class Upgrade:
    """What a client asked for when it opened its WebSocket.

    Attributes:
        session_id: The session to attach to, None for a new one.
        after: The last seq that the client has, None where it named none.
        epoch: The history that `after` belongs to, None where it named none.
        view: Whether it gets JSON or readable lines.
        role: What it wants to send.
        strict: Whether it speaks `bargein.v1`; otherwise it is a person, and taken leniently.
        token: Offered as a subprotocol, unchecked; a bad one is answered after the upgrade.
        authorization: The header, unchecked; a bad one is answered with 401.
        role_named: Whether it named a role; otherwise it takes what its token allows.
        address: Where it comes from, as limits count it.
        traceparent: The client's span that its turns are part of, unchecked; None where it named
            none, or several.
        from_page: Whether a page in a browser asks, which never sees an HTTP status.
        agreed: What its connection is held to; None where that has no limits of its own.
        caller: Who it turned out to be, or what is said to it after the upgrade; None until that
            was looked at, and then nobody is served.
    """

    session_id: str | None
    after: int | None
    epoch: str | None
    view: View
    role: Role
    strict: bool
    token: str | None = field(default=None, repr=_blind)
    authorization: str | None = field(default=None, repr=_blind)
    role_named: bool = field(default=False, eq=False)
    address: str = field(default="", eq=False)
    traceparent: str | None = field(default=None, eq=False)
    from_page: bool = field(default=False, eq=False)
    agreed: WireLimits | None = field(default=None, eq=False, repr=False)
    caller: Credential | Denial | None = field(default=None, eq=False)


def is_session_path(path: str) -> bool:
    """Say whether a path, query included, is one that WebSockets are opened on."""
    bare = path.partition("?")[0]
    return bare == SESSION_PATH or bare.startswith(SESSION_PATH + "/")


def check_host(headers: Headers, allowed: AllowList) -> Refusal | None:
    """Refuse a request that was meant for another server (DNS rebinding)."""
    hosts = headers.get_all("Host")
    if len(hosts) != 1:
        return _bad("A request has to have exactly one Host header.")
    if not allowed.takes_host(hosts[0]):
        return Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            "This server does not go by that name; its operator can add it to the hosts.",
        )
    return None


def check_origin(headers: Headers, allowed: AllowList) -> Refusal | None:
    """Refuse a page that may not connect; without an Origin there is no page."""
    origins = headers.get_all("Origin")
    if len(origins) > 1:
        return _bad("A request may have only one Origin header.")
    if origins and not allowed.takes_origin(origins[0]):
        return Refusal(
            HTTPStatus.FORBIDDEN,
            "Pages of this origin may not connect; the operator can add it to the origins.",
        )
    return None


def read_upgrade(path: str, headers: Headers, allowed: AllowList) -> Upgrade | Refusal:
    """Check an upgrade request and read what it asks for.

    What makes it a WebSocket handshake at all (method, version, key) is the library's to check.
    """
    if refusal := check_host(headers, allowed) or check_origin(headers, allowed):
        return refusal
    url = urlsplit(path)
    session_id = url.path.removeprefix(SESSION_PATH).removeprefix("/") or None
    if url.path == SESSION_PATH + "/":
        return Refusal(HTTPStatus.NOT_FOUND, f"Leave out the last slash: {SESSION_PATH}")
    if session_id is not None and not CLIENT_ID.fullmatch(session_id):
        return _bad("A session id is 1 to 64 letters, digits, dots, dashes and underscores.")
    query = _read_query(url.query)
    if isinstance(query, Refusal):
        return query
    offered = _read_subprotocols(headers)
    if isinstance(offered, Refusal):
        return offered
    strict, token = offered
    authorization = headers.get_all("Authorization")
    if len(authorization) > 1:
        return _bad("A request may have only one Authorization header.")
    traceparents = headers.get_all("traceparent")
    after, epoch, view, role = query
    return Upgrade(
        session_id=session_id,
        after=after,
        epoch=epoch,
        view=view,
        role=role or "drive",
        strict=strict,
        token=token,
        authorization=authorization[0] if authorization else None,
        role_named=role is not None,
        traceparent=traceparents[0] if len(traceparents) == 1 else None,
    )


def _bad(sentence: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, sentence)


def read_fields(query: str) -> dict[str, str] | Refusal:
    """Read a query, in which no token may be."""
    try:
        pairs = parse_qsl(
            query,
            keep_blank_values=True,
            strict_parsing=bool(query),
            errors="strict",
            max_num_fields=_MOST_FIELDS,
        )
    except ValueError:  # UnicodeDecodeError is one
        return _bad("The query is not a list of name=value in UTF-8, joined with &.")
    fields = dict(pairs)
    if len(fields) != len(pairs):
        return _bad("A name may stand in the query only once.")
    if not _SECRETS_IN_QUERY.isdisjoint(map(str.lower, fields)) or _TOKEN.search(query):
        return Refusal(
            HTTPStatus.UNAUTHORIZED,
            "A token never goes into a URL, where logs keep it; send it as Authorization: Bearer, "
            f"or offer the subprotocol {TOKEN_PREFIX}<token>. Treat this one as leaked.",
            CHALLENGE,
        )
    return fields


def _read_query(query: str) -> _Query | Refusal:
    fields = read_fields(query)
    if isinstance(fields, Refusal):
        return fields
    after = fields.get("after")
    if after is not None and not (_SEQ.fullmatch(after) and int(after) <= _MOST_SEQ):
        return _bad("`after` is the last seq that you have: a whole number, 0 or more.")
    epoch = fields.get("epoch")
    if epoch is not None and not CLIENT_ID.fullmatch(epoch):
        return _bad("`epoch` is copied from `hello`: letters, digits, dots, dashes, underscores.")
    view = fields.get("view", "json")
    if not _is_one_of(view, get_args(View)):
        return _bad("`view` is json or text.")
    role = fields.get("role")
    if role is not None and not _is_one_of(role, get_args(Role)):
        return _bad("`role` is drive or watch.")
    return None if after is None else int(after), epoch, view, role


def _is_one_of(value: object, choices: Sequence[T]) -> TypeGuard[T]:
    return value in choices


def _read_subprotocols(headers: Headers) -> tuple[bool, str | None] | Refusal:
    try:
        offered = [
            name
            for value in headers.get_all("Sec-WebSocket-Protocol")
            for name in parse_subprotocol(value)
        ]
    except InvalidHeader:
        return _bad("Sec-WebSocket-Protocol is not a list of subprotocol names.")
    tokens = {name.removeprefix(TOKEN_PREFIX) for name in offered if name.startswith(TOKEN_PREFIX)}
    if offered and SUBPROTOCOL not in offered:
        return _bad(f"Offer the subprotocol {SUBPROTOCOL}, the version served here, or none.")
    if len(tokens) > 1:
        return _bad(f"Offer at most one subprotocol {TOKEN_PREFIX}<token>.")
    return bool(offered), tokens.pop() if tokens else None
