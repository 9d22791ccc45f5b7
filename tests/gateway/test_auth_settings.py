from __future__ import annotations

from itertools import product

import pytest

from bargein.gateway.settings import Auth, Settings, SettingsError, load_settings
from tests.fakes.tokens import SECRET

SECRETS = {"BARGEIN_AUTH_SECRET": SECRET}
KEYS: list[dict[str, str]] = [
    SECRETS,
    {"BARGEIN_AUTH_SECRET_FILE": "secret"},
    {"BARGEIN_AUTH_PUBLIC_KEY": "key.pem"},
    {"BARGEIN_AUTH_JWKS": "keys.json"},
]
NO_KEYS: list[dict[str, str]] = [
    {},
    {"BARGEIN_AUTH_REVOKED": "revoked"},
    {"BARGEIN_AUTH_ISSUER": "us", "BARGEIN_AUTH_AUDIENCE": "here"},
]
TLS = {"BARGEIN_TLS_CERTIFICATE": "c.pem", "BARGEIN_TLS_KEY": "k.pem"}
PROXY = {"BARGEIN_BEHIND_PROXY": "true"}
NO_PROXY = {"BARGEIN_BEHIND_PROXY": "false"}
BEYOND = ("0.0.0.0", "::", "192.0.2.7", "2001:db8::1", "10.0.0.1")  # noqa: S104 - not opened
HERE = ("127.0.0.1", "127.0.0.9", "::1", "localhost")


def start(host: str, *environ: dict[str, str]) -> Settings | SettingsError:
    merged = {"BARGEIN_HOST": host}
    for some in environ:
        merged |= some
    try:
        return load_settings({}, merged, None)
    except SettingsError as error:
        return error


@pytest.mark.parametrize("host", BEYOND)
def test_other_machines_are_served_with_auth_and_encryption_only(host: str):
    for keys, way in product(NO_KEYS, ({}, TLS, PROXY, TLS | PROXY)):
        refused = start(host, keys, way)
        assert isinstance(refused, SettingsError), (keys, way)
        assert refused.key == "host"
        assert "without auth no other is served" in refused.reason
    for keys, way in product(KEYS, ({}, NO_PROXY)):
        refused = start(host, keys, way)
        assert isinstance(refused, SettingsError), (keys, way)
        assert refused.key == "host"
        assert "in clear" in refused.reason
        assert SECRET not in str(refused)
    for keys, way in product(KEYS, (TLS, PROXY, TLS | PROXY)):
        assert isinstance(start(host, keys, way), Settings), (keys, way)


@pytest.mark.parametrize("host", HERE)
def test_this_machine_is_served_in_any_case(host: str):
    for keys, way in product(KEYS + NO_KEYS, ({}, TLS, PROXY)):
        assert isinstance(start(host, keys, way), Settings)


def test_auth_is_on_where_there_is_a_key():
    for keys, on in [(keys, True) for keys in KEYS] + [(keys, False) for keys in NO_KEYS]:
        settings = start("::1", keys)
        assert isinstance(settings, Settings)
        assert settings.auth.on is on
    assert Auth().on is False


def test_the_secret_is_blind_and_no_flag():
    settings = start("::1", SECRETS)
    assert isinstance(settings, Settings)
    assert settings.auth.secret is not None
    assert settings.auth.secret.get_secret_value() == SECRET
    assert SECRET not in f"{settings} {settings!r} {settings.auth}"
    with pytest.raises(SettingsError, match="set BARGEIN_AUTH_SECRET instead") as refused:
        load_settings({"auth.secret": SECRET}, {}, None)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize("short", ["x" * 31, f"{SECRET}\n", "é" * 40])
def test_a_secret_that_is_short_or_odd_is_refused_and_not_shown(short: str):
    refused = start("::1", {"BARGEIN_AUTH_SECRET": short})
    assert isinstance(refused, SettingsError)
    assert refused.key == "auth.secret"
    assert short not in str(refused)
    assert "32 visible ASCII" in refused.reason


@pytest.mark.parametrize("word", ["yes", "1", "True", "on"])
def test_true_is_written_in_one_way(word: str):
    refused = start("::1", {"BARGEIN_BEHIND_PROXY": word})
    assert isinstance(refused, SettingsError)
    assert "true or false" in refused.reason
