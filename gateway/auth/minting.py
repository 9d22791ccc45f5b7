"""Makes a token for development: what an identity provider does elsewhere."""

from __future__ import annotations

import secrets
import time

import jwt
from attrs import frozen


@frozen
class Minted:
    """A new token.

    Attributes:
        new_secret: The secret it is signed with, where none was configured.
    """

    token: str
    new_secret: str | None


def mint(secret: str | None, sub: str, ttl_s: int, **optional: str | None) -> Minted:
    """Sign a token with HS256.

    Args:
        secret: What to sign it with; None makes up a new one.
        sub: The principal.
        ttl_s: How long it is good, from now.
        optional: Further claims; None leaves one out.
    """
    key = secret or secrets.token_urlsafe(32)
    now_s = int(time.time())
    claims = {"sub": sub, "iat": now_s, "exp": now_s + ttl_s, "jti": secrets.token_hex(8)}
    claims |= {name: value for name, value in optional.items() if value is not None}
    return Minted(jwt.encode(claims, key, algorithm="HS256"), None if secret else key)
