"""The token that says who somebody is: from a file or the environment, never from a flag."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import field, frozen

VARIABLE: Final = "BARGEIN_CHAT_TOKEN"
MOST_BYTES: Final = 16 * 1024


class TokenUnusable(ValueError):
    """There is no token where one was said to be; the message says what is wrong."""


@frozen
class TokenSource:
    """Where the token comes from.

    Attributes:
        path: A file that is read for each connection, since another may renew it.
        fixed: What the environment said.
    """

    path: Path | None = None
    fixed: str | None = field(default=None, repr=False)

    def read(self) -> str | None:
        """Return the token; None where none is needed.

        Raises:
            TokenUnusable: The file can't be read, or holds none.
        """
        if self.path is None:
            return self.fixed
        try:
            with self.path.open("rb") as file:
                token = file.read(MOST_BYTES).decode("ascii").strip()
        except OSError as error:
            raise TokenUnusable(f"{self.path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise TokenUnusable(f"{self.path} holds no token") from None
        if not _is_word(token):
            raise TokenUnusable(f"{self.path} holds no token")
        return token

    def latest(self) -> str | None:
        """Return the token as it is now; None where it can't be read any more."""
        try:
            return self.read()
        except TokenUnusable:
            return None


def token_source(path: Path | None, environ: Mapping[str, str]) -> TokenSource:
    """Return where the token comes from: *path*, else the environment.

    Raises:
        TokenUnusable: What the environment holds is no token.
    """
    fixed = environ.get(VARIABLE, "").strip() or None
    if path is None and fixed is not None and not _is_word(fixed):
        raise TokenUnusable(f"{VARIABLE} holds no token")
    return TokenSource(path, fixed)


def _is_word(token: str) -> bool:
    """Whether *token* may stand in a header: one word, of ASCII that can be seen."""
    return len(token.split()) == 1 and token.isascii() and token.isprintable()
