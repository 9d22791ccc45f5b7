from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from bargein.actors.clock import SystemClock
from bargein.gateway.auth.authority import Authority, AuthUnusable, secret_in
from bargein.gateway.auth.keys import shared_secret
from bargein.gateway.auth.revocation import read_revocations
from bargein.gateway.auth.tokens import Claims, TokenRefused
from tests.fakes.tokens import SECRET, SHARED, Signer, ed25519, key_set


def authority() -> Authority:
    return Authority(Claims(), SystemClock())


def takes(asked: Authority, signer: Signer) -> bool:
    try:
        return asked.check(signer.sign()).identity.principal == "ann"
    except TokenRefused:
        return False


def replace(path: Path, text: str) -> None:
    """Change a file as careful operators do: at once."""
    other = path.with_suffix(".new")
    other.write_text(text, encoding="utf-8")
    other.replace(path)


async def test_keys_that_change_in_their_file_are_taken_and_the_old_ones_not_any_more(
    tmp_path: Path,
):
    old, new = ed25519("old"), ed25519("new")
    path = tmp_path / "keys.json"
    path.write_text(key_set(old), encoding="utf-8")
    asked = authority()
    asked.use_published_keys(str(path))
    assert (takes(asked, old), takes(asked, new)) == (True, False)
    replace(path, key_set(old, new))
    await asked.refresh()
    assert (takes(asked, old), takes(asked, new)) == (True, True)
    replace(path, key_set(new))
    await asked.refresh()
    assert (takes(asked, old), takes(asked, new)) == (False, True)


async def test_a_file_that_has_not_changed_is_not_read_again_unless_asked(tmp_path: Path):
    old, new = ed25519(), ed25519()
    path = tmp_path / "key.pem"
    path.write_text(old.pem, encoding="utf-8")
    facts = path.stat()
    asked = authority()
    asked.use_public_key(str(path))
    path.write_text(new.pem, encoding="utf-8")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    await asked.refresh()
    assert takes(asked, old)
    await asked.refresh(anyway=True)
    assert takes(asked, new)


@pytest.mark.parametrize("text", ["", "nonsense", '{"keys": []}', None])
async def test_a_file_that_was_broken_later_changes_nothing_and_is_logged(
    tmp_path: Path, text: str | None
):
    signer = ed25519()
    path = tmp_path / "keys.json"
    path.write_text(key_set(signer), encoding="utf-8")
    asked = authority()
    asked.use_published_keys(str(path))
    if text is None:
        path.unlink()
    else:
        replace(path, text)
    with capture_logs() as logs:
        await asked.refresh()
    assert [line["event"] for line in logs] == ["auth.file_unusable"]
    assert logs[0]["setting"] == "auth.jwks"
    assert takes(asked, signer)


async def test_a_file_that_is_broken_at_the_start_stops_it(tmp_path: Path):
    broken = tmp_path / "broken"
    broken.write_bytes(b"\xff")
    asked = authority()
    for use, setting in (
        (asked.use_published_keys, "auth.jwks"),
        (asked.use_public_key, "auth.public_key"),
        (asked.use_revocations, "auth.revoked"),
        (secret_in, "auth.secret_file"),
    ):
        for path, why in ((broken, "UTF-8"), (tmp_path / "none", "it can't be read")):
            with pytest.raises(AuthUnusable) as unusable:
                use(str(path))
            assert unusable.value.setting == setting
            assert why in unusable.value.reason
            assert str(path) in str(unusable.value)


async def test_a_secret_is_read_from_a_file_without_its_last_newline(tmp_path: Path):
    path = tmp_path / "secret"
    path.write_text(f"{SECRET}\n", encoding="utf-8")
    assert secret_in(str(path)) == SECRET
    for wrong in (ed25519().pem, f"{SECRET}\n{SECRET}", f"{SECRET}ü"):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(AuthUnusable, match="one line of visible ASCII"):
            secret_in(str(path))
    path.write_text("short", encoding="utf-8")
    with pytest.raises(AuthUnusable, match="at least 32 bytes"):
        secret_in(str(path))


async def test_who_is_revoked_is_refused_and_again_let_in_when_not_any_more(tmp_path: Path):
    path = tmp_path / "revoked"
    path.write_text("# nobody yet\n", encoding="utf-8")
    asked = authority()
    asked.use_key("secret", shared_secret(SECRET))
    asked.use_revocations(str(path))
    assert takes(asked, SHARED)
    replace(path, "sub ann\n")
    await asked.refresh()
    with pytest.raises(TokenRefused) as refused:
        asked.check(SHARED.sign())
    assert refused.value.cause == "revoked"
    assert asked.check(SHARED.sign("bob")).identity.principal == "bob"
    replace(path, "jti t1\n")
    await asked.refresh()
    assert takes(asked, SHARED)
    with pytest.raises(TokenRefused):
        asked.check(SHARED.sign(jti="t1"))


async def test_one_line_that_cannot_be_read_does_not_keep_the_others_from_holding(tmp_path: Path):
    path = tmp_path / "revoked"
    path.write_text("", encoding="utf-8")
    asked = authority()
    asked.use_key("secret", shared_secret(SECRET))
    asked.use_revocations(str(path))
    replace(path, "ann\nsub ann\n")
    with capture_logs() as logs:
        await asked.refresh()
    assert "1" in logs[0]["reason"]
    assert not takes(asked, SHARED)


def test_a_line_names_a_principal_or_a_token():
    read = read_revocations("# x\n\nsub ann of acme\n  jti t1  \nSUB bob\nsub\njti \n")
    assert read.principals == {"ann of acme"}
    assert read.token_ids == {"t1"}
    assert read.unread == (5, 6, 7)
