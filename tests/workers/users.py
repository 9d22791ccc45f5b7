"""People who talk to a crew all the time, wherever they have to come back to."""

from __future__ import annotations

import trio
from attrs import define, field
from trio_websocket import ConnectionClosed, HandshakeError, wrap_client_stream

from tests.e2e.client import MESSAGE_BYTES, Client, NeverCame, path_of
from tests.e2e.evidence import check_client, check_timeline
from tests.workers.crew_process import CrewProcess

ATTEMPTS_S = 60.0
HANDSHAKE_S = 5.0
PAUSE_S = 0.05


@define(eq=False)
class User:
    """Talks all the time, and comes back where it was whenever it is sent away.

    Attributes:
        killed: Whether its server may be killed, and not only say goodbye.
        connections: All that it had, one after the other.
    """

    crew: CrewProcess
    killed: bool = False
    connections: list[Client] = field(factory=list[Client], init=False)
    enough: trio.Event = field(factory=trio.Event, init=False)

    @property
    def session_id(self) -> str:
        return self.connections[0].session_id

    def seen(self) -> list[int]:
        """Return the seqs of all events, as they came over all connections."""
        seqs: list[int] = []
        for client in self.connections:
            for event in client.events:
                seqs.extend(range(event.body.get("first_seq", event.seq), event.seq + 1))
        return seqs

    async def talk(self, *, task_status: trio.TaskStatus[None]) -> None:
        client = await self.crew.attach()
        self.connections.append(client)
        task_status.started()
        while not self.enough.is_set():
            try:
                answer = await client.say("Brief, please")
                if answer.type == "reply":
                    await client.until("turn.trace", turn_id=answer["result"]["turn_id"])
                    continue
            except (NeverCame, ConnectionClosed):
                pass
            client = await self.come_back(client)
            self.connections.append(client)

    async def come_back(self, client: Client) -> Client:
        """Attach again, as often as it takes."""
        code = await client.until_closed()
        allowed = (4000, 4003, None, 1006) if self.killed else (4000, 4003)
        assert code in allowed, (code, client.close_reason)
        refused: list[str] = []
        with trio.move_on_after(ATTEMPTS_S):
            while True:
                try:
                    return await attached_again(self.crew, client)
                except (OSError, NeverCame, HandshakeError, trio.TooSlowError) as error:
                    refused.append(str(error)[-300:])
                    await trio.sleep(PAUSE_S)
        raise AssertionError("\n".join([*refused[-3:], self.crew.log[-6000:]]))


async def attached_again(crew: CrewProcess, client: Client) -> Client:
    """Attach to the session where *client* was; who is killed in the handshake says nothing.

    The library then waits for the answer for ever, so each attempt is given up after a while.
    """
    stream = await trio.open_tcp_stream("127.0.0.1", crew.port)
    path = path_of(client.session_id, {"after": client.last_seq, "epoch": client.epoch})
    try:
        with trio.fail_after(HANDSHAKE_S):
            socket = await wrap_client_stream(
                crew.nursery,
                stream,
                f"127.0.0.1:{crew.port}",
                path,
                subprotocols=["bargein.v1"],
                message_queue_size=1000,
                max_message_size=MESSAGE_BYTES,
            )
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    again = Client(socket)
    crew.nursery.start_soon(again.read)
    live = await again.until("live")
    await again.until("session.attached", since=live.place)
    return again


async def check_all(crew: CrewProcess, users: list[User]) -> None:
    """Check that each saw each event once, in order, as it is stored, over all connections."""
    for user in users:
        stored = await crew.whole(user.session_id)
        check_timeline(stored)
        for client in user.connections:
            check_client(client, stored)
        assert user.seen() == list(range(1, user.connections[-1].last_seq + 1))
