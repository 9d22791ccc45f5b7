"""A real server, really killed.  `BARGEIN_TEST_SEED` sets at which moments."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
import trio

from tests.e2e import stubborn
from tests.e2e.evidence import check_timeline
from tests.e2e.process import server_process
from tests.e2e.scripts import assert_ladder, outline
from tests.e2e.user import User, failed_with_token, killed_and_back, start_turn, users
from tests.scale import scaled

SEED = int(os.environ.get("BARGEIN_TEST_SEED", "1"))
KILLS = scaled(100)
KILLS_IN_LADDERS = scaled(30)
SESSIONS = 3


@pytest.mark.slow
async def test_a_server_killed_in_mid_turn_has_kept_all_that_anybody_saw(tmp_path: Path):
    chance = random.Random(SEED)  # noqa: S311
    print(f"seed {SEED}")  # noqa: T201 - shown when it fails
    async with server_process(tmp_path, deadline_s=60 + 10 * KILLS) as server:
        everyone = await users(server, SESSIONS)
        tokens: dict[User, str] = {}
        for kill in range(KILLS):
            turns: dict[User, str] = {}
            for user in everyone:
                resumed = user in tokens and chance.random() < 0.5
                token = tokens[user] if resumed else None
                text = "" if resumed else f"Long story {kill}"
                before = max(user.seen, default=0)
                turns[user] = await start_turn(user, text, resume=token)
                assert user.client.last_seq > before
            await trio.sleep(chance.uniform(0, 0.1))
            await killed_and_back(server, everyone)
            for user, turn_id in turns.items():
                tokens[user] = failed_with_token(user, turn_id)
            await chance.choice(everyone).check()
        for user in everyone:
            await user.client.converse("Brief, please")
            user_last = user.client.answer_of(f"turn_{KILLS + 1}")
            assert user_last == "Very well."
            await user.check()


async def test_a_turn_that_a_restart_cut_short_is_taken_up_in_a_new_one(tmp_path: Path):
    async with server_process(tmp_path) as server:
        (user,) = await users(server, 1)
        first = await start_turn(user, "Long story")
        await killed_and_back(server, [user])
        token = failed_with_token(user, first)
        second = await start_turn(user, "", resume=token)
        start = user.of_turn(second)[1]
        assert start.type == "turn.start"
        assert start.payload["continues"] == first
        again = await user.client.say("", resume=token)
        assert again["error"]["code"] == "stale"
        await user.check()


@pytest.mark.slow
async def test_a_ladder_that_was_killed_is_finished_by_the_next_server(tmp_path: Path):
    app = f"{stubborn.__file__}:app"
    chance = random.Random(SEED)  # noqa: S311
    limits = {"BARGEIN_APP": app, "BARGEIN_ABANDON_MS": "1000"}
    async with server_process(tmp_path, deadline_s=60 + 10 * KILLS_IN_LADDERS, **limits) as server:
        everyone = await users(server, SESSIONS)
        broken_off = 0
        for kill in range(KILLS_IN_LADDERS):
            turns: dict[User, str] = {}
            for user in everyone:
                turns[user] = await start_turn(user, f"Long story {kill}")
            for user in everyone:
                await user.client.send("interrupt")
            for user in everyone:
                await user.client.until("cancel.requested", turn_id=turns[user])
            await trio.sleep(chance.uniform(0, stubborn.UNWINDING_S))
            await server.kill()
            for user, turn_id in turns.items():
                await user.client.closed.wait()
                broken_off += user.client.find("cancel.ack", turn_id=turn_id) is None
            await server.start()
            for user, turn_id in turns.items():
                await user.come_back()
                events = user.of_turn(turn_id)
                assert_ladder(events)
                assert "error" not in outline(events)
        for user in everyone:
            await user.check()
        assert broken_off > 0


async def test_words_that_waited_for_their_turn_are_answered_after_a_restart(tmp_path: Path):
    async with server_process(tmp_path) as server:
        (user,) = await users(server, 1)
        first = await start_turn(user, "Long story")
        queued = [
            (await user.client.say(text, when_busy="queue"))["result"]["turn_id"]
            for text in ("Brief one", "Brief two")
        ]
        await killed_and_back(server, [user])
        failed_with_token(user, first)
        for turn_id in queued:
            await user.client.until("turn.trace", turn_id=turn_id)
            events = user.of_turn(turn_id)
            assert outline(events)[:3] == ["input.text", "turn.start", "turn.end"]
            assert user.client.answer_of(turn_id) == "Very well."
        await user.check()


async def test_every_open_session_is_settled_at_the_start_and_not_when_someone_comes(
    tmp_path: Path,
):
    async with server_process(tmp_path) as server:
        everyone = await users(server, 5)
        turns = {user: await start_turn(user, "Long story") for user in everyone}
        await server.kill()
        await server.start()
        before = {user: len(await server.whole(user.client.session_id)) for user in everyone}
        await server.kill()
        await server.start()  # nothing is left to be settled a second time
        for user, turn_id in turns.items():
            stored = await server.whole(user.client.session_id)
            assert len(stored) <= before[user] + 2  # the reader that came in between
            check_timeline(stored, finished=True)
            await user.come_back()
            failed_with_token(user, turn_id)


async def test_a_re_sent_command_is_not_done_twice_by_a_server_that_was_killed(tmp_path: Path):
    async with server_process(tmp_path) as server:
        (user,) = await users(server, 1)
        first = await user.client.say("Long story", id="once")
        await user.client.until("model.token", turn_id="turn_1")
        await killed_and_back(server, [user])
        again = await user.client.say("Long story", id="once")
        assert again.text == first.text
        await user.client.ask("ping")
        assert user.client.find("turn.start", turn_id="turn_2") is None
        await user.check()
