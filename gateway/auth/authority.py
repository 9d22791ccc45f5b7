"""Whose a token is: by the keys and the revocations of this moment."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio
from attrs import define, field

from bargein.actors.clock import Clock
from bargein.gateway.auth.identity import Credential
from bargein.gateway.auth.keys import (
    Key,
    KeysInvalid,
    public_key,
    published_keys,
    shared_secret,
)
from bargein.gateway.auth.revocation import Revocations, read_revocations
from bargein.gateway.auth.tokens import Claims, TokenRefused, read_token
from bargein.gateway.auth.watched_file import WatchedFile

READ_LIMIT_S: Final = 5.0
"""A file on a disk that hangs is given up for this time; what was read before holds."""

_log = structlog.get_logger()


class AuthUnusable(Exception):
    """A file that the settings of auth name can't be used: mend it and start again.

    Attributes:
        setting: Which setting names it.
        reason: What is wrong with it; never a part of it.
    """

    def __init__(self, setting: str, path: Path, reason: str) -> None:
        super().__init__(f"{setting} ({path}): {reason}")
        self.setting = setting
        self.reason = reason


@define(eq=False)
class _Source:
    """One file, and what becomes of it when it is read."""

    setting: str
    file: WatchedFile
    take: Callable[[str], None]

    def read(self, *, anyway: bool) -> bool:
        """Take the file in if it has changed; say whether it had.

        Raises:
            AuthUnusable: If it can't be used; what was taken before holds.
        """
        try:
            text = self.file.changed(anyway=anyway)
            if text is not None:
                self.take(text)
        except OSError as error:
            raise self._unusable(f"it can't be read: {error.strerror}") from error
        except UnicodeDecodeError:
            raise self._unusable("it is not text in UTF-8") from None
        except KeysInvalid as invalid:
            raise self._unusable(invalid.reason) from None
        return text is not None

    def _unusable(self, reason: str) -> AuthUnusable:
        return AuthUnusable(self.setting, self.file.path, reason)


@define(eq=False)
class Authority:
    """Say whose a token is.  Lives as long as the process.

    Nothing but `refresh` waits: a check is some 50 to 150 µs of work.
    """

    claims: Claims
    clock: Clock
    _keys: dict[str, tuple[Key, ...]] = field(factory=dict[str, tuple[Key, ...]], init=False)
    _revocations: Revocations = field(factory=Revocations, init=False)
    _sources: list[_Source] = field(factory=list[_Source], init=False)

    @property
    def now_s(self) -> float:
        """Return the wall clock's time, in seconds since 1970: what tokens speak of."""
        return self.clock.utc_ms() / 1000

    def check(self, token: str) -> Credential:
        """Return what a token says.

        Raises:
            TokenRefused: If it is no good, or was revoked.
        """
        keys = (key for keys in self._keys.values() for key in keys)
        credential = read_token(token, keys, self.claims, self.now_s)
        if self.is_revoked(credential):
            raise TokenRefused("revoked")
        return credential

    def is_revoked(self, credential: Credential) -> bool:
        """Say whether a credential that was good is not any more."""
        return self._revocations.holds(credential)

    def may_act(self, principal: str) -> bool:
        """Say whether what a principal confirmed may still be done: it was not revoked."""
        return principal not in self._revocations.principals

    async def refresh(self, *, anyway: bool = False) -> None:
        """Read the files again that have changed, or all of them.

        A file that can't be used is logged, and what was read before goes on to hold.
        """
        for source in self._sources:
            await self._refresh_one(source, anyway=anyway)

    async def _refresh_one(self, source: _Source, *, anyway: bool) -> None:
        try:
            with trio.fail_after(READ_LIMIT_S):
                read = partial(source.read, anyway=anyway)
                changed = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
        except AuthUnusable as error:
            _log.error("auth.file_unusable", setting=error.setting, reason=error.reason)
        except trio.TooSlowError:
            _log.error("auth.file_unusable", setting=source.setting, reason="it takes too long")
        else:
            if changed:
                _log.info("auth.file_read", setting=source.setting)

    def use_key(self, name: str, *keys: Key) -> None:
        """Take tokens that were signed with these, instead of those of that name before."""
        self._keys[name] = keys

    def use_public_key(self, path: str) -> None:
        """Take the public key in a file, and read it again when it changes.

        Raises:
            AuthUnusable: If there is none in it.
        """

        def take(text: str) -> None:
            self.use_key("public_key", public_key(text))

        self._watch("auth.public_key", path, take)

    def use_published_keys(self, path: str) -> None:
        """Take the keys in a JSON Web Key Set, and read it again when it changes.

        Raises:
            AuthUnusable: If there are none in it.
        """

        def take(text: str) -> None:
            self.use_key("jwks", *published_keys(text))

        self._watch("auth.jwks", path, take)

    def use_revocations(self, path: str) -> None:
        """Refuse those in a file, and read it again when it changes.

        Raises:
            AuthUnusable: If it can't be read, or has lines that say nothing.
        """

        def take(text: str) -> None:
            self._revocations = read_revocations(text)
            if self._revocations.unread:
                lines = ", ".join(map(str, self._revocations.unread))
                raise KeysInvalid(f"these lines are neither `sub NAME` nor `jti ID`: {lines}")

        self._watch("auth.revoked", path, take)

    def _watch(self, setting: str, path: str, take: Callable[[str], None]) -> None:
        source = _Source(setting, WatchedFile(Path(path)), take)
        source.read(anyway=True)
        self._sources.append(source)


def secret_in(path: str) -> str:
    """Return the shared secret in a file.

    Raises:
        AuthUnusable: If there is none.
    """
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
        shared_secret(secret)
    except OSError as error:
        reason = f"it can't be read: {error.strerror}"
    except UnicodeDecodeError:
        reason = "it is not text in UTF-8"
    except KeysInvalid as invalid:
        reason = invalid.reason
    else:
        return secret
    raise AuthUnusable("auth.secret_file", Path(path), reason)
