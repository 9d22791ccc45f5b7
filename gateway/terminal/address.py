"""Where the server is, as a person types it."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from attrs import frozen

from bargein.protocol.commands import Role
from bargein.protocol.ids import CLIENT_ID, Epoch, Seq

DEFAULT_URL: Final = "ws://127.0.0.1:8710"

_SESSIONS: Final = "/v1/session"
_LIST: Final = "/v1/sessions"
_SCHEMES: Final = {"ws": "ws", "wss": "wss", "http": "ws", "https": "wss"}
_ONE_SESSION: Final = re.compile(r"(.*/v1/session)/([^/]+)")
_SECRET: Final = re.compile(r"token|jwt|auth", re.IGNORECASE)


class AddressRefused(ValueError):
    """The address can't be used; the message says what to write instead."""


@frozen
class Address:
    """A server's sessions, and the one among them that the URL names.

    Attributes:
        origin: Scheme, host and port, as `wss://host:port`.
        path: Where sessions are; another than usual behind a proxy.
        query: What else the URL said, kept as it is.
        session_id: None where it names none.
    """

    origin: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    session_id: str | None = None

    @property
    def shown(self) -> str:
        """The address as a person would type it."""
        path = "" if self.path == _SESSIONS else self.path
        return self._url(self.origin, path, self.query)

    @property
    def is_local(self) -> bool:
        """Whether it is this machine."""
        return _is_loopback(urlsplit(self.origin).hostname or "")

    def dial_url(
        self, session_id: str | None, epoch: Epoch | None, after: Seq, role: Role | None
    ) -> str:
        """Return the URL to dial: a new session, or an old one from behind *after*.

        Without an *epoch* nothing was seen yet, and everything is asked for.
        """
        path, query = self.path, list(self.query)
        if session_id is not None:
            path += f"/{quote(session_id, safe='')}"
            if epoch is not None:
                query += [("after", str(after)), ("epoch", epoch)]
        if role is not None:
            query.append(("role", role))
        return self._url(self.origin, path, query)

    @property
    def list_url(self) -> str:
        """The page that lists the sessions of whoever asks, in HTTP's own scheme."""
        path = self.path.removesuffix(_SESSIONS) + _LIST
        return self._url(self.origin.replace("ws", "http", 1), path, ())

    @staticmethod
    def _url(
        origin: str, path: str, query: tuple[tuple[str, str], ...] | list[tuple[str, str]]
    ) -> str:
        scheme, host = origin.split("://")
        return urlunsplit((scheme, host, path, urlencode(query), ""))


def read_address(text: str) -> Address:
    """Read where the server is; a bare origin means its sessions, and `http` is read as `ws`.

    Raises:
        AddressRefused: Write what the message says.
    """
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise AddressRefused(f"{text!r} is no address; one looks like {DEFAULT_URL}") from None
    scheme, host = _SCHEMES.get(parts.scheme.lower()), parts.hostname
    if scheme is None or not host:
        raise AddressRefused(f"{text!r} is no address; one looks like {DEFAULT_URL}")
    if parts.username or parts.password or _SECRET.search(parts.query):
        raise AddressRefused("a token or password never stands in an address; see --token-file")
    netloc = f"[{host}]" if ":" in host else host
    netloc += "" if port is None else f":{port}"
    if scheme == "ws" and not _is_loopback(host):
        raise AddressRefused(f"without encryption only to this machine; try wss://{netloc}")
    path = parts.path if parts.path not in ("", "/") else _SESSIONS
    found = _ONE_SESSION.fullmatch(path)
    session_id = None
    if found is not None:
        path, session_id = found[1], session_named(unquote(found[2]))
    query = tuple(parse_qsl(parts.query, keep_blank_values=True))
    return Address(f"{scheme}://{netloc}", path.rstrip("/"), query, session_id)


def session_named(name: str) -> str:
    """Return *name* if a session may be called so.

    Raises:
        AddressRefused: It can't be one.
    """
    if not CLIENT_ID.fullmatch(name):
        raise AddressRefused(f"{name!r} is no session's id; one looks like sess_0123abcd…")
    return name


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
