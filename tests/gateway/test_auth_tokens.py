from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bargein.gateway.auth.identity import Identity
from bargein.gateway.auth.keys import Key, public_key, published_keys, shared_secret
from bargein.gateway.auth.tokens import Claims, TokenRefused, read_token
from tests.fakes.tokens import SECRET, SHARED, ed25519, forged, key_set, p256, rsa, segment

NOW_S = 1_800_000_000.0
ED, EC, RSA = ed25519("ed"), p256("ec"), rsa("rsa")
KEYS: tuple[Key, ...] = (
    shared_secret(SECRET),
    public_key(ed25519().pem),
    *published_keys(key_set(ED, EC, RSA)),
)


def read(token: str, asked: Claims | None = None, keys: tuple[Key, ...] = KEYS) -> Any:
    return read_token(token, keys, asked or Claims(), NOW_S)


def cause(token: str, asked: Claims | None = None, keys: tuple[Key, ...] = KEYS) -> str:
    with pytest.raises(TokenRefused) as refused:
        read(token, asked, keys)
    return refused.value.cause


@pytest.mark.parametrize("signer", [SHARED, ED, EC, RSA], ids=lambda signer: signer.algorithm)
def test_a_token_of_each_kind_of_key_says_who_somebody_is(signer: Any):
    token = signer.sign("ann", tenant="acme", tier="gold", role="watch", jti="t1", exp=NOW_S + 9)
    credential = read(token)
    assert credential.identity == Identity("ann", "acme", "gold")
    assert credential.role == "watch"
    assert credential.token_id == "t1"  # noqa: S105
    assert credential.ends_at_s == NOW_S + 9 + 60


def test_what_a_token_does_not_say_has_a_default():
    credential = read(SHARED.sign("ann"))
    assert credential.identity == Identity("ann", None, "standard")
    assert credential.role == "drive"
    assert credential.ends_at_s is None


def test_a_token_that_fits_a_key_in_a_file_is_told_by_its_name_or_tried():
    plain = ed25519()
    assert read(plain.sign("bob"), keys=(public_key(plain.pem),)).identity.principal == "bob"
    named = ed25519("one")
    keys = published_keys(key_set(ed25519("two"), named))
    assert read(named.sign(), keys=keys).identity.principal == "ann"
    assert cause(ed25519("two").sign(), keys=keys) == "signature"


# --- forgeries --------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE", "", None, 5, ["HS256"]])
def test_no_signature_is_no_algorithm_of_ours(algorithm: Any):
    assert cause(forged({"alg": algorithm, "typ": "JWT"}, {"sub": "ann"}) + "x") == "algorithm"
    assert cause(forged({"alg": algorithm}, {"sub": "ann"}, SECRET.encode())) == "algorithm"
    bare = forged({"alg": algorithm}, {"sub": "ann"})
    assert cause(bare) == "malformed"  # the third part is empty


@pytest.mark.parametrize("signer", [ED, EC, RSA], ids=lambda signer: signer.algorithm)
def test_a_public_key_is_not_taken_for_a_shared_secret(signer: Any):
    keys = published_keys(key_set(signer))
    for material in (signer.pem, signer.pem.strip(), str(signer.jwk), ""):
        token = forged({"alg": "HS256", "kid": signer.key_id}, {"sub": "ann"}, material.encode())
        assert cause(token, keys=keys) == "algorithm"
        assert cause(token) == "signature"


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "RS512", "PS256", "ES384", "ES256K"])
def test_an_algorithm_that_is_not_on_the_list_is_refused(algorithm: str):
    assert cause(forged({"alg": algorithm}, {"sub": "ann"}, SECRET.encode())) == "algorithm"


def test_the_algorithm_of_another_key_does_not_help():
    token = ED.sign()
    _, claims, signature = token.split(".")
    for algorithm in ("ES256", "RS256", "HS256"):
        assert cause(f"{segment({'alg': algorithm})}.{claims}.{signature}") == "signature"


@pytest.mark.parametrize("signer", [SHARED, ED, EC, RSA], ids=lambda signer: signer.algorithm)
def test_edited_claims_are_refused(signer: Any):
    header, _, signature = signer.sign("ann", role="watch").split(".")
    edited = segment({"sub": "ann", "role": "drive"})
    assert cause(f"{header}.{edited}.{signature}") == "signature"


def test_a_header_that_asks_for_an_extension_or_brings_its_own_key_is_refused():
    other = ed25519()
    brought = {"alg": "EdDSA", "jwk": other.jwk, "jku": "https://evil.example/keys"}
    _, claims, signature = other.sign().split(".")
    assert cause(f"{segment(brought)}.{claims}.{signature}") == "signature"
    critical: list[dict[str, Any]] = [
        {"crit": ["exp"]},
        {"crit": []},
        {"crit": ["b64"], "b64": False},
    ]
    for extra in critical:
        assert cause(forged({"alg": "HS256", **extra}, {"sub": "a"}, SECRET.encode())) == (
            "malformed"
        )


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "é.b.c",
        "e30.e30.e30",
        "bm90IGpzb24.e30.e30",
        segment([1]) + ".e30.e30",
        segment(b"[" * 3000) + ".e30.x",
        segment(b'{"alg":"none","alg":"HS256"}') + ".e30.x",
        "x" * 5000,
        f"{SHARED.sign()}\n",
        f" {SHARED.sign()}",
        SHARED.sign("ann", pad="x" * 4000),
    ],
)
def test_what_is_no_token_is_malformed_or_of_no_algorithm(token: str):
    assert cause(token) in ("malformed", "algorithm")


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.binary(max_size=60).map(segment))
def test_no_text_does_anything_but_be_refused(text: str):
    for token in (text, f"{text}.{text}.{text}", f"{segment({'alg': 'HS256'})}.{text}.{text}"):
        assert cause(token)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_changed_character_goes_unnoticed(data: st.DataObject):
    token = SHARED.sign("ann", exp=NOW_S + 100)
    place = data.draw(st.integers(0, len(token) - 2))  # the last one has bits that mean nothing
    char = data.draw(st.sampled_from("ABCxyz019-_"))
    if token[place] == char:
        return
    assert cause(token[:place] + char + token[place + 1 :])


# --- claims -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exp", "expected"),
    [
        (NOW_S - 59.9, None),
        (NOW_S - 60, "expired"),
        (NOW_S - 3600, "expired"),
        (0, "expired"),
        (-1, "expired"),
        (None, "claims"),
        (True, "claims"),
        ("1900000000", "claims"),
        ([], "claims"),
    ],
)
def test_a_token_ends_a_minute_after_its_time(exp: Any, expected: str | None):
    token = forged({"alg": "HS256"}, {"sub": "ann", "exp": exp}, SECRET.encode())
    if expected is None:
        assert read(token).ends_at_s == exp + 60
    else:
        assert cause(token) == expected


@pytest.mark.parametrize("raw", [b"NaN", b"Infinity", b"1e999", b"9" * 30])
def test_a_time_that_is_no_number_is_refused(raw: bytes):
    claims = b'{"sub":"ann","exp":' + raw + b"}"
    assert cause(forged({"alg": "HS256"}, claims, SECRET.encode())) == "claims"


def test_a_token_of_the_future_is_early():
    assert read(SHARED.sign(nbf=NOW_S + 60)).identity.principal == "ann"
    assert cause(SHARED.sign(nbf=NOW_S + 61)) == "early"


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"sub": ["ann"]},
        {"sub": "a\nb"},
        {"sub": "ann "},
        {"sub": "a\u202eb"},
        {"sub": "x" * 257},
        {"sub": "ann", "tenant": 5},
        {"sub": "ann", "tenant": ""},
        {"sub": "ann", "tier": "go ld"},
        {"sub": "ann", "tier": ["gold"]},
        {"sub": "ann", "role": "admin"},
        {"sub": "ann", "role": "Drive"},
        {"sub": "ann", "role": 1},
        {"sub": "ann", "jti": 7},
        [],
        "ann",
        b'{"sub":"ann","sub":"bob"}',
        b"\xff\xfe",
    ],
)
def test_claims_that_do_not_say_who_somebody_is_are_refused(claims: Any):
    assert cause(forged({"alg": "HS256"}, claims, SECRET.encode())) == "claims"


@pytest.mark.parametrize(
    ("role", "may"), [("watch", "watch"), ("drive", "drive"), ("operator", "drive")]
)
def test_a_role_is_the_most_that_somebody_may_do(role: str, may: str):
    assert read(SHARED.sign(role=role)).role == may


@pytest.mark.parametrize(
    ("asked", "claims", "expected"),
    [
        (Claims(issuer="us"), {"iss": "us"}, None),
        (Claims(issuer="us"), {"iss": "them"}, "audience"),
        (Claims(issuer="us"), {}, "audience"),
        (Claims(), {"iss": "them"}, None),
        (Claims(audience="here"), {"aud": "here"}, None),
        (Claims(audience="here"), {"aud": ["there", "here"]}, None),
        (Claims(audience="here"), {"aud": ["there"]}, "audience"),
        (Claims(audience="here"), {"aud": "her"}, "audience"),
        (Claims(audience="here"), {}, "audience"),
        (Claims(), {"aud": "here"}, "audience"),
        (Claims(), {"aud": []}, "audience"),
    ],
)
def test_a_token_for_somebody_else_is_refused(
    asked: Claims, claims: dict[str, Any], expected: str | None
):
    token = SHARED.sign("ann", **claims)
    if expected is None:
        assert read(token, asked).identity.principal == "ann"
    else:
        assert cause(token, asked) == expected


def test_a_refusal_tells_nothing_of_the_token():
    with pytest.raises(TokenRefused) as refused:
        read(SHARED.sign("canary", exp=1))
    assert str(refused.value) == "the token was refused: expired"
    assert refused.value.__cause__ is None
