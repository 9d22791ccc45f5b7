"""The keys that tokens are signed with.

A key has one algorithm, and no token can choose another: `none` is no key's, and a public key is
never taken for a shared secret.

The libraries are imported with the first key: a server without auth needs none, and one with auth
reads its keys before it listens.
"""

# ruff: noqa: PLC0415  as said above

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from attrs import field, frozen

from bargein.protocol.gate import JsonRefused, parse

if TYPE_CHECKING:
    from jwt import PyJWS

Algorithm = Literal["HS256", "EdDSA", "ES256", "RS256"]

SECRET_BYTES: Final = 32
"""RFC 7518, 3.2: a secret for HS256 has at least the size of its hash."""

RSA_BITS: Final = 2048
"""RFC 7518, 3.3."""


class KeysInvalid(Exception):
    """A key can't be used: name the file to the operator, and go on with the keys there were.

    Attributes:
        reason: What is wrong with it; never a part of it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@frozen
class Key:
    """One key, for one algorithm.

    Attributes:
        key_id: Its `kid`: a token that names another is not tried with it.
    """

    algorithm: Algorithm
    key_id: str | None = None
    _material: Any = field(repr=False, default=None)

    def payload_of(self, token: str) -> bytes | None:
        """Return what is signed in *token*, or None where this key did not sign it."""
        import jwt

        try:
            return cast("bytes", _jws().decode(token, self._material, algorithms=[self.algorithm]))
        except (jwt.PyJWTError, ValueError, TypeError):
            return None


@cache
def _jws() -> PyJWS:
    import jwt

    return jwt.PyJWS(algorithms=["HS256", "EdDSA", "ES256", "RS256"])


def shared_secret(secret: str) -> Key:
    """Make a key of a shared secret, for HS256.

    Raises:
        KeysInvalid: If it is short enough to be guessed, or looks like something else.
    """
    if not secret.isascii() or not secret.isprintable():
        # Such as a key in PEM, which may well be public.
        raise KeysInvalid("a secret is one line of visible ASCII characters")
    material = secret.encode()
    if len(material) < SECRET_BYTES:
        raise KeysInvalid(f"a secret for HS256 has at least {SECRET_BYTES} bytes")
    _jws()  # here, and not when somebody waits for the check of a token
    return Key("HS256", None, material)


def public_key(pem: str) -> Key:
    """Read an Ed25519 public key, for EdDSA.

    Raises:
        KeysInvalid: If it is something else.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeysInvalid("it is not a public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeysInvalid("it is a public key, but not one for Ed25519")
    _jws()
    return Key("EdDSA", None, key)


def published_keys(document: str) -> tuple[Key, ...]:
    """Read a JSON Web Key Set of public keys: Ed25519, P-256, RSA.

    Keys for encryption and of other kinds are left out, as RFC 7517 wants it.

    Raises:
        KeysInvalid: If it is no such set, holds a private key or a secret, or no key of use.
    """
    try:
        parsed = parse(document)
    except JsonRefused as refused:
        raise KeysInvalid(f"it is not JSON: {refused.reason}") from None
    entries = parsed.get("keys") if isinstance(parsed, dict) else None
    if not isinstance(entries, list):
        raise KeysInvalid('it is not a JSON Web Key Set: {"keys": [...]}')
    found: list[Key] = []
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict):
            raise KeysInvalid(f"key {number} is no object")
        if "d" in entry or entry.get("kty") == "oct":
            raise KeysInvalid(f"key {number} is secret, and belongs in no set of public keys")
        if entry.get("use", "sig") == "sig" and (key := _published_key(entry, number)):
            found.append(key)
    if not found:
        raise KeysInvalid("it holds no key for EdDSA, ES256 or RS256")
    return tuple(found)


def _published_key(entry: dict[str, Any], number: int) -> Key | None:
    import jwt
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        material = jwt.PyJWK.from_dict(entry).key
    except (jwt.PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
        if entry.get("kty") in ("OKP", "EC", "RSA") and entry.get("crv") in _CURVES:
            raise KeysInvalid(f"key {number} is damaged") from None
        return None
    algorithm = _algorithm_of(material, number)
    if algorithm is None or entry.get("alg", algorithm) != algorithm:
        return None
    key_id = entry.get("kid")
    return Key(algorithm, key_id if isinstance(key_id, str) else None, material)


_CURVES: Final = ("Ed25519", "P-256", None)


def _algorithm_of(material: object, number: int) -> Algorithm | None:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    match material:
        case Ed25519PublicKey():
            return "EdDSA"
        case EllipticCurvePublicKey() if isinstance(material.curve, SECP256R1):
            return "ES256"
        case RSAPublicKey():
            if material.key_size < RSA_BITS:
                raise KeysInvalid(f"key {number} has fewer than {RSA_BITS} bits")
            return "RS256"
        case _:
            return None
