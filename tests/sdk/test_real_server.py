"""The SDK against real servers: killed, drained, with actions, with tokens, from two devices."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from attrs import frozen

from bargein.gateway.secret import Secret
from bargein.gateway.settings import Auth
from bargein.protocol.codec import decode_event
from bargein.protocol.commands import ProjectionName
from bargein.protocol.projections import project
from bargein.protocol.state import fold
from tests import contract
from tests.e2e.apps.obedient import order, vendor_obeys
from tests.e2e.apps.till import Till
from tests.e2e.harness import world
from tests.e2e.process import server_process
from tests.e2e.scripts import BRIEF, FOR_EVER, by_words
from tests.fakes.tokens import SECRET, SHARED, soon
from tests.network.proxy import drawn, proxied
from tests.scale import scaled
from tests.sdk.node import HERE, Program, program, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")

CONFIRMS = scaled(200)
BY_SECRET = Auth(secret=Secret(SECRET))


@frozen
class User:
    """A session of the SDK in a Node process."""

    node: Program

    async def ask(self, do: str, **question: Any) -> Any:
        return await self.node.ask(do=do, **question)

    async def call(self, method: str, *args: Any) -> Any:
        """Call a method of the session; return its result."""
        answer = await self.ask("call", method=method, args=args)
        assert "result" in answer, answer
        return answer["result"]

    async def refused(self, method: str, *args: Any) -> dict[str, Any]:
        answer = await self.ask("call", method=method, args=args)
        return answer["error"]

    async def until(self, event_type: str, count: int = 1, **more: Any) -> dict[str, Any]:
        return await self.ask("until", type=event_type, more=more, count=count)

    async def see(self) -> dict[str, Any]:
        return await self.ask("see")


@asynccontextmanager
async def sdk(port: int, path: str = "/v1/session", **options: Any) -> AsyncGenerator[User]:
    """Run a session of the SDK; `connect` has been asked and answered."""
    url = f"ws://127.0.0.1:{port}{path}"
    async with program(HERE / "user.mjs", url, json.dumps(options)) as node:
        user = User(node)
        answer = await user.ask("connect")
        assert "result" in answer, answer
        yield user


def views_of(frames: list[bytes]) -> dict[str, Any]:
    """Return all projections, as the server computes them."""
    state = fold(decode_event(frame) for frame in frames)
    views = {name: project(state, name) for name in get_args(ProjectionName)}
    return json.loads(msgspec.json.encode(views))


def held(seen: dict[str, Any], stored: list[bytes]) -> None:
    """Hold log and views of the SDK against the server's timeline, as far as it goes."""
    whole = [json.loads(frame) for frame in stored]
    assert seen["log"] == whole[: seen["seq"]]
    for event in whole:
        contract.check_sent(event)
    assert seen["views"] == views_of(stored[: seen["seq"]])


async def test_a_server_that_is_killed_in_mid_answer_is_come_back_to(tmp_path: Path):
    async with server_process(tmp_path) as server, sdk(server.port) as user:
        long = await user.call("say", "Tell me a long story")
        await user.until("model.token", count=5)
        await server.kill()
        await user.ask("begin", method="say", args=["Brief, please"], **{"as": "offline"})
        await server.start()
        answer = await user.ask("answer", **{"as": "offline"})
        turn_id = answer["result"]["turn_id"]
        fault = await user.until("error", turn_id=long["turn_id"])
        assert fault["payload"]["code"] == "server_restarted"
        await user.until("turn.trace", turn_id=turn_id)
        seen = await user.see()
        statuses = [turn["status"] for turn in seen["views"]["transcript"]["turns"]]
        assert statuses == ["failed", "completed"]
        assert seen["counts"]["connections"] == 2
        held(seen, await server.whole(seen["id"]))
        token = fault["payload"]["recover"]["resume_token"]
        again = await user.call("say", "", {"resume": token})
        start = await user.until("turn.start", turn_id=again["turn_id"])
        assert start["payload"]["continues"] == long["turn_id"]


async def test_a_server_that_drains_is_left_and_come_back_to(tmp_path: Path):
    async with server_process(tmp_path) as server, sdk(server.port) as user:
        await user.call("say", "Brief, please")
        await user.until("turn.trace")
        server.terminate()
        assert await server.exit_code() == 0
        await user.ask("begin", method="say", args=["Brief again"], **{"as": "later"})
        await server.start()
        answer = await user.ask("answer", **{"as": "later"})
        await user.until("turn.trace", turn_id=answer["result"]["turn_id"])
        held(seen := await user.see(), await server.whole(seen["id"]))


@pytest.mark.slow
async def test_each_confirm_is_done_once_whatever_the_network_does():
    chance = random.Random("confirms")  # noqa: S311
    till = Till()
    app = till.app()
    limit_s = 60 + 5.0 * CONFIRMS
    async with world(vendor_obeys, app=app, deadline_s=limit_s, heartbeat_s=0.4) as w:
        async with proxied(w.port) as proxy, sdk(proxy.port) as user:
            expected: dict[str, str] = {}
            for number in range(CONFIRMS):
                turn = await user.call("say", order("pay", amount=1, to=f"Ann{number}"))
                proposed = await user.until("action.proposed", turn_id=turn["turn_id"])
                await user.until("turn.trace", turn_id=turn["turn_id"])
                action_id = proposed["payload"]["action_id"]
                proxy.plan(drawn(number, chance))
                proxy.latest.reset()
                which = chance.choice(("confirm", "confirm", "reject"))
                decided = await user.call(which, proposed["payload"]["confirmation_id"])
                assert decided["action_id"] == action_id
                expected[action_id] = "rejected" if which == "reject" else "committed"
                await user.until(f"action.{expected[action_id]}", action_id=action_id)
            seen = await user.see()
        stored = [event.frame for event in await w.timeline(seen["id"])]
        assert seen["views"] == views_of(stored[: seen["seq"]])
    states = {view["action_id"]: view["state"] for view in seen["views"]["actions"]["actions"]}
    assert states == expected
    assert len(till.paid) == len({payment.key for payment in till.paid})
    assert len(till.paid) == list(expected.values()).count("committed") > 0
    assert seen["counts"]["connections"] > CONFIRMS // 2


async def test_what_one_device_confirms_the_other_sees_and_a_watcher_may_not():
    till = Till()
    async with world(vendor_obeys, app=till.app()) as w, sdk(w.port) as phone:
        turn = await phone.call("say", order("pay", amount=7, to="Ann"))
        proposed = await phone.until("action.proposed", turn_id=turn["turn_id"])
        await phone.until("turn.trace", turn_id=turn["turn_id"])
        named = proposed["payload"]["confirmation_id"]
        path = f"/v1/session/{(await phone.see())['id']}"
        async with sdk(w.port, path, role="watch") as watcher, sdk(w.port, path) as laptop:
            assert (await watcher.refused("confirm", named))["code"] == "forbidden"
            await laptop.call("confirm", named, {"args": {"amount": 8, "to": "Bob"}})
            for device in (phone, watcher, laptop):
                await device.until("action.committed")
                (action,) = (await device.see())["views"]["actions"]["actions"]
                assert (action["state"], action["args"]["to"]) == ("committed", "Bob")
            reverted = await phone.call("revert", action["action_id"])
            assert reverted["state"] in ("reverting", "reverted")
            await laptop.until("action.reverted")
    assert [(payment.amount, payment.to) for payment in till.paid] == [(8, "Bob")]
    assert len(till.back) == 1


async def test_after_an_interrupt_the_model_knows_what_was_shown_and_no_more():
    async with world(by_words({"Go": FOR_EVER}, BRIEF)) as w, sdk(w.port) as user:
        turn = await user.call("say", "Go on")
        await user.ask("shows", text="I go on ")
        await user.call("shown", turn["turn_id"], "I go")
        stopped = await user.call("interrupt")
        assert stopped["interrupted"] is True
        (exchange,) = (await user.see())["views"]["transcript"]["turns"]
        assert (exchange["assistant"], exchange["generated"]) == ("I go", "I go on ")
        await user.call("say", "And now?")
        await user.until("turn.trace", count=2)
        asked = w.exchange_about("And now?")
        assert asked is not None
        assert "I go on" not in json.dumps(asked.body["messages"])


async def test_a_token_gets_in_and_a_bad_one_is_told():
    async with world([BRIEF], auth=BY_SECRET) as w:
        good = SHARED.sign("ann", exp=soon())
        async with sdk(w.port, token=good) as user:
            assert (await user.call("authenticate", SHARED.sign("ann", exp=soon()))) is None
            other = SHARED.sign("bob", exp=soon())
            assert (await user.refused("authenticate", other))["code"] == "unauthorized"
        url = f"ws://127.0.0.1:{w.port}"
        async with program(HERE / "user.mjs", url, json.dumps({"token": "no.good.one"})) as node:
            answer = await User(node).ask("connect")
            assert (answer["error"]["name"], answer["error"]["code"]) == ("SessionEnded", 4100)


async def test_a_session_that_is_closed_is_over_and_can_still_be_read():
    async with world([BRIEF]) as w, sdk(w.port) as user:
        await user.call("say", "Hello")
        await user.until("turn.trace")
        assert await user.call("close") is None
        await user.until("session.closed")
        seen = await user.see()
        assert (await user.refused("say", "More"))["code"] in (4102, "stale")
        async with sdk(w.port, f"/v1/session/{seen['id']}") as later:
            again = await later.see()
        assert again["log"] == seen["log"]
        assert again["views"]["session"]["state"] == "closed"
        held(seen, [event.frame for event in await w.timeline(seen["id"])])


async def test_why_nobody_let_it_in_is_told():
    async with world([BRIEF], auth=BY_SECRET) as w:
        options = json.dumps({"connectMs": 300})
        url = f"ws://127.0.0.1:{w.port}"
        async with program(HERE / "user.mjs", url, options) as node:
            answer = await User(node).ask("connect")
            assert "401" in answer["error"]["message"]


async def test_it_runs_on_the_sockets_of_the_platform():
    url_options = json.dumps({"builtIn": True})
    async with world([BRIEF]) as w:
        url = f"ws://127.0.0.1:{w.port}"
        node = program(HERE / "user.mjs", url, url_options, NODE_OPTIONS="--experimental-websocket")
        async with node as running:
            user = User(running)
            assert (await user.ask("connect"))["result"]["protocol"] == "bargein.v1"
            await user.call("say", "Hello")
            await user.until("turn.trace")
            assert (await user.see())["views"]["transcript"]["turns"][0][
                "assistant"
            ] == "Very well."
