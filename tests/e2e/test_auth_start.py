"""Auth on the command line: what may be started where, and a token made for development."""

from __future__ import annotations

import os
import re
import signal
import sys
from pathlib import Path
from subprocess import CompletedProcess

import trio

from tests.e2e.client import attached
from tests.e2e.harness import eventually
from tests.e2e.process import server_process
from tests.fakes.tokens import SECRET, ed25519, key_set
from tests.gateway.raw_client import ask, request, status

LIMIT_S = 60.0


async def bargein(*arguments: str, **environ: str) -> CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BARGEIN")}
    with trio.fail_after(LIMIT_S):
        return await trio.run_process(
            [sys.executable, "-m", "bargein.server", *arguments],
            env={**kept, **environ},
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )


AUTH = {"BARGEIN_AUTH_SECRET": SECRET}
PROXY = {"BARGEIN_BEHIND_PROXY": "true"}


async def test_beyond_loopback_it_starts_with_auth_and_encryption_only():
    rows: list[tuple[str, dict[str, str], int, str]] = [
        ("0.0.0.0", {}, 78, "without auth no other is served"),  # noqa: S104 - it is refused
        ("::", PROXY, 78, "without auth no other is served"),
        ("192.0.2.7", AUTH, 78, "tokens would go over the network in clear"),
        ("192.0.2.7", AUTH | PROXY, 0, "listen  192.0.2.7:"),
    ]
    found: list[CompletedProcess[bytes]] = []

    async def one(host: str, environ: dict[str, str], code: int, said: str) -> None:
        # What may start is only checked: a test opens no port to other machines.
        command = "check" if code == 0 else "serve"
        done = await bargein(command, "--host", host, "--store", "memory:", **environ)
        assert done.returncode == code, (environ, done)
        assert said in (done.stdout + done.stderr).decode(), (environ, done)
        assert SECRET.encode() not in done.stdout + done.stderr
        if code:
            assert re.match(rb"bargein: host \(command line, --host\)", done.stderr)
        found.append(done)

    async with trio.open_nursery() as nursery:
        for row in rows:
            nursery.start_soon(one, *row)
    assert len(found) == len(rows)


async def test_an_address_that_can_not_be_listened_on_is_78_and_names_it():
    at = ("--host", "192.0.2.7", "--port", "8710")  # of no machine (RFC 5737)
    done = await bargein("serve", *at, "--store", "memory:", **AUTH, **PROXY)
    assert done.returncode == 78, done
    said = done.stderr.decode()
    assert "bargein: " in said
    assert "port 8710 of 192.0.2.7 can't be listened on" in said
    assert "Traceback" not in said


async def test_what_is_wrong_with_auth_is_78_and_shows_no_secret(tmp_path: Path):
    broken = tmp_path / "keys.json"
    broken.write_text('{"keys": []}', encoding="utf-8")
    done = await bargein("serve", "--store", "memory:", BARGEIN_AUTH_JWKS=str(broken))
    assert done.returncode == 78, done
    assert done.stderr.decode().startswith(f"bargein: auth.jwks ({broken}): it holds no key")
    done = await bargein("check", BARGEIN_AUTH_SECRET_FILE=str(tmp_path / "none"))
    assert done.returncode == 78, done
    assert b"auth.secret_file" in done.stderr
    done = await bargein("check", BARGEIN_AUTH_SECRET="short")  # noqa: S106 - it is refused
    assert done.returncode == 78
    assert b"auth.secret (environment variable BARGEIN_AUTH_SECRET)" in done.stderr
    assert b"short" not in done.stderr


async def test_a_token_for_development_is_let_in_by_the_server_it_was_made_for(tmp_path: Path):
    made = await bargein("token", "ann", "--tenant", "acme", "--tier", "gold", **AUTH)
    assert made.returncode == 0, made
    assert made.stderr == b""
    token = made.stdout.decode().strip()
    fresh = await bargein("token", "bob", "--role", "watch")
    (secret,) = re.findall(r"export BARGEIN_AUTH_SECRET=(\S{40,})\n", fresh.stderr.decode())
    strange = fresh.stdout.decode().strip()
    async with server_process(tmp_path, BARGEIN_AUTH_SECRET=SECRET) as server:
        client = await attached(server.nursery, server.port, token=token)
        assert client.hello["you"] == {"principal": "ann", "role": "drive", "tier": "gold"}
        asked = request(Authorization=f"Bearer {strange}")
        assert status(await ask(server.port, asked)) == 401
        await client.leave()
        server.terminate()
        assert await server.exit_code() == 0
        for secret_word in (token, strange, SECRET, secret):
            assert secret_word not in server.log
        assert '"event": "auth.refused"' in server.log
        server.settings["BARGEIN_AUTH_SECRET"] = secret
        await server.start()
        watcher = await attached(server.nursery, server.port, token=strange)
        assert watcher.hello["you"] == {"principal": "bob", "role": "watch", "tier": "standard"}


async def test_with_public_keys_alone_no_token_can_be_made(tmp_path: Path):
    path = tmp_path / "keys.json"
    path.write_text(key_set(ed25519()), encoding="utf-8")
    done = await bargein("token", "ann", BARGEIN_AUTH_JWKS=str(path))
    assert done.returncode == 78
    assert done.stdout == b""


async def test_a_hangup_reads_the_keys_again(tmp_path: Path):
    old, new = ed25519(), ed25519()
    path = tmp_path / "keys.json"
    path.write_text(key_set(old), encoding="utf-8")
    facts = path.stat()
    async with server_process(
        tmp_path, BARGEIN_AUTH_JWKS=str(path), BARGEIN_AUTH_LOOK_S="5"
    ) as server:

        async def hang_up(text: str) -> None:
            path.write_text(text, encoding="utf-8")
            os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as if it had not changed
            heard = server.log.count("app.renewed")
            os.kill(server.process.pid, signal.SIGHUP)
            await eventually(lambda: server.log.count("app.renewed") > heard)

        await hang_up(key_set(new))
        client = await attached(server.nursery, server.port, token=new.sign("ann"))
        await client.leave()
        asked = request(Authorization=f"Bearer {old.sign('ann')}")
        assert status(await ask(server.port, asked)) == 401


async def test_the_command_that_makes_tokens_takes_no_bad_role():
    done = await bargein("token", "ann", "--role", "root", **AUTH)
    assert done.returncode == 2
