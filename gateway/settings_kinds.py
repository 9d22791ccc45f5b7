"""Kinds of settings: what is right for a value, in a sentence and in code.

A kind reads what a TOML file gives (typed) and what the environment or a flag gives (text), and is
an attrs validator too, so that settings built in Python are held to the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from math import isfinite
from typing import Any, Final, Generic, TypeVar, cast
from urllib.parse import urlsplit

from attrs import Attribute, frozen

from bargein.gateway.secret import Secret
from bargein.timeline.redis_address import Address

T = TypeVar("T")

_SQLITE: Final = "sqlite:///"
_MEMORY: Final = "memory:"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_HOST_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]+\]")
_HMAC_CHARS: Final = 32  # RFC 7518, 3.2: as long as the hash; a shorter one is guessed offline
_SHOWN_CHARS: Final = 200
_DIGITS: Final = re.compile(r"[0-9]{1,15}")
"""Fifteen digits stay clear of the limit on the length of an integer in text."""


@frozen
class Kind(Generic[T]):
    """What a setting takes.

    Attributes:
        right: What a value has to be, as the end of "… is not".
        read: Returns the value of what a file holds; ValueError or TypeError where it has none.
        spell: Turns the text of a variable or flag into what a file would hold.
        secret: Whether a refusal must not repeat the value.
    """

    right: str
    read: Callable[[Any], T]
    spell: Callable[[str], object] = str
    secret: bool = False

    def parse(self, raw: object, *, textual: bool = False) -> T:
        """Return the value that *raw* stands for.

        Raises:
            ValueError: If it is not of this kind; the text says what would be right.
        """
        try:
            return self.read(self.spell(raw) if textual and isinstance(raw, str) else raw)
        except (OverflowError, RecursionError, TypeError, ValueError):
            # An integer may be too long for a float, and JSON nested too deeply.
            shown = "this value" if self.secret or _may_hold_password(raw) else _shown(raw)
            # The cause is cut off: it may quote a secret, and adds nothing for the operator.
            raise ValueError(f"{shown} is not {self.right}") from None

    def __call__(self, _instance: object, attribute: Attribute[Any], value: T) -> None:
        """Refuse a value of another kind; this is how attrs calls a validator."""
        try:
            self.parse(value)
        except ValueError as wrong:
            raise ValueError(f"{attribute.name}: {wrong}") from None


def whole(least: int, most: int, unit: str) -> Kind[int]:
    """Describe a whole number from *least* to *most*, both included, counted in *unit*."""

    def read(raw: Any) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int) or not least <= raw <= most:
            raise ValueError
        return raw

    def spell(text: str) -> int:
        if not _DIGITS.fullmatch(text):
            raise ValueError
        return int(text)

    return Kind(f"a whole number from {least} to {most} ({unit})", read, spell)


def seconds(least: float, most: float) -> Kind[float]:
    """Describe a time in seconds from *least* to *most*, both included."""

    def read(raw: Any) -> float:
        if isinstance(raw, bool) or not isinstance(raw, int | float):
            raise TypeError
        if not isfinite(raw) or not least <= raw <= most:
            raise ValueError
        return float(raw)

    return Kind(f"a number from {least:g} to {most:g} (seconds)", read, float)


def text(right: str) -> Kind[str]:
    """Describe a non-empty line of text, named by *right*."""

    def read(raw: Any) -> str:
        if not isinstance(raw, str) or not raw.strip() or not raw.isprintable():
            raise ValueError
        return raw

    return Kind(right, read)


def optional(kind: Kind[T]) -> Kind[T | None]:
    """Let a setting of *kind* be absent; it can't be unset by a later source."""

    def read(raw: Any) -> T | None:
        return None if raw is None else kind.read(raw)

    return Kind(kind.right, read, kind.spell, kind.secret)


def many(kind: Kind[str]) -> Kind[tuple[str, ...]]:
    """Describe a list: an array in a file, separated by commas in a variable."""

    def read(raw: Any) -> tuple[str, ...]:
        if not isinstance(raw, list | tuple):
            raise TypeError
        items: list[Any] = list(raw)  # pyright: ignore[reportUnknownArgumentType]
        return tuple(kind.read(item) for item in items)

    def spell(text: str) -> list[str]:
        return [part.strip() for part in text.split(",") if part.strip()]

    return Kind(f"a list in which each is {kind.right}", read, spell)


def _shown(raw: object) -> str:
    quoted = repr(raw)
    return quoted if len(quoted) <= _SHOWN_CHARS else f"{quoted[:_SHOWN_CHARS]}…"


def is_loopback(host: str) -> bool:
    """Whether *host* names this machine alone; no name but `localhost` is looked up."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _bindable(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError
    if raw != "localhost":
        ip_address(raw.strip("[]"))
    return raw


def _flag(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise TypeError
    return raw


def _spell_flag(text: str) -> object:
    return {"true": True, "false": False}.get(text)


def _hmac_secret(raw: Any) -> Secret[str]:
    secret = _secret(raw)
    if len(secret.get_secret_value()) < _HMAC_CHARS:
        raise ValueError
    return secret


def _store(raw: Any) -> str:
    if not isinstance(raw, str) or not raw.isprintable():
        raise ValueError
    if is_redis(raw):
        Address.of(raw)
    elif raw != _MEMORY and not (sqlite_path(raw) or "").strip():
        raise ValueError
    return raw


def _may_hold_password(raw: object) -> bool:
    return isinstance(raw, str) and "://" in raw and "@" in raw


def is_redis(store: str) -> bool:
    """Whether a store URL names a Redis server."""
    return store.partition("://")[0] in {
        "redis",
        "rediss",
        "redis+sentinel",
        "rediss+sentinel",
    }


def sqlite_path(store: str) -> str | None:
    """Return the path in a store URL, None for the store in memory."""
    return store.removeprefix(_SQLITE) if store.startswith(_SQLITE) else None


def _workers(raw: Any) -> str:
    if raw == AUTO:
        return AUTO
    return str(_WORKERS.read(_WORKERS.spell(raw) if isinstance(raw, str) else raw))


def _host_name(raw: Any) -> str:
    if not isinstance(raw, str) or not _HOST_NAME.fullmatch(raw):
        raise ValueError
    return raw


def _origin(raw: Any) -> str:
    """Take exactly what a browser sends: anything else would never match, silently."""
    if not isinstance(raw, str):
        raise TypeError
    parts = urlsplit(raw)
    if parts.scheme not in _DEFAULT_PORTS or parts.port == _DEFAULT_PORTS[parts.scheme]:
        raise ValueError
    port = "" if parts.port is None else f":{parts.port}"
    host = parts.netloc.removesuffix(port)
    if raw != f"{parts.scheme}://{_host_name(host)}{port}":
        raise ValueError
    return raw


def _network(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError
    return str(ip_network(raw))


def _collector_url(raw: Any) -> str:
    if not isinstance(raw, str):
        raise TypeError
    parts = urlsplit(raw)
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise ValueError
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError
    return raw


def _api_url(raw: Any) -> str:
    parts = urlsplit(_collector_url(raw))
    if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        raise ValueError  # the key would travel in clear
    return raw


def _secret(raw: Any) -> Secret[str]:
    held = cast("Secret[Any]", raw).get_secret_value() if isinstance(raw, Secret) else raw
    if not isinstance(held, str) or not held or not held.isascii() or not held.isprintable():
        raise ValueError  # it travels in an HTTP header
    return Secret(held)


AUTO: Final = "auto"
_WORKERS: Final = whole(1, 1024, "worker processes")
WORKERS: Final = Kind(f"{_WORKERS.right}, or {AUTO}", _workers)
ADDRESS: Final = Kind(
    "a loopback address (127.0.0.1, ::1, localhost), or another one of this machine", _bindable
)
FLAG: Final = Kind("true or false", _flag, _spell_flag)
STORE: Final = Kind(
    f"a store URL: {_SQLITE}PATH (four slashes if absolute), redis://HOST:PORT/NUMBER without a"
    f" password (rediss:// for TLS), or {_MEMORY} for one that forgets",
    _store,
)
HOST_NAME: Final = Kind("a host name in lower case, without scheme or port", _host_name)
ORIGIN: Final = Kind(
    "an origin as a browser sends it (https://app.example.com, no path, no default port)", _origin
)
NETWORK: Final = Kind("a network or an address (10.0.0.0/8, 10.1.2.3, fd00::/8)", _network)
API_URL: Final = Kind(
    "an https:// address (http:// only on loopback), without user, query or fragment",
    _api_url,
    secret=True,  # a refused address may be refused for the password in it
)
COLLECTOR_URL: Final = Kind(
    "an http:// or https:// address, without user, query or fragment", _collector_url, secret=True
)
SECRET: Final = Kind("one line of visible ASCII characters", _secret, secret=True)
HMAC_SECRET: Final = Kind(
    f"at least {_HMAC_CHARS} visible ASCII characters in one line", _hmac_secret, secret=True
)
