"""Claude, through Anthropic's SDK: the one file that names it.

The SDK is imported when it is first needed, in a thread, because that takes about two seconds.
It builds and sends the request and reads the head of the response; the events of the body are
read by ourselves, because that is the hottest loop of the product.
"""

from __future__ import annotations

import importlib
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, cast
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import trio
from attrs import define, field

from bargein.models.anthropic_request import encoded
from bargein.models.client import (
    Completion,
    Listener,
    ModelError,
    ModelFailed,
    ModelRequest,
    ModelTimeout,
    ModelUnreachable,
    StreamMalformed,
    StreamTruncated,
)
from bargein.models.message_stream import MessageStream, failed
from bargein.models.patience import Deadlines, Patience
from bargein.models.readers import Readers
from bargein.models.sse import EventTooLong, NotHttp

if TYPE_CHECKING:
    import anthropic

    from bargein.models.body import Body

DEFAULT_URL: Final = "https://api.anthropic.com"
CLOSE_S: Final = 2.0
"""How long closing a client may take at the end."""

STREAMS_PER_CLIENT: Final = 200
"""Open streams of one SDK client: its pool's cost per request grows with them."""


@define(eq=False)
class _Shard:
    """One SDK client and how many streams it has open."""

    sdk: anthropic.AsyncAnthropic
    streams: int = 0


@define(eq=False)
class AnthropicModel:
    """Claude, over Anthropic's Messages API.

    Use it with `async with`, for as long as the process lives.  It never retries: see
    `bargein.models.retry`.
    """

    _key: str = field(repr=False)
    _model: str
    _url: str = field(default=DEFAULT_URL, alias="url", kw_only=True)
    _deadlines: Deadlines = field(factory=Deadlines, alias="deadlines", kw_only=True)
    _shards: list[_Shard] = field(factory=list[_Shard], init=False)
    _ssl_context: ssl.SSLContext | None = field(default=None, init=False)
    _readers: Readers = field(factory=Readers, init=False)
    _warm: bool = field(default=False, init=False)
    _warming: trio.Lock = field(factory=trio.Lock, init=False)

    @property
    def name(self) -> str:
        """Name the model that answers where the request names none."""
        return self._model

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # Bounded: at shutdown a connection that won't close must not hold up the rest.
        with trio.move_on_after(CLOSE_S) as scope:
            scope.shield = True
            while self._shards:
                await self._shards.pop().sdk.close()
        self._readers.close()

    async def warm(self) -> None:
        """Import what the first call needs, in a thread: afterwards the event loop never stalls.

        Call it when the process starts; a call that comes earlier waits for it.
        """
        async with self._warming:
            if not self._warm:
                await trio.to_thread.run_sync(self._import)
                self._warm = True

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        """Ask *request* and let *listener* hear the answer: see `bargein.models.client.Model`.

        Raises:
            ModelError: The answer did not come, or not to its end.
        """
        if not self._warm:
            await self.warm()
        stream = MessageStream(listener)
        patience = Patience.starting_now(self._deadlines)
        posted = encoded(request, self._model)
        try:
            with self._leased() as sdk:
                answer = await self._answered(sdk, posted, patience)
                try:
                    await _Reading(answer, stream, listener, patience).run()
                    completion = stream.completion()
                    await answer.finish()
                    return completion
                finally:
                    await answer.close()
        except ModelError as error:
            error.usage = stream.usage_so_far()
            raise

    async def _answered(
        self, sdk: anthropic.AsyncAnthropic, posted: bytes, patience: Patience
    ) -> Body:
        """Send *posted* and return the answer's body once its head is in."""
        import anthropic
        import httpx2

        from bargein.models.body import body_of

        with trio.CancelScope(deadline=patience.deadline_s), self._translated():
            # Not `messages.create`: it goes over the body several times, to copy what is one
            # already.  As bytes it is sent as it is.
            response = await sdk.post(
                "/v1/messages",
                cast_to=httpx2.Response,
                content=posted,
                stream=True,
                stream_cls=anthropic.AsyncStream[Any],
            )
            return body_of(cast("httpx2.Response", response))
        raise patience.ended(began=False) or StreamTruncated()

    @contextmanager
    def _leased(self) -> Generator[anthropic.AsyncAnthropic]:
        """Lend the first client that has not too many streams open."""
        for shard in self._shards:
            if shard.streams < STREAMS_PER_CLIENT:
                break
        else:
            shard = _Shard(self._opened())
            self._shards.append(shard)
        shard.streams += 1
        try:
            yield shard.sdk
        finally:
            shard.streams -= 1

    def _opened(self) -> anthropic.AsyncAnthropic:
        import anthropic
        import httpx2

        from bargein.models.transport import WireTransport

        parts = urlsplit(self._url)
        proxies = getproxies()
        proxied = bool(proxies.get(parts.scheme) or proxies.get("all")) and not proxy_bypass(
            parts.hostname or ""
        )
        # The wires know no proxies; the SDK's own client does, at more cost per token.
        client = (
            None
            if proxied
            else httpx2.AsyncClient(
                transport=WireTransport(self._readers, self._ssl_context, STREAMS_PER_CLIENT // 4)
            )
        )
        return anthropic.AsyncAnthropic(
            api_key=self._key,
            base_url=self._url,
            max_retries=0,
            timeout=httpx2.Timeout(self._deadlines.whole_s, connect=self._deadlines.connect_s),
            default_headers={"accept-encoding": "identity"},
            http_client=client,
            open_telemetry=False,
        )

    @contextmanager
    def _translated(self) -> Generator[None]:
        """Raise our errors in place of the SDK's, without their texts, which may quote anything."""
        import anthropic
        import httpcore2
        import httpx2

        try:
            yield
        except anthropic.APIStatusError as error:
            raise _status_error(error) from None
        except anthropic.APITimeoutError:
            # Connecting is all that the SDK was given a limit for.
            raise ModelTimeout("connect", self._deadlines.connect_s) from None
        except anthropic.APIConnectionError:
            raise ModelUnreachable from None
        except anthropic.AnthropicError:
            raise ModelFailed(retryable=False) from None
        except (httpx2.HTTPError, httpcore2.NetworkError, httpcore2.ProtocolError):
            raise ModelUnreachable from None

    def _import(self) -> None:
        for module in ("anthropic.resources.messages", "bargein.models.transport"):
            importlib.import_module(module)
        if self._url.startswith("https:"):
            import httpx2

            self._ssl_context = httpx2.create_ssl_context()
            self._ssl_context.set_alpn_protocols(["http/1.1"])


@define(eq=False)
class _Reading:
    """The reading of one answer's body."""

    answer: Body
    stream: MessageStream
    listener: Listener
    patience: Patience

    async def run(self) -> None:
        """Read to the message's end, within patience.

        Raises:
            ModelError: It took too long, or broke off, or can't be read.
        """
        from bargein.models.body import BodyBroken

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
            await self.answer.pour(self._take)
            await trio.lowlevel.checkpoint()  # as neither need wait, and a flood would be alone

    def _take(self, piece: bytes) -> bool:
        room = self.stream.read(piece)
        self.patience.sign_of_life(generating=self.stream.generating)
        return room and not self.stream.ended


def _status_error(error: anthropic.APIStatusError) -> ModelError:
    text = error.api_message
    mapped = failed(
        error.type or "",
        text if isinstance(text, str) else "",
        status=error.status_code,
        retry_after_s=_seconds(error.response.headers.get("retry-after")),
    )
    mapped.request_id = error.request_id
    return mapped


def _seconds(header: str | None) -> float | None:
    """Return the seconds that a `retry-after` names; a date, or nonsense, is as good as none."""
    try:
        seconds_s = float(header or "")
    except ValueError:
        return None
    return seconds_s if 0 <= seconds_s < float("inf") else None
