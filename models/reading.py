"""Reads an answer to its end, within patience.

Importing this module imports httpx2, which takes a while: see `bargein.models.anthropic`.
"""

from __future__ import annotations

import trio
from attrs import define

from bargein.models.body import Body, BodyBroken
from bargein.models.client import Listener, StreamMalformed, StreamTruncated
from bargein.models.http1 import Framing
from bargein.models.message_stream import MessageStream
from bargein.models.patience import Patience
from bargein.models.sse import EventTooLong, NotHttp


@define(eq=False)
class Reading:
    """The reading of one answer's body.  Lives as long as that takes."""

    answer: Body
    stream: MessageStream
    listener: Listener
    patience: Patience

    async def run(self) -> None:
        """Read to the message's end, within patience.

        Raises:
            ModelError: It took too long, or broke off, or can't be read.
        """
        patience = self.patience
        patience.moves = not self.answer.resumes
        try:
            while True:
                with trio.CancelScope(deadline=patience.deadline_s) as patience.scope:
                    await self._read()
                    return
                late = patience.ended(began=self.stream.began)
                if late is not None:
                    raise late
        except BodyBroken:
            raise StreamTruncated(began=self.stream.began) from None
        except (NotHttp, EventTooLong):
            raise StreamMalformed(began=self.stream.began) from None

    async def _read(self) -> None:
        patience = self.patience
        while not (self.stream.ended or self.answer.ended):
            patience.in_room = True
            await self.listener.room()
            patience.in_room = False
            await self.answer.pour(self._take, self._hurries)
            if not self.stream.ended:
                await trio.lowlevel.checkpoint()  # as neither need wait: a flood would be alone

    def _take(self, raw: bytes, framing: Framing) -> bool:
        room = self.stream.read(raw, framing)
        if self.stream.fed:  # a server can send framing without end
            self.patience.sign_of_life(generating=self.stream.generating)
        return room and not self.stream.ended

    def _hurries(self) -> bool:
        # The user waits for the answer to begin; what follows may come a few at a time.
        return not self.stream.flows
