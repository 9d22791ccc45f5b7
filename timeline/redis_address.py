"""Where a Redis is, as a setting names it."""

from __future__ import annotations

from typing import Final
from urllib.parse import unquote, urlsplit

from attrs import field, frozen

DEFAULT_PORT: Final = 6379


@frozen
class Address:
    """Where a Redis listens, and as whom to speak to it.

    Attributes:
        database: Its number; a Cluster has 0 alone.
        tls: Whether it is spoken to over TLS, and has to show a certificate of its name.
        user: Of its access list; None for the default one.
        password: Never shown: neither by `repr` nor by `str`.
    """

    host: str
    port: int = DEFAULT_PORT
    database: int = 0
    tls: bool = False
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, url: str, password: str | None = None) -> Address:
        """Read a URL such as `rediss://user@redis.example:6380/1`.

        Raises:
            ValueError: If it is none; its text says nothing of what stands in the URL.
        """
        parts = urlsplit(url)
        if parts.scheme not in {"redis", "rediss"} or not parts.hostname or not url.isprintable():
            raise ValueError("not a redis:// or rediss:// URL with a host")
        if parts.password is not None:
            raise ValueError("a password in it would be seen by others")
        if parts.query or parts.fragment:
            raise ValueError("neither a query nor a fragment means anything here")
        database = parts.path.removeprefix("/") or "0"
        if not (database.isascii() and database.isdigit() and len(database) < len("10000")):
            raise ValueError("behind the host there is the number of a database, or nothing")
        user = None if parts.username is None else unquote(parts.username)
        tls = parts.scheme == "rediss"
        port = DEFAULT_PORT if parts.port is None else parts.port
        return cls(parts.hostname, port, int(database), tls, user or None, password)

    def __str__(self) -> str:
        """Return it as a line of a log shows it."""
        return f"{self.host}:{self.port}/{self.database}"
