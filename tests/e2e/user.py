"""A user of a server process that is killed and started again."""

from __future__ import annotations

from attrs import define, field

from tests.e2e.client import Client, Frame
from tests.e2e.evidence import check_client, check_timeline
from tests.e2e.process import ServerProcess


@define(eq=False)
class User:
    """One user over many connections: what was seen on any of them."""

    server: ServerProcess
    client: Client
    seen: dict[int, Frame] = field(factory=dict[int, Frame])
    earlier: list[Client] = field(factory=list[Client])

    async def come_back(self) -> None:
        """Resume after the server was killed: exactly the suffix, nothing of it known yet."""
        await self.client.closed.wait()
        self.note()
        last = max(self.seen)
        self.earlier.append(self.client)
        self.client = await self.server.back(self.client)
        assert self.client.hello["resumed"] is True
        assert self.client.hello["replay_from"] == last + 1

    def note(self) -> None:
        for event in self.client.events:
            assert event.seq not in self.seen, event.text
            self.seen[event.seq] = event

    def of_turn(self, turn_id: str) -> list[Frame]:
        """What was seen of a turn, on all connections."""
        seen = {**self.seen, **{event.seq: event for event in self.client.events}}
        return [seen[seq] for seq in sorted(seen) if seen[seq].turn_id == turn_id]

    async def check(self) -> None:
        """Hold everything that was ever seen against the timeline as it is now."""
        last_seq = self.client.last_seq
        stored = await self.server.whole(self.client.session_id)
        assert len(stored) >= last_seq
        check_timeline(stored)
        for client in (*self.earlier, self.client):
            check_client(client, stored)
        for seq, event in self.seen.items():
            assert stored[seq - 1] == event.text.encode()


async def users(server: ServerProcess, count: int) -> list[User]:
    return [User(server, await server.attach()) for _ in range(count)]


async def start_turn(user: User, text: str, **fields: object) -> str:
    turn_id = (await user.client.say(text, **fields))["result"]["turn_id"]
    await user.client.until("model.token", turn_id=turn_id)
    return turn_id


async def killed_and_back(server: ServerProcess, everyone: list[User]) -> None:
    await server.kill()
    await server.start()
    for user in everyone:
        await user.come_back()


def failed_with_token(user: User, turn_id: str) -> str:
    """Check that the turn was closed by the restart; return its resume token."""
    events = user.of_turn(turn_id)
    names = [event.type for event in events]
    assert names[-3:] == ["error", "response.end", "turn.trace"], names
    fault, end = events[-3], events[-2]
    assert fault.payload["code"] == "server_restarted"
    assert end.payload["status"] == "failed"
    shown = "".join(e.payload["text"] for e in events if e.type == "model.token")
    assert end.payload["text"] == shown
    return fault.payload["recover"]["resume_token"]
