"""A canary for every secret, and a server that is treated badly: none is ever seen anywhere."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

from tests.e2e.ailments import damage
from tests.e2e.apps import leaky
from tests.e2e.apps.obedient import order, vendor_obeys
from tests.e2e.client import Client
from tests.e2e.harness import last_words
from tests.e2e.process import ServerProcess
from tests.e2e.test_commit_kills import ROOT
from tests.e2e.test_store_deaths import mortal_server
from tests.fakes.anthropic_answers import Answer, Call, Refusal, Stop, doing
from tests.fakes.anthropic_api import Exchange, serving
from tests.fakes.tokens import SHARED, Signer
from tests.gateway.raw_client import ask, request, status

API_KEY = "sk-canary-of-the-api-key-6e02"
AUTH_SECRET = "canary-of-the-auth-secret-1f77-of-48-characters"  # noqa: S105 - of no use elsewhere
PIN = "canary-of-a-pin-b3d9"
SIGNER = Signer("HS256", AUTH_SECRET)

INSIDE = re.compile(r'Traceback|File \\?"|site-packages|\.py\b|/(?:home|root|tmp|usr|srv|work)/')
"""What a client must never see: where the code is, and what it tripped over."""


def vendor(exchange: Exchange) -> Answer:
    """Obey; think of a secret that nobody has said; or refuse and quote the key, as vendors do."""
    if last_words_of(exchange).startswith("open"):
        args = (json.dumps({"pin": PIN}),)
        return doing(
            Call(f"toolu_{len(exchange.body['messages'])}", "vault", args), Stop("tool_use")
        )
    if last_words_of(exchange).startswith("refuse"):
        text = f"invalid x-api-key: {API_KEY}, at /srv/vendor/keys.py"
        return Refusal(401, "authentication_error", text)
    return vendor_obeys(exchange)


def last_words_of(exchange: Exchange) -> str:
    content = exchange.body["messages"][-1]["content"]
    return last_words(exchange) if isinstance(content, str) else ""


async def mistreated(server: ServerProcess) -> tuple[list[Client], list[str]]:
    """Do to a server what makes it talk; return who heard it, and the tokens that were used."""
    good, forged = SIGNER.sign("ann"), SHARED.sign("ann")
    expired = SIGNER.sign("ann", exp=1_000_000_000)
    clients = [ann := await server.attach(token=good)]
    await ann.converse("open the vault")
    await ann.converse(order("chatter"))
    await ann.converse("refuse me")
    await ann.ask("auth", token=forged)
    await ann.ask("auth", token=expired)
    await ann.send_text('{"type": "say", "text": ')
    await ann.ask("say", text=5)
    await ann.ask("confirm", confirmation_id="conf_9")
    for token in (forged, expired):
        clients.append(browser := await server.dial(offered_token=token))
        assert await browser.until_closed() == 4100
        assert status(await ask(server.port, request(Authorization=f"Bearer {token}"))) == 401
    assert status(await ask(server.port, request(f"/v1/session?token={good}"))) == 401
    await ann.leave()
    server.terminate()
    assert await server.exit_code() == 0
    damage(server.database, ann.session_id, 5)
    await server.start()
    clients.append(back := await server.dial(ann.session_id, token=good))
    assert await back.until_closed() == 4102
    return clients, [good, forged, expired]


async def test_no_secret_is_ever_seen_and_nothing_from_inside_reaches_a_client(tmp_path: Path):
    async with serving(vendor) as api:
        settings = {
            "ANTHROPIC_API_KEY": API_KEY,
            "ANTHROPIC_BASE_URL": api.url,
            "BARGEIN_AUTH_SECRET": AUTH_SECRET,
            "BARGEIN_APP": f"{leaky.__file__}:app",
            "PYTHONPATH": str(ROOT),
        }
        async with mortal_server(tmp_path, may_trace=True, **settings) as server:
            clients, tokens = await mistreated(server)
            pages = [(await server.get(path))[1] for path in ("/metrics", "/protocol.json", "/")]
            server.terminate()
            assert await server.exit_code() == 0
        assert all(API_KEY in repr(exchange.headers) for exchange in api.exchanges)

    secrets = [API_KEY, AUTH_SECRET, PIN, *tokens]
    heard = [frame.text for client in clients for frame in client.frames]
    stored = everything_in(server.database)
    assert [one for one in secrets if one in server.log] == []
    assert [one for one in secrets if any(one in text for text in heard)] == []
    assert [one for one in secrets if one.encode() in stored] == []
    assert [one for one in secrets if any(one in page for page in pages)] == []
    assert [text for text in heard if INSIDE.search(text)] == []
    assert [text for text in heard if leaky.SAID in text] == []
    # It was all tried: the lines are there, and what was in them is not.
    assert server.log.count("app.chattered") == 2
    assert server.log.count("[secret]") >= 8
    assert leaky.SAID in server.log


async def test_what_exceptions_say_is_left_out_where_that_is_asked_for(tmp_path: Path):
    async with serving(vendor) as api:
        settings = {
            "ANTHROPIC_API_KEY": API_KEY,
            "ANTHROPIC_BASE_URL": api.url,
            "BARGEIN_AUTH_SECRET": AUTH_SECRET,
            "BARGEIN_APP": f"{leaky.__file__}:app",
            "BARGEIN_LOGS_PII": "false",
            "PYTHONPATH": str(ROOT),
        }
        async with mortal_server(tmp_path, may_trace=True, **settings) as server:
            ann = await server.attach(token=SIGNER.sign("ann"))
            await ann.converse("open the vault")
            server.terminate()
            await server.exit_code()
    lines = [json.loads(line) for line in server.log.splitlines() if line.startswith("{")]
    assert any(line["event"] == "tool.raised" for line in lines), server.log
    assert not any(key.startswith("pii.") for line in lines for key in line)
    assert leaky.SAID not in server.log


def everything_in(database: Path) -> bytes:
    """Return all that is in a database, its log included, as bytes."""
    with closing(sqlite3.connect(database)) as other:
        dump = "\n".join(other.iterdump()).encode()
    files = [database, database.with_name(f"{database.name}-wal")]
    return dump + b"".join(file.read_bytes() for file in files if file.exists())
