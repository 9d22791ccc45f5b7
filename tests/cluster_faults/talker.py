"""People who talk all the time, and come back to any server whenever they are cut off."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from random import Random

import trio
from attrs import define, field
from trio_websocket import ConnectionClosed, HandshakeError, wrap_client_stream

from bargein.protocol.codec import decode_event
from tests.checker import overlap_differs
from tests.cluster_faults.fleet import Fleet
from tests.e2e.client import MESSAGE_BYTES, Client, Frame, NeverCame, path_of
from tests.e2e.evidence import check_client, check_timeline
from tests.e2e.process import ServerProcess

HANDSHAKE_S = 2.0
PATIENCE_S = 3.0
"""After so long without a frame they believe that their server is gone."""

PAUSE_S = 0.1
BACK_S = 45.0
SHARE_INTERRUPTED = 0.3
_OVER = ("turn.trace", "cancel.ack", "input.dropped")
_LEFT = (OSError, NeverCame, HandshakeError, ConnectionClosed, trio.TooSlowError)


@define(eq=False)
class Life:
    """What was seen of one history of a session, from its first event on.

    Attributes:
        clients: The connections, one after the other.
        answered: The ids of words that were taken, by what was replied.
    """

    epoch: str
    clients: list[Client] = field(factory=list[Client])
    answered: set[str] = field(factory=set[str])

    @property
    def last_seq(self) -> int:
        return max(client.last_seq for client in self.clients)

    @property
    def events(self) -> list[Frame]:
        return [event for client in self.clients for event in client.events]

    def is_over(self, turn_id: str) -> bool:
        return any(event.turn_id == turn_id and event.type in _OVER for event in self.events)

    def check_order(self) -> None:
        """Check that each event came once, in order, over all connections."""
        expected = 1
        for event in self.events:
            assert event.body.get("first_seq", event.seq) == expected, event.text
            expected = event.seq + 1

    def check_alone(self) -> None:
        """Hold a history that was given up later to the rules, as far as it was seen."""
        events = self.events
        if not any("first_seq" in event.body for event in events):
            check_timeline([event.text.encode() for event in events])

    def check_same(self, other: Life) -> None:
        """Check that two stretches of one history have the same events."""
        texts = [[event.text for event in life.events] for life in (self, other)]
        assert overlap_differs(*texts) == []

    def check_against(self, stored: Sequence[bytes]) -> None:
        """Check that all that was seen is stored, and all that was answered done once."""
        assert self.last_seq <= len(stored)
        for event in self.events:
            kept = stored[event.seq - 1].decode()
            assert "first_seq" in event.body or event.text == kept, (event.text, kept)
        for client in self.clients:
            check_client(client, stored)
        events = [decode_event(frame) for frame in stored]
        said = Counter(
            getattr(event.payload, "command_id", None)
            for event in events
            if event.type == "input.text"
        )
        assert [name for name, times in said.items() if times > 1] == []
        assert self.answered - set(said) == set()


@define(eq=False)
class Talker:
    """One of them, with a session of their own.

    Attributes:
        lives: One for each time that all was sent anew, mostly with another epoch.
        turns: How many turns they have seen end.
        gaps: When they were cut off, and when they were live again, on trio's clock.
    """

    fleet: Fleet
    chance: Random
    name: str
    lives: list[Life] = field(factory=list[Life], init=False)
    turns: int = field(default=0, init=False)
    gaps: list[tuple[float, float]] = field(factory=list[tuple[float, float]], init=False)
    refusals: Counter[str] = field(factory=Counter[str], init=False)
    client: Client | None = field(default=None, init=False)
    _asked: str | None = field(default=None, init=False)
    _said: int = field(default=0, init=False)
    _enough: bool = field(default=False, init=False)
    _ended: trio.Event = field(factory=trio.Event, init=False)

    @property
    def session_id(self) -> str:
        return self.lives[0].clients[0].session_id

    async def run(self) -> None:
        """Talk until `finish`."""
        content = False
        while not content:
            client = self.client = await self._come_back()
            with suppress(NeverCame, ConnectionClosed):
                await self._talk(client)
                content = True
            left_s = trio.current_time()
            await client.cut()
            self.gaps.append((left_s, float("inf")))
        self._ended.set()

    async def finish(self) -> None:
        """Let them stop talking at the end of a turn that they have seen whole."""
        self._enough = True
        with trio.fail_after(2 * BACK_S):
            await self._ended.wait()

    async def cut(self) -> None:
        """Drop their connection, wherever it is."""
        if self.client is not None:
            await self.client.cut()

    # --- talking --------------------------------------------------------------------------

    async def _talk(self, client: Client) -> None:
        """Have one turn after the other, until it is enough."""
        while True:
            turn_id = await self._say(client)
            if turn_id is not None and not self.lives[-1].is_over(turn_id):
                await self._listen(client, turn_id)
            if turn_id is not None:
                self.turns += 1
                if self._enough:
                    return

    async def _say(self, client: Client) -> str | None:
        """Say something, or again what was not answered; None where it was refused."""
        if self._asked is None:
            self._said += 1
            self._asked = f"{self.name}.{self._said}"
        since, command_id = len(client.frames), self._asked
        text = "Brief, please" if self._enough or self._said % 4 == 0 else "A story"
        busy = "interrupt" if self._said % 3 == 0 else "queue"
        await client.send("say", id=command_id, text=text, when_busy=busy)

        def is_answer(frame: Frame) -> bool:
            return frame.type in ("reply", "error") and not frame.is_event

        answer = await client.until(
            is_answer, since=since, within_s=PATIENCE_S, command_id=command_id
        )
        if answer.type == "reply":
            self.lives[-1].answered.add(command_id)
            self._asked = None
            return answer["result"]["turn_id"]
        self.refusals[answer["error"]["code"]] += 1
        await trio.sleep(PAUSE_S)
        return None

    async def _listen(self, client: Client, turn_id: str) -> None:
        if self.chance.random() < SHARE_INTERRUPTED:
            await self._until(client, turn_id, (*_OVER, "model.token"))
            if not self.lives[-1].is_over(turn_id):
                await client.send("interrupt")
        await self._until(client, turn_id, _OVER)

    async def _until(self, client: Client, turn_id: str, types: tuple[str, ...]) -> None:
        """Wait for such an event of the turn, as long as anything comes."""

        def is_it(frame: Frame) -> bool:
            return frame.is_event and frame.type in types and frame.turn_id == turn_id

        while True:
            count = len(client.frames)
            try:
                await client.until(is_it, within_s=PATIENCE_S)
            except NeverCame:
                if client.closed.is_set() or len(client.frames) == count:
                    raise
            else:
                return

    # --- coming back ----------------------------------------------------------------------

    async def _come_back(self) -> Client:
        """Attach at any server, as often as it takes."""
        refused: list[str] = []
        with trio.move_on_after(BACK_S):
            while True:
                server = self.chance.choice(self.fleet.places).server
                try:
                    client = await self._attached(server)
                except _LEFT as error:
                    refused.append(f"{trio.current_time():.1f} {error!r}"[-600:])
                    await trio.sleep(PAUSE_S)
                else:
                    if self.gaps:
                        self.gaps[-1] = (self.gaps[-1][0], trio.current_time())
                    return client
        raise AssertionError("\n".join([f"{self.name} never came back", *refused[-5:]]))

    async def _attached(self, server: ServerProcess) -> Client:
        session_id, query = None, {}
        if self.lives:
            session_id = self.session_id
            query = {"after": self.lives[-1].last_seq, "epoch": self.lives[-1].epoch}
        client = await self._dialled(server, path_of(session_id, query))
        try:
            first = await client.until(lambda _: True, within_s=HANDSHAKE_S)
            if first.type == "hello":
                self._note(client)
            live = await client.until("live", within_s=PATIENCE_S)
            await client.until("session.attached", since=live.place, within_s=PATIENCE_S)
        except BaseException:
            await client.cut()
            raise
        return client

    async def _dialled(self, server: ServerProcess, path: str) -> Client:
        """Open a connection; a server that was killed or stopped meanwhile says nothing."""
        with trio.fail_after(HANDSHAKE_S):
            stream = await trio.open_tcp_stream("127.0.0.1", server.port)
            try:
                socket = await wrap_client_stream(
                    self.fleet.nursery,
                    stream,
                    f"127.0.0.1:{server.port}",
                    path,
                    subprotocols=["bargein.v1"],
                    message_queue_size=1000,
                    max_message_size=MESSAGE_BYTES,
                )
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
        client = Client(socket)
        self.fleet.nursery.start_soon(client.read)
        return client

    def _note(self, client: Client) -> None:
        """Take a connection to the history that it is of: what it goes on from, or another."""
        hello = client.hello
        if not self.lives:
            self.lives.append(Life(client.epoch))
        elif hello["resumed"]:
            assert client.epoch == self.lives[-1].epoch
            assert hello["replay_from"] == self.lives[-1].last_seq + 1
        else:
            # Nothing is sent again without a loss. A server that doesn't own the session may greet
            # with it before the owner has met it; then that epoch is as good as given up.
            former = self.lives[-1]
            if client.epoch == former.epoch:
                assert former.last_seq > hello["replay_to"], hello.text
            else:
                assert client.epoch not in {life.epoch for life in self.lives}, hello.text
            assert hello["replay_from"] == 1
            self.lives.append(Life(client.epoch))
        self.lives[-1].clients.append(client)

    def story(self) -> list[str]:
        """Return how each of their connections began, and how far it came."""
        return [
            f"{client.hello.text[:300]} … {client.last_seq}, closed with {client.close_code}"
            for life in self.lives[-2:]
            for client in life.clients
        ]

    # --- what was seen --------------------------------------------------------------------

    def check(self, stored: Sequence[bytes]) -> None:
        """Hold all that was ever seen against the timeline as it is now, with no turn open."""
        check_timeline(stored, finished=True)
        for life in self.lives:
            life.check_order()
            if life.epoch == self.lives[-1].epoch:
                life.check_against(stored)
            else:
                life.check_alone()
        for earlier, later in pairwise(self.lives):
            if earlier.epoch == later.epoch:
                earlier.check_same(later)
