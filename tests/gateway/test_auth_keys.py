from __future__ import annotations

import json
from typing import Any

import pytest

from bargein.gateway.auth.keys import KeysInvalid, public_key, published_keys, shared_secret
from tests.fakes.tokens import SECRET, ed25519, key_set, p256, rsa

ED = ed25519("ed")


def reason(read: Any, text: str) -> str:
    with pytest.raises(KeysInvalid) as invalid:
        read(text)
    assert invalid.value.__cause__ is None
    return invalid.value.reason


def test_a_secret_that_can_be_guessed_is_refused():
    assert shared_secret("x" * 32).algorithm == "HS256"
    assert "at least 32 bytes" in reason(shared_secret, "x" * 31)


def test_a_public_key_is_for_ed25519():
    assert public_key(ED.pem).algorithm == "EdDSA"
    assert "not one for Ed25519" in reason(public_key, rsa().pem)
    for text in (ED.private_pem, "", "nonsense", ED.pem[:60]):
        assert reason(public_key, text) == "it is not a public key in PEM"


def test_a_set_holds_keys_of_three_kinds_and_others_are_left_out():
    others = [
        {"kty": "OKP", "crv": "X25519", "x": ED.jwk["x"]},
        {"kty": "new", "x": "1"},
        {**ed25519("enc").jwk, "use": "enc"},
        {**rsa("pss").jwk, "alg": "PS256"},
    ]
    document = json.loads(key_set(ED, p256("ec"), rsa("rsa")))
    document["keys"] += others
    keys = published_keys(json.dumps(document))
    assert [(key.algorithm, key.key_id) for key in keys] == [
        ("EdDSA", "ed"),
        ("ES256", "ec"),
        ("RS256", "rsa"),
    ]


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ("", "it is not JSON"),
        ("[]", "not a JSON Web Key Set"),
        ('{"keys": {}}', "not a JSON Web Key Set"),
        ('{"keys": []}', "no key for"),
        ('{"keys": [5]}', "key 1 is no object"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "key 1 is secret"),
        ('{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AA"}]}', "key 1 is damaged"),
        (json.dumps({"keys": [ED.jwk, {**ED.jwk, "d": "AA"}]}), "key 2 is secret"),
        (key_set(rsa(bits=1024)), "fewer than 2048 bits"),
    ],
)
def test_a_set_that_is_wrong_is_refused_with_the_reason(document: str, why: str):
    assert why in reason(published_keys, document)


def test_a_key_shows_nothing_of_itself():
    assert SECRET not in repr(shared_secret(SECRET))
    assert "object" not in repr(public_key(ED.pem))
