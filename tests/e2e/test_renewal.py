"""SIGHUP: what a running server makes of settings that have changed."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import Distribution, PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import evolve

from bargein.gateway.renewal import change_of
from bargein.gateway.secret import Secret
from bargein.gateway.settings import Settings, SettingsError, load_settings, options
from bargein.gateway.settings_groups import AnthropicAccess, Limits
from tests.e2e import (
    test_renewal_edge,
    test_renewal_principals,
    test_renewal_sessions,
    test_renewal_slots,
)
from tests.e2e.client import Client
from tests.e2e.harness import eventually, world
from tests.e2e.process import ServerProcess, server_process
from tests.e2e.renewals import shown_in
from tests.e2e.scripts import by_words

CANARY = "a-secret-that-is-nowhere-to-be-seen"
SHOWING = (test_renewal_edge, test_renewal_principals, test_renewal_sessions, test_renewal_slots)


def test_every_setting_that_is_said_to_be_live_is_shown_to_be():
    live = {option.key for option in options() if option.live is not None}
    shown = shown_in(SHOWING)
    assert live - shown == set(), "a test that shows what becomes of a change is missing"
    assert shown - live == set(), "these are declared to take a restart"


# --- what a change comes to ----------------------------------------------------------------------


def test_of_other_settings_those_that_are_live_are_taken_and_the_others_are_named():
    now = Settings()
    limits = Limits(tail_events=300, stall_s=3)
    change = change_of(now, Settings(port=1, grace_s=1, limits=limits, model="other"))
    assert change.settings == Settings(grace_s=1, limits=limits)
    assert change.renewed == ("grace_s", "limits.stall_s", "limits.tail_events")
    assert change.left == ("port", "model")


def test_a_secret_has_changed_where_it_is_another_and_not_where_it_was_read_again():
    def holding(key: str) -> Settings:
        return Settings(anthropic=AnthropicAccess(Secret(key)))

    assert change_of(holding("one"), holding("one")).left == ()
    assert change_of(holding("one"), holding("two")).left == ("anthropic.api_key",)


def test_what_was_asked_for_in_vain_is_named_each_time():
    wanted = Settings(port=1)
    again = change_of(change_of(Settings(), wanted).settings, wanted)
    assert again.left == ("port",)
    assert again.renewed == ()


@pytest.mark.parametrize(
    "line", ["heartbeat_s = 1" + "0" * 400, "port = 1" + "0" * 5000, "origins = " + "[" * 100_000]
)
def test_a_file_that_is_beyond_all_measure_is_refused_as_any_other(tmp_path: Path, line: str):
    path = tmp_path / "bargein.toml"
    path.write_text(f"[bargein]\n{line}\n", encoding="utf-8")
    with pytest.raises(SettingsError):
        load_settings({}, {}, path)


async def test_what_can_not_be_read_at_all_changes_nothing_and_ends_nothing():
    def broken() -> Settings:
        raise RuntimeError

    async with world(by_words({})) as w:
        client = await w.attach()
        w.forgiven |= {"settings.invalid", "settings.unreadable"}
        before = w.server.settings
        assert w.server.renewal is not None
        w.server.renewal = evolve(w.server.renewal, read=broken)
        assert not await w.server.renewal.renew_settings()
        assert w.server.settings is before
        assert (await client.ask("ping")).type == "reply"


async def test_a_file_on_a_disk_that_hangs_is_given_up_and_nobody_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("bargein.gateway.renewal.READ_LIMIT_S", 0.05)
    wakes = threading.Event()

    def hangs() -> Settings:
        wakes.wait()
        return Settings()

    async with world(by_words({})) as w:
        client = await w.attach()
        w.forgiven.add("settings.invalid")
        before = w.server.settings
        assert w.server.renewal is not None
        renewal = evolve(w.server.renewal, read=hangs)
        try:
            assert not await renewal.renew_settings()
            assert (await client.ask("ping")).type == "reply"
        finally:
            wakes.set()
        assert w.server.settings is before
        assert [x["reason"] for x in w.logs if x["event"] == "settings.invalid"]


async def test_what_can_not_be_computed_changes_nothing_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
):
    def broken(_: object) -> None:
        raise RuntimeError

    async with world(by_words({})) as w:
        client = await w.attach()
        w.forgiven |= {"settings.invalid", "settings.unreadable"}
        before = w.server.settings
        renewal = w.server.renewal
        assert renewal is not None
        w.settings = evolve(w.settings, queue_most=7)
        for part in ("terms_of", "shares_of", "limits_of", "caps_of", "age_limit_s", "claims_of"):
            with monkeypatch.context() as patched:
                patched.setattr(f"bargein.gateway.service.{part}", broken)
                assert not await renewal.renew_settings()
            assert w.server.settings is before
            assert (await w.attach()).hello["limits"]["queue_most"] == before.queue_most
        assert (await client.ask("ping")).type == "reply"
        assert await renewal.renew_settings()
        assert (await w.attach()).hello["limits"]["queue_most"] == 7


async def test_the_package_that_is_away_in_an_upgrade_is_not_asked_for_its_version(
    monkeypatch: pytest.MonkeyPatch,
):
    def gone(name: str) -> Distribution:
        raise PackageNotFoundError(name)

    async with world(by_words({})) as w:
        before = await w.attach()
        monkeypatch.setattr(Distribution, "from_name", gone)
        await w.renew(queue_most=7)
        after = await w.attach()
        assert (after.hello["limits"]["queue_most"]) == 7
        assert after.hello["server"] == before.hello["server"]


# --- the process ---------------------------------------------------------------------------------

FILE = """\
[bargein]
heartbeat_s = 20
queue_most = 5

[bargein.limits]
commands_per_s = 1000
commands_burst = 1000
"""


@asynccontextmanager
async def tuned(tmp_path: Path, **settings: Any) -> AsyncGenerator[tuple[ServerProcess, Path]]:
    """Run a server on a file of settings; what is wrong with that later may be logged."""
    path = tmp_path / "bargein.toml"
    path.write_text(FILE, encoding="utf-8")
    async with server_process(tmp_path, BARGEIN_CONFIG=str(path), **settings) as server:
        yield server, path


async def hang_up(server: ServerProcess, event: str, times: int = 1) -> dict[str, Any]:
    """Send SIGHUP, and return the line of the log that says what came of it."""
    server.process.send_signal(signal.SIGHUP)
    await eventually(lambda: len(lines(server, event)) >= times)
    return lines(server, event)[-1]


def lines(server: ServerProcess, event: str) -> list[dict[str, Any]]:
    wanted = f'"event": "{event}"'
    return [json.loads(line) for line in server.log.splitlines(keepends=True) if wanted in line]


async def speaking(client: Client) -> str:
    turn_id = (await client.say("Long story"))["result"]["turn_id"]
    await client.until("model.token", turn_id=turn_id)
    return turn_id


async def test_a_hangup_takes_what_the_file_says_now_and_drops_nobody(tmp_path: Path):
    async with tuned(tmp_path) as (server, path):
        early = await server.attach()
        turn_id = await speaking(early)
        text = FILE.replace("= 20", "= 7").replace("commands_burst = 1000", "commands_burst = 2")
        path.write_text(text.replace("per_s = 1000", "per_s = 1"), encoding="utf-8")
        since = len(early.frames)
        told = await hang_up(server, "settings.renewed")
        assert told["keys"] == ["heartbeat_s", "limits.commands_per_s", "limits.commands_burst"]
        late = await server.attach()
        assert (early.hello["heartbeat_s"], late.hello["heartbeat_s"]) == (20, 7)
        answers = [await late.ask("ping") for _ in range(4)]
        assert [a.type for a in answers] == ["reply", "reply", "error", "error"]
        await early.until("model.token", since=since, turn_id=turn_id)  # as if nothing had been
        assert (await early.ask("interrupt"))["result"]["turn_id"] == turn_id
        figures = (await server.get("/metrics"))[1]
        assert 'bargein_settings_renewals_total{outcome="renewed"} 1.0' in figures
        assert 'bargein_settings_renewals_total{outcome="failed"} 0.0' in figures


async def test_a_turn_that_streams_is_whole_where_hangups_come_all_the_time(tmp_path: Path):
    async with tuned(tmp_path) as (server, path):
        alice = await server.attach()
        turn_id = await speaking(alice)
        for number in range(1, 11):
            path.write_text(FILE.replace("= 20", f"= {20 + number}"), encoding="utf-8")
            await hang_up(server, "settings.renewed", number)
        ladder = await alice.ask("interrupt")
        assert ladder["result"]["turn_id"] == turn_id
        await alice.until("cancel.ack", turn_id=turn_id)
        words = alice.answer_of(turn_id).split()
        assert words == [f"w{number}" for number in range(len(words))]
        watcher = await server.attach(alice.session_id, role="watch")
        seqs = [event.seq for event in watcher.events]
        assert seqs == list(range(1, len(seqs) + 1))


async def test_what_takes_a_restart_is_named_and_no_secret_is_told(tmp_path: Path):
    async with tuned(tmp_path, ANTHROPIC_API_KEY="the-first-key") as (server, path):
        text = f'{FILE}\n[bargein.anthropic]\nbase_url = "https://{CANARY}.example"\n'
        path.write_text(text.replace("queue_most = 5", "port = 1\nqueue_most = 6"), "utf-8")
        left = await hang_up(server, "settings.not_renewed")
        assert left["keys"] == ["anthropic.base_url"]  # the flag --port goes before the file
        assert lines(server, "settings.renewed")[-1]["keys"] == ["queue_most"]
        path.write_text(FILE + f'[bargein.auth]\nsecret = "{CANARY}"\n', encoding="utf-8")
        left = await hang_up(server, "settings.not_renewed", 2)
        assert left["keys"] == ["auth.secret"]
        assert (await server.attach()).hello["limits"]["queue_most"] == 5
        assert CANARY not in server.log


async def test_the_environment_goes_before_the_file_as_at_the_start(tmp_path: Path):
    async with tuned(tmp_path, BARGEIN_QUEUE_MOST="9") as (server, path):
        path.write_text(FILE.replace("queue_most = 5", "queue_most = 6"), encoding="utf-8")
        assert (await hang_up(server, "settings.renewed"))["keys"] == []
        assert (await server.attach()).hello["limits"]["queue_most"] == 9


WRONG = {
    "no TOML": ("[bargein", "config"),
    "unknown": ("[bargein]\nheartbeat = 1\n", "heartbeat"),
    "out of range": ("[bargein]\nqueue_most = 6\nheartbeat_s = -1\n", "heartbeat_s"),
    "contradiction": ("[bargein.limits]\ntail_events = 9\n", "limits.tail_events"),
    "a bad secret": (f'[bargein]\nqueue_most = 6\nauth.secret = "{CANARY}\\n"', "auth.secret"),
}


async def test_a_file_that_is_wrong_changes_nothing(tmp_path: Path):
    async with failing(tmp_path) as (server, path):
        early = await server.attach()
        for number, (text, key) in enumerate(WRONG.values(), 1):
            path.write_text(text, encoding="utf-8")
            said = await hang_up(server, "settings.invalid", number)
            assert (said["key"], said["source"]) == (key, f"file {path}")
            assert said["reason"]
            assert (await server.attach()).hello["limits"]["queue_most"] == 5
        path.unlink()
        gone = await hang_up(server, "settings.invalid", len(WRONG) + 1)
        assert "No such file" in gone["reason"]
        assert not lines(server, "settings.renewed")
        assert not lines(server, "app.renewed")  # all or nothing
        assert CANARY not in server.log
        figures = (await server.get("/metrics"))[1]
        failed = f'bargein_settings_renewals_total{{outcome="failed"}} {len(WRONG) + 1}.0'
        assert failed in figures
        path.write_text(FILE.replace("queue_most = 5", "queue_most = 6"), encoding="utf-8")
        assert (await hang_up(server, "settings.renewed"))["keys"] == ["queue_most"]
        assert (await early.ask("ping")).type == "reply"
        server.terminate()
        assert await server.exit_code() == 0


@asynccontextmanager
async def failing(tmp_path: Path) -> AsyncGenerator[tuple[ServerProcess, Path]]:
    """Run a server as `tuned` does, but let it log that settings are wrong: and nothing else."""
    path = tmp_path / "bargein.toml"
    path.write_text(FILE, encoding="utf-8")
    async with trio.open_nursery() as nursery:
        server = ServerProcess(tmp_path, nursery, {"BARGEIN_CONFIG": str(path)})
        try:
            with trio.fail_after(120):
                await server.start()
                yield server, path
        finally:
            if server.process.poll() is None:
                server.process.kill()
            with trio.CancelScope(shield=True):  # a killed process ends at once
                await server.process.wait()
        nursery.cancel_scope.cancel()
    assert "Traceback" not in server.log
    errors = [line for line in server.log.splitlines() if '"level": "error"' in line]
    assert all('"event": "settings.invalid"' in line for line in errors)
