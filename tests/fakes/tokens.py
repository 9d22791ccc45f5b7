"""Whoever signs tokens: an identity provider, or a forger."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
from attrs import frozen
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

SECRET = "a-shared-secret-for-tests-of-48-characters-000000"  # noqa: S105 - of no use elsewhere


@frozen
class Signer:
    """A private key, its algorithm, and what of it is public."""

    algorithm: str
    key: Any
    key_id: str | None = None

    def sign(self, sub: str | None = "ann", **claims: Any) -> str:
        """Make a token; without an `exp` it lasts for ever."""
        body = claims if sub is None else {"sub": sub, **claims}
        headers = {} if self.key_id is None else {"kid": self.key_id}
        return jwt.encode(body, self.key, algorithm=self.algorithm, headers=headers)

    @property
    def pem(self) -> str:
        public = self.key.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    @property
    def private_pem(self) -> str:
        encoded = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return encoded.decode()

    @property
    def jwk(self) -> dict[str, Any]:
        to_jwk = jwt.get_algorithm_by_name(self.algorithm).to_jwk
        entry: dict[str, Any] = to_jwk(self.key.public_key(), as_dict=True)
        return {**entry, "use": "sig", **({"kid": self.key_id} if self.key_id else {})}


SHARED = Signer("HS256", SECRET)


def ed25519(key_id: str | None = None) -> Signer:
    return Signer("EdDSA", Ed25519PrivateKey.generate(), key_id)


def p256(key_id: str | None = None) -> Signer:
    return Signer("ES256", generate_private_key(SECP256R1()), key_id)


def rsa(key_id: str | None = None, bits: int = 2048) -> Signer:
    return Signer("RS256", generate_rsa(65537, bits), key_id)


def key_set(*signers: Signer) -> str:
    return json.dumps({"keys": [signer.jwk for signer in signers]})


def soon(seconds: float = 300) -> float:
    return time.time() + seconds


# --- by hand --------------------------------------------------------------------------------


def segment(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header: Any, claims: Any, key: bytes | None = None) -> str:
    """Put a token together as no library would; with a *key*, with a right HMAC under it."""
    signed = f"{segment(header)}.{segment(claims)}"
    mac = b"" if key is None else hmac.digest(key, signed.encode(), hashlib.sha256)
    return f"{signed}.{segment(mac)}"
