"""Where a Redis is, as a setting names it."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

DEFAULT_PORT: Final = 6379


SENTINEL_PORT: Final = 26379

_SCHEMES: Final = {"redis", "rediss"}
_BY_SENTINELS: Final = {"redis+sentinel", "rediss+sentinel"}


@frozen
class Sentinel:
    """Where one of those listens that know which server is the primary."""

    host: str
    port: int = SENTINEL_PORT


@frozen
class Address:
    """Where a Redis listens, and as whom to speak to it.

    Attributes:
        host: Where it listens, or the first of its sentinels.
        database: Its number; a Cluster has 0 alone.
        tls: Whether it is spoken to over TLS, and has to show a certificate of its name.
        user: Of its access list; None for the default one.
        password: Never shown: neither by `repr` nor by `str`.
        sentinels: Who says where the primary is, at each connect; none where it is always there.
        primary: The name by which they know it.
    """

    host: str
    port: int = DEFAULT_PORT
    database: int = 0
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinels: tuple[Sentinel, ...] = ()
    primary: str = ""

    @classmethod
    def of(cls, url: str, password: str | None = None) -> Address:
        """Read a URL such as `rediss://user@redis.example:6380/1`.

        With sentinels it is such as `redis+sentinel://one:26379,two:26379/mymaster/1`.

        Raises:
            ValueError: If it is none; its text says nothing of what stands in the URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES | _BY_SENTINELS or not url.isprintable():
            raise ValueError("not a redis:// or rediss:// URL with a host")
        user, _, hosts = parts.netloc.rpartition("@")
        if ":" in user:
            raise ValueError("a password in it would be seen by others")
        if parts.query or parts.fragment:
            raise ValueError("neither a query nor a fragment means anything here")
        tls, path = parts.scheme.startswith("rediss"), parts.path.removeprefix("/")
        known = (tls, unquote(user) or None, password)
        if parts.scheme in _SCHEMES:
            host, port = _place_in(hosts, DEFAULT_PORT)
            return cls(host, port, _database_in(path), *known)
        sentinels = tuple(Sentinel(*_place_in(one, SENTINEL_PORT)) for one in hosts.split(","))
        primary, _, number = path.partition("/")
        if not primary:
            raise ValueError("behind the sentinels there is the name of what they watch")
        first = sentinels[0]
        return cls(
            first.host, first.port, _database_in(number), *known, sentinels, unquote(primary)
        )

    def __str__(self) -> str:
        """Return it as a line of a log shows it."""
        if self.sentinels:
            places = ",".join(f"{one.host}:{one.port}" for one in self.sentinels)
            return f"{self.primary}@{places}/{self.database}"
        return f"{self.host}:{self.port}/{self.database}"


def _place_in(text: str, default_port: int) -> tuple[str, int]:
    place = urlsplit(f"//{text}")
    if not place.hostname:
        raise ValueError("not a redis:// or rediss:// URL with a host")
    return place.hostname, default_port if place.port is None else place.port


def _database_in(text: str) -> int:
    number = text or "0"
    if not (number.isascii() and number.isdigit() and len(number) < len("10000")):
        raise ValueError("behind the host there is the number of a database, or nothing")
    return int(number)
