"""Tokens on the wire: every way in, taken and refused, and what happens while attached."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from bargein.gateway.secret import Secret
from bargein.gateway.settings import Auth, Limits
from bargein.protocol.ids import SessionId
from bargein.timeline.memory import MemoryStore
from tests.e2e.client import Client
from tests.e2e.harness import FREE_LIMITS, World, eventually, world
from tests.fakes.anthropic_answers import saying
from tests.fakes.tokens import SECRET, SHARED, ed25519, forged, key_set, soon
from tests.gateway.raw_client import CLOSE, ask, opened, request, status

BY_SECRET = Auth(secret=Secret(SECRET))
WITHIN_S = 5.0
"""By then, who has lost access has to be gone."""

SHUT: dict[str, Any] = {"limits": Limits(uncounted_networks=())}
"""Loopback addresses are counted like any other."""

HELLO = [saying("Hello.")]
NONSENSE = "nonsense"


def bearer(token: str) -> dict[str, Any]:
    return {"Authorization": f"Bearer {token}"}


def offer(token: str) -> dict[str, Any]:
    return {"Sec_WebSocket_Protocol": f"bargein.v1, bargein.jwt.{token}"}


async def http(w: World, path: str = "/v1/session", **headers: Any) -> int:
    return status(await ask(w.port, request(path, **headers)))


async def closed_with(w: World, path: str = "/v1/session", **headers: Any) -> list[Any]:
    """Connect; return all that came: each message, and last the code and reason of the close."""
    async with opened(w.port, path, **headers) as raw:
        came: list[Any] = []
        while True:
            opcode, payload = await raw.read_frame()
            if opcode == CLOSE:
                return [*came, (int.from_bytes(payload[:2]), payload[2:].decode())]
            came.append(json.loads(payload))


# --- ways in -----------------------------------------------------------------------------------


async def test_a_token_in_the_header_or_as_a_subprotocol_lets_its_principal_in():
    async with world(HELLO * 2, auth=BY_SECRET) as w:
        token = SHARED.sign("ann", tenant="acme", tier="gold", exp=soon())
        ann = await w.attach(token=token)
        assert ann.hello["you"] == {"principal": "ann", "role": "drive", "tier": "gold"}
        await ann.converse("Hi")
        again = await w.attach(ann.session_id, offered_token=token, role="watch")
        assert again.hello["you"] == {"principal": "ann", "role": "watch", "tier": "gold"}
        assert again.session_id == ann.session_id


async def test_the_answer_never_names_the_token():
    async with world([], auth=BY_SECRET) as w:
        token = SHARED.sign("ann")
        answer = b""
        client = await trio.open_tcp_stream("127.0.0.1", w.port)
        async with client:
            await client.send_all(request(**offer(token)))
            with trio.fail_after(WITHIN_S):
                while b"\r\n\r\n" not in answer:
                    answer += await client.receive_some()
        assert answer.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Protocol: bargein.v1\r\n" in answer
        assert token.encode() not in answer


async def test_a_person_with_wscat_sends_the_header_and_is_read_leniently():
    async with world(HELLO, auth=BY_SECRET) as w:
        ann = await w.attach(token=SHARED.sign("ann"), strict=False)
        await ann.send_text("Hi")
        await ann.until("turn.trace")


BAD: dict[str, str] = {
    "another secret": forged({"alg": "HS256"}, {"sub": "ann"}, b"x" * 32),
    "none": forged({"alg": "none"}, {"sub": "ann"}) + "AA",
    "another algorithm": forged({"alg": "HS512"}, {"sub": "ann"}, SECRET.encode()),
    "expired": SHARED.sign("ann", exp=soon(-3600)),
    "early": SHARED.sign("ann", nbf=soon(3600)),
    "no principal": SHARED.sign(None),
    "a strange role": SHARED.sign("ann", role="root"),
    "nonsense": "nonsense",
    "a key that is not known": ed25519().sign("ann"),
}


@pytest.mark.parametrize("token", BAD.values(), ids=BAD)
async def test_a_bad_token_is_401_in_the_header_and_4100_as_a_subprotocol(token: str):
    async with world([], auth=BY_SECRET) as w:
        for path in ("/v1/session", "/v1/session/sess_none?role=watch"):
            assert await http(w, path, **bearer(token)) == 401
            assert await closed_with(w, path, **offer(token)) == [(4100, "the token is no good")]
        causes = [line["cause"] for line in w.logs if line["event"] == "auth.refused"]
        assert len(causes) == 4
        assert token not in repr(w.logs)


async def test_without_a_token_the_answer_is_401_and_says_what_is_wanted():
    async with world([], auth=BY_SECRET) as w:
        answer = await ask(w.port, request())
        assert status(answer) == 401
        assert b'WWW-Authenticate: Bearer realm="bargein"\r\n' in answer
        assert b"Authorization: Bearer" in answer
        for authorization in ("", "Bearer", "Bearer ", "Basic YW5uOng=", SHARED.sign("ann")):
            assert await http(w, Authorization=authorization) == 401


async def test_a_browser_behind_basic_auth_may_still_offer_its_token():
    async with world([], auth=BY_SECRET) as w:
        both: dict[str, Any] = {"Authorization": "Basic YW5uOng=", **offer(SHARED.sign("ann"))}
        async with opened(w.port, **both) as raw:
            assert json.loads(await raw.read_text())["you"]["principal"] == "ann"
        two = {**bearer(SHARED.sign("ann")), **offer(SHARED.sign("bob"))}
        assert await http(w, **two) == 400


@pytest.mark.parametrize("name", ["token", "access_token", "jwt", "Authorization", "x"])
async def test_a_good_token_in_the_url_is_refused_all_the_same(name: str):
    async with world([], auth=BY_SECRET) as w:
        token = SHARED.sign("ann")
        assert await http(w, f"/v1/session?{name}={token}") == 401
        assert await http(w, f"/v1/session?{name}={token}", **bearer(token)) == 401
        assert token not in repr(w.logs)


async def test_where_one_comes_from_is_answered_before_who_one_is():
    async with world([], auth=BY_SECRET) as w:
        for token in (SHARED.sign("ann"), "nonsense"):
            assert await http(w, **bearer(token), Origin="https://evil.example") == 403
            assert await http(w, **bearer(token), Host="evil.example") == 421
            assert await http(w, **offer(token), Origin="https://evil.example") == 403


async def test_each_kind_of_key_lets_in_and_a_new_set_of_keys_is_taken_while_running(
    tmp_path: Path,
):
    one, old, new = ed25519(), ed25519("old"), ed25519("new")
    pem, jwks = tmp_path / "key.pem", tmp_path / "keys.json"
    pem.write_text(one.pem, encoding="utf-8")
    jwks.write_text(key_set(old), encoding="utf-8")
    auth = Auth(Secret(SECRET), public_key=str(pem), jwks=str(jwks), look_s=0.05)
    async with world([], auth=auth) as w:
        for signer in (SHARED, one, old):
            assert (await w.attach(token=signer.sign("ann"))).hello["you"]["principal"] == "ann"
        assert await http(w, **bearer(new.sign("ann"))) == 401
        jwks.write_text(key_set(new), encoding="utf-8")
        await eventually(lambda: [x for x in w.logs if x["event"] == "auth.file_read"])
        assert (await w.attach(token=new.sign("ann"))).hello["you"]["principal"] == "ann"
        assert await http(w, **bearer(old.sign("ann"))) == 401


# --- roles -------------------------------------------------------------------------------------


async def test_who_may_only_watch_is_refused_as_a_driver_and_watches_unasked():
    async with world([], auth=BY_SECRET) as w:
        token = SHARED.sign("ann", role="watch")
        assert await http(w, "/v1/session?role=drive", **bearer(token)) == 403
        error, close = await closed_with(w, "/v1/session?role=drive", **offer(token))
        assert (error["type"], error["command_id"]) == ("error", None)
        assert (error["error"]["code"], error["error"]["param"]) == ("forbidden", "role")
        assert close == (4100, "this token may only watch")
        for way in ({"token": token}, {"offered_token": token}):
            watcher = await w.attach(**way)
            assert watcher.hello["you"]["role"] == "watch"
            refused = await watcher.say("Hi")
            assert refused["error"]["code"] == "forbidden"


async def test_a_driver_may_choose_to_watch():
    async with world([], auth=BY_SECRET) as w:
        watcher = await w.attach(token=SHARED.sign("ann", role="drive"), role="watch")
        assert watcher.hello["you"]["role"] == "watch"
        assert (await watcher.ask("interrupt"))["error"]["code"] == "forbidden"


# --- a fresh token -------------------------------------------------------------------------------


async def test_a_fresh_token_keeps_a_connection_after_the_old_one_has_ended():
    auth = Auth(Secret(SECRET), leeway_s=0, look_s=0.05)
    async with world(HELLO, auth=auth) as w:
        token = SHARED.sign("ann", exp=soon(4))
        renewed = await w.attach(token=token)
        left = await w.attach(token=token)
        answer = await renewed.ask("auth", token=SHARED.sign("ann", exp=soon(300)))
        assert (answer.type, answer["result"]) == ("reply", {})
        assert await left.until_closed() == 4100
        assert left.close_reason == "the token has expired"
        await renewed.converse("Hi")


async def test_a_watcher_may_renew_its_token_too():
    async with world([], auth=BY_SECRET) as w:
        token = SHARED.sign("ann", role="watch")
        watcher = await w.attach(token=token)
        assert (await watcher.ask("auth", token=token)).type == "reply"


async def test_a_token_of_somebody_else_or_for_less_is_refused_and_changes_nothing():
    async with world(HELLO, auth=BY_SECRET) as w:
        ann = await w.attach(token=SHARED.sign("ann", tenant="acme"))
        for token, code in (
            (SHARED.sign("bob", tenant="acme"), "unauthorized"),
            (SHARED.sign("ann"), "unauthorized"),
            (SHARED.sign("ann", tenant="other"), "unauthorized"),
            (SHARED.sign("ann", tenant="acme", exp=1), "unauthorized"),
            (NONSENSE, "unauthorized"),
            (SHARED.sign("ann", tenant="acme", role="watch"), "forbidden"),
        ):
            answer = await ann.ask("auth", token=token)
            assert (answer.type, answer["error"]["code"]) == ("error", code)
            assert answer["error"]["retryable"] is False
            assert token not in answer.text
            assert token not in repr(w.logs)
        await ann.converse("Hi")
        stored = await w.timeline(ann.session_id)
        assert not any(b"eyJ" in event.frame for event in stored)


async def test_the_same_fresh_token_counts_for_each_connection_that_sends_it():
    auth = Auth(Secret(SECRET), leeway_s=0, look_s=0.05)
    async with world(HELLO, auth=auth) as w:
        first = await w.attach(token=SHARED.sign("ann", exp=soon(4)))
        second = await w.attach(first.session_id, token=SHARED.sign("ann", exp=soon(4)))
        third = await w.attach(first.session_id, token=SHARED.sign("ann", exp=soon(4)))
        fresh = SHARED.sign("ann", exp=soon(300))
        for client in (first, second):
            assert (await client.ask("auth", id="auth-1", token=fresh)).type == "reply"
        assert await third.until_closed() == 4100
        await first.converse("Hi")
        assert (await second.ask("ping")).type == "reply"


# --- while attached ------------------------------------------------------------------------------


async def gone(client: Client, within_s: float = WITHIN_S) -> int | None:
    return await client.until_closed(within_s)


async def test_a_token_that_ends_ends_its_connection_and_the_turn_follows_on_disconnect():
    auth = Auth(Secret(SECRET), leeway_s=1)
    async with world([saying(*["word "] * 400, interval_s=0.05)], auth=auth) as w:
        ann = await w.attach(token=SHARED.sign("ann", exp=soon(3)))
        await ann.ask("configure", on_disconnect="cancel")
        turn_id = (await ann.say("Talk"))["result"]["turn_id"]
        assert await gone(ann, 3 + 1 + WITHIN_S) == 4100
        back = await w.attach(
            ann.session_id, token=SHARED.sign("ann"), after=ann.last_seq, epoch=ann.epoch
        )
        asked = await back.until("cancel.requested", turn_id=turn_id)
        assert asked.payload["by"] == "disconnected"
        await back.until("cancel.ack", turn_id=turn_id)


async def test_who_is_revoked_is_gone_in_time_and_does_not_come_back(tmp_path: Path):
    revoked = tmp_path / "revoked"
    revoked.write_text("", encoding="utf-8")
    auth = Auth(Secret(SECRET), revoked=str(revoked))
    async with world(HELLO, auth=auth) as w:
        ann = await w.attach(token=SHARED.sign("ann"))
        tab = await w.attach(ann.session_id, offered_token=SHARED.sign("ann", jti="other"))
        bob = await w.attach(token=SHARED.sign("bob", jti="lost"))
        kept = await w.attach(bob.session_id, token=SHARED.sign("bob", jti="kept"))
        revoked.write_text("sub ann\njti lost\n", encoding="utf-8")
        for client in (ann, tab, bob):
            assert await gone(client) == 4103
        await kept.converse("Hi")
        assert await http(w, **bearer(SHARED.sign("ann"))) == 401
        assert await closed_with(w, **offer(SHARED.sign("ann"))) == [(4100, "the token is no good")]
        assert await http(w, **bearer(SHARED.sign("bob", jti="lost"))) == 401


async def test_a_connection_lasts_for_so_long_and_its_client_comes_back():
    auth = Auth(Secret(SECRET), connection_s=0.5, look_s=0.05)
    async with world(HELLO, auth=auth) as w:
        ann = await w.attach(token=SHARED.sign("ann"))
        assert await gone(ann) == 4000
        back = await w.attach(
            ann.session_id, token=SHARED.sign("ann"), after=ann.last_seq, epoch=ann.epoch
        )
        assert back.hello["resumed"] is True


# --- whose session it is -------------------------------------------------------------------------


async def test_a_session_of_somebody_else_is_answered_with_the_bytes_of_a_missing_one():
    async with world(HELLO * 2, auth=BY_SECRET) as w:
        ann = await w.attach(token=SHARED.sign("ann", tenant="acme"))
        await ann.converse("My secret is 4711")
        missing = await closed_with(w, "/v1/session/sess_none", **bearer(SHARED.sign("bob")))
        assert missing == [(4104, "no such session")]
        for stranger in (
            SHARED.sign("bob", tenant="acme"),
            SHARED.sign("ann"),
            SHARED.sign("ann", tenant="ACME"),
            SHARED.sign("acme", tenant="ann"),
            SHARED.sign("root", tenant="acme", role="operator"),
        ):
            for path in (
                f"/v1/session/{ann.session_id}",
                f"/v1/session/{ann.session_id}?after=0&epoch={ann.epoch}",
                f"/v1/session/{ann.session_id}?role=watch&view=text",
            ):
                assert await closed_with(w, path, **bearer(stranger)) == missing
                assert await closed_with(w, path, **offer(stranger)) == missing


# --- shut out ------------------------------------------------------------------------------------


async def test_ten_bad_tokens_shut_an_address_out_whatever_it_then_has():
    auth = Auth(Secret(SECRET), shut_out_s=1.5)
    async with world([], auth=auth, **SHUT) as w:
        ann = await w.attach(token=SHARED.sign("ann"))
        for number in range(10):
            if number % 2:
                assert await http(w, **bearer("nonsense")) == 401
            else:
                assert (await closed_with(w, **offer("nonsense")))[-1][0] == 4100
        answer = await ask(w.port, request(**bearer(SHARED.sign("ann"))))
        assert status(answer) == 429
        assert b"Retry-After: 2\r\n" in answer
        assert await http(w, **offer(SHARED.sign("ann"))) == 429
        limited = await ann.ask("auth", token=SHARED.sign("ann"))
        assert limited["error"]["code"] == "rate_limited"
        assert (await ann.ask("ping")).type == "reply"  # who is here stays

        # Let in again, a request that is no upgrade gets the library's answer to that.
        with trio.fail_after(WITHIN_S):
            while (answer := await http(w, **bearer(SHARED.sign("ann")), Upgrade=None)) == 429:
                pass
        assert answer == 426
        await w.attach(token=SHARED.sign("ann"))


async def test_bad_tokens_of_a_live_connection_count_as_well():
    async with world([], auth=BY_SECRET, **SHUT) as w:
        ann = await w.attach(token=SHARED.sign("ann"))
        for _ in range(10):
            assert (await ann.ask("auth", token=NONSENSE))["error"]["code"] == "unauthorized"
        assert (await ann.ask("auth", token=NONSENSE))["error"]["code"] == "rate_limited"
        assert await http(w, **bearer(SHARED.sign("ann"))) == 429


async def test_without_a_token_nobody_is_shut_out():
    async with world([], auth=BY_SECRET, **SHUT) as w:
        for _ in range(15):
            assert await http(w) == 401


# --- the rest ------------------------------------------------------------------------------------


async def test_figures_are_for_this_machine():
    async with world([], auth=BY_SECRET) as w:
        for path, expected in (("/metrics", 200), ("/healthz", 200), ("/protocol.json", 200)):
            asked = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
            assert status(await ask(w.port, asked)) == expected


async def test_figures_are_for_those_with_a_token_elsewhere():
    options: dict[str, Any] = {"limits": FREE_LIMITS, "trusted_proxies": ("127.0.0.1",)}
    async with world([], auth=BY_SECRET, **options) as w:
        for authorization, expected in (
            ("", 401),
            ("Bearer nonsense", 401),
            (f"Bearer {SHARED.sign('ann', exp=1)}", 401),
            (f"Bearer {SHARED.sign('prometheus')}", 200),
        ):
            asked = (
                "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 192.0.2.7\r\n"
                f"Authorization: {authorization}\r\n\r\n"
            )
            assert status(await ask(w.port, asked.encode())) == expected
        figures = (await ask(w.port, b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")).decode()
        assert 'bargein_auth_refused_total{cause="malformed"}' in figures


@pytest.mark.parametrize("header", ["X-Forwarded-For", "x-real-ip", "Via", "Forwarded"])
async def test_a_proxy_that_nobody_has_named_does_not_open_the_figures_to_everybody(header: str):
    async with world([], auth=BY_SECRET) as w:
        for authorization, expected in (("", 401), (f"Bearer {SHARED.sign('prometheus')}", 200)):
            asked = (
                f"GET /metrics HTTP/1.1\r\nHost: localhost\r\n{header}: 127.0.0.1\r\n"
                f"Authorization: {authorization}\r\n\r\n"
            )
            assert status(await ask(w.port, asked.encode())) == expected


async def test_without_auth_a_token_is_not_looked_at():
    async with world(HELLO) as w:
        anybody = await w.attach(token=NONSENSE, offered_token=NONSENSE)
        assert anybody.hello["you"] == {
            "principal": "anonymous",
            "role": "drive",
            "tier": "standard",
        }
        refused = await anybody.ask("auth", token=NONSENSE)
        assert refused["error"]["code"] == "unauthorized"


async def test_the_audit_tells_who_came_in_and_who_did_not_and_never_a_token(tmp_path: Path):
    revoked = tmp_path / "revoked"
    revoked.write_text("", encoding="utf-8")
    auth = Auth(Secret(SECRET), revoked=str(revoked), look_s=0.05)
    async with world([], auth=auth, **SHUT) as w:
        token = SHARED.sign("ann", tenant="acme")
        ann = await w.attach(token=token)
        await ann.ask("auth", token=token)
        await closed_with(w, f"/v1/session/{ann.session_id}", **bearer(SHARED.sign("bob")))
        for _ in range(10):
            await http(w, **bearer(NONSENSE))
        revoked.write_text("sub ann\n", encoding="utf-8")
        assert await gone(ann) == 4103
        store = cast("MemoryStore", w.store)
        lines = [json.loads(line.text) for line in await store.audit_lines(0, limit=100)]
        told = [(x["act"], x["principal"], x["tenant"], x["subject"]) for x in lines]
        assert told[:3] == [
            ("auth.admitted", "ann", "acme", None),
            ("auth.renewed", "ann", "acme", None),
            ("auth.admitted", "bob", None, None),
        ]
        assert told[3] == ("session.denied", "bob", None, None)
        assert lines[3]["session_id"] == ann.session_id
        assert told[4:14] == [("auth.refused", None, None, "malformed")] * 10
        assert told[14] == ("auth.shut_out", None, None, None)
        assert ("auth.stay_ended", "ann", "acme", "access was revoked") in told
        assert {x["by"] for x in lines[:3]} == {"127.0.0.1"}
        assert "eyJ" not in repr(lines)


async def test_a_session_of_somebody_else_costs_the_work_of_a_missing_one():
    async with world(HELLO, idle_s=0.0, auth=BY_SECRET) as w:
        live = await w.attach(token=SHARED.sign("ann"))
        await live.converse("Hi")
        asleep = await w.attach(token=SHARED.sign("ann"))
        await asleep.leave()
        stranger = bearer(SHARED.sign("bob"))
        reads: list[str] = []
        row = MemoryStore.row

        async def counted(store: MemoryStore, session_id: SessionId) -> Any:
            reads.append(session_id)
            return await row(store, session_id)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(MemoryStore, "row", counted)
            for session_id in ("sess_none", live.session_id, asleep.session_id):
                reads.clear()
                await closed_with(w, f"/v1/session/{session_id}", **stranger)
                assert reads == [session_id]
