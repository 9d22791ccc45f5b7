"""What a token says, once it has turned out to be ours.

PyJWT checks the signature.  The header and the claims are read by the strict gate that all JSON
from outside passes, so that a claim has one meaning, and no token costs more than its bytes.
"""

from __future__ import annotations

import math
import re
from base64 import urlsafe_b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable
from typing import Any, Final, Literal

from attrs import frozen

from bargein.gateway.auth.identity import Credential, Identity
from bargein.gateway.auth.keys import Key
from bargein.protocol.commands import Role
from bargein.protocol.gate import Json, JsonRefused, parse

Cause = Literal[
    "malformed", "algorithm", "signature", "claims", "expired", "early", "audience", "revoked"
]
"""Why a token was refused, in the words of logs and counters."""

TOKEN_CHARS: Final = 4096
"""A header line has as many bytes, so that a token which fits into one fits everywhere."""

_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_TIER: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_NAME_CHARS: Final = 256
_ROLES: Final[dict[object, Role]] = {"watch": "watch", "drive": "drive", "operator": "drive"}


class TokenRefused(Exception):
    """A token is no good: let nobody in with it.

    Attributes:
        cause: Why, in a word that tells nothing of the token.
    """

    def __init__(self, cause: Cause) -> None:
        super().__init__(f"the token was refused: {cause}")
        self.cause: Cause = cause


@frozen
class Claims:
    """What is asked of a token besides a good signature.

    Attributes:
        leeway_s: By how much clocks may differ.
        issuer: Who has to have made it; None for anybody who has the key.
        audience: Whom it has to be for; None takes only tokens that name nobody.
    """

    leeway_s: float = 60.0
    issuer: str | None = None
    audience: str | None = None


def read_token(token: str, keys: Iterable[Key], asked: Claims, now_s: float) -> Credential:
    """Return what *token* says.

    Args:
        token: As it came.
        keys: Those that may have signed it.
        asked: What it has to say.
        now_s: Seconds since 1970, UTC.

    Raises:
        TokenRefused: If it is not for us, or not any more.
    """
    if len(token) > TOKEN_CHARS or not _COMPACT.fullmatch(token):
        raise TokenRefused("malformed")
    payload = _signed(token, _header_of(token), tuple(keys))
    try:
        claims = _object(payload)
    except ValueError:
        raise TokenRefused("claims") from None
    ends_at_s = _valid_until(claims, asked, now_s)
    _check_parties(claims, asked)
    role = _ROLES.get(claims.get("role") or "drive")
    if role is None:
        raise TokenRefused("claims")
    principal = _name(claims.get("sub"))
    if principal is None:
        raise TokenRefused("claims")
    tier = claims.get("tier") or "standard"
    if not isinstance(tier, str) or not _TIER.fullmatch(tier):
        raise TokenRefused("claims")
    identity = Identity(principal, _name(claims.get("tenant")), tier)
    return Credential(identity, role, _name(claims.get("jti")), ends_at_s)


def _header_of(token: str) -> dict[str, Any]:
    segment = token.partition(".")[0]
    try:
        header = _object(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (NotBase64, ValueError):
        raise TokenRefused("malformed") from None
    if "crit" in header:  # an extension that has to be understood, and none is
        raise TokenRefused("malformed")
    return header


def _signed(token: str, header: dict[str, Any], keys: tuple[Key, ...]) -> bytes:
    algorithm, key_id = header.get("alg"), header.get("kid")
    fit = [key for key in keys if key.algorithm == algorithm]
    if not fit:
        raise TokenRefused("algorithm")
    for key in fit:
        if key.key_id in (None, key_id) or key_id is None:
            payload = key.payload_of(token)
            if payload is not None:
                return payload
    raise TokenRefused("signature")


def _object(raw: bytes) -> dict[str, Json]:
    """Return the JSON object in *raw*; ValueError where there is none."""
    try:
        value = parse(raw.decode())
    except JsonRefused as refused:
        raise ValueError(refused.reason) from None
    if not isinstance(value, dict):
        raise ValueError("no object")  # noqa: TRY004 - it is what a token says that is wrong
    return value


def _valid_until(claims: dict[str, Json], asked: Claims, now_s: float) -> float | None:
    begins_s, ends_s = _time(claims, "nbf"), _time(claims, "exp")
    if begins_s is not None and begins_s - asked.leeway_s > now_s:
        raise TokenRefused("early")
    if ends_s is None:
        return None
    if ends_s + asked.leeway_s <= now_s:
        raise TokenRefused("expired")
    return ends_s + asked.leeway_s


def _time(claims: dict[str, Json], name: str) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    # An `exp` of null must not mean never.
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TokenRefused("claims")
    return float(value)


def _check_parties(claims: dict[str, Json], asked: Claims) -> None:
    if asked.issuer is not None and claims.get("iss") != asked.issuer:
        raise TokenRefused("audience")
    audience = claims.get("aud")
    named = audience if isinstance(audience, list) else [audience]
    # RFC 7519, 4.1.3: who does not find itself in a token's audience refuses it.
    if asked.audience not in named or (asked.audience is None and audience is not None):
        raise TokenRefused("audience")


def _name(value: Json) -> str | None:
    """Return a name that a token gives, None where it gives none."""
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= _NAME_CHARS or not value.isprintable():
        raise TokenRefused("claims")
    if value != value.strip():  # two names that look the same are one too many
        raise TokenRefused("claims")
    return value
