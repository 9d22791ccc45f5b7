"""What a plain HTTP request is answered with."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Final

from attrs import frozen

from bargein.gateway.request_head import SECURITY_HEADERS

TEXT: Final = "text/plain; charset=utf-8"
HTML: Final = "text/html; charset=utf-8"


@frozen
class Page:
    """An HTTP answer.

    Attributes:
        body: Sent with GET; with HEAD only its length is, and with 304 not even that.
        headers: All but Date, Connection and Content-Length.
    """

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...]


@frozen
class Reader:
    """What decides how a page is sent to whoever asks for it.

    Attributes:
        host: By which name it called, already checked.
        known: Its `If-None-Match`: the tags of what it has, empty where it has nothing.
        encodings: Its `Accept-Encoding`, empty where it named none.
    """

    host: str = "127.0.0.1:8710"
    known: str = ""
    encodings: str = ""

    def has(self, tag: str) -> bool:
        """Say whether it has what *tag* stands for, and need not be sent it again."""
        tags = {each.strip().removeprefix("W/") for each in self.known.split(",")}
        return tag in tags or "*" in tags

    @property
    def takes_gzip(self) -> bool:
        """Whether it can read what is compressed."""
        for each in self.encodings.lower().split(","):
            name, _, quality = each.partition(";")
            if name.strip() == "gzip":
                # `q=0`, with up to three decimals, means that it can't.
                return not re.fullmatch(r"\s*q=0(\.0*)?\s*", quality)
        return False


def page_of(
    status: HTTPStatus, body: str | bytes, *headers: tuple[str, str], kind: str = TEXT
) -> Page:
    """Make a page that is never kept, and loads nothing but what is ours."""
    content = body.encode() if isinstance(body, str) else body
    return Page(status, content, (("Content-Type", kind), *SECURITY_HEADERS, *headers))


METHODS: Final = ("GET", "HEAD")
NOT_ALLOWED: Final = page_of(
    HTTPStatus.METHOD_NOT_ALLOWED,
    "Only GET and HEAD are served here.\n",
    ("Allow", ", ".join(METHODS)),
)
