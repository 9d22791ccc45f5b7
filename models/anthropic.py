"""Claude, through Anthropic's SDK: the one file that names it.

The SDK is imported when it is first needed, in a thread, because that takes about two seconds.
It says what a request's head is and what an error means; the rest is done by ourselves, because
a request is made for every interrupt, and the events of its answer are the hottest loop of the
product.
"""

from __future__ import annotations

import importlib
import json
import ssl
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, Self, cast
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
    StreamTruncated,
)
from bargein.models.message_stream import MessageStream, failed
from bargein.models.patience import Deadlines, Patience
from bargein.models.readers import Readers
from bargein.models.sse import NotHttp

if TYPE_CHECKING:
    import anthropic
    import httpx2

    from bargein.models.body import Body
    from bargein.models.direct import Template

DEFAULT_URL: Final = "https://api.anthropic.com"
CLOSE_S: Final = 2.0
"""How long closing a client may take at the end."""

STREAMS_PER_CLIENT: Final = 200
"""Open streams of one client: the cost per request of the SDK's pool grows with them."""

_OURS: Final = ("direct", "reading")
"""What of our own needs the SDK's HTTP client."""


class _Client(Protocol):
    """Posts a body, and returns that of the answer once its head is in."""

    async def post(self, body: Sequence[bytes]) -> Body: ...

    async def close(self) -> None: ...


@define(eq=False)
class _Shard:
    """One client and how many streams it has open."""

    client: _Client
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
    _template: Template | None = field(default=None, init=False)
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
                await self._shards.pop().client.close()
        self._readers.close()

    async def warm(self) -> None:
        """Import what the first call needs, in a thread: afterwards the event loop never stalls.

        What the SDK sends with each request (key, versions, settings from the environment) is
        asked of it here, once.  Call it when the process starts; a call that comes earlier
        waits for it.
        """
        async with self._warming:
            if not self._warm:
                await trio.to_thread.run_sync(self._import)
                self._template = await self._learned()
                self._warm = True

    async def stream(self, request: ModelRequest, listener: Listener) -> Completion:
        """Ask *request* and let *listener* hear the answer: see `bargein.models.client.Model`.

        Raises:
            ModelError: The answer did not come, or not to its end.
        """
        if not self._warm:
            await self.warm()
        from bargein.models.reading import Reading

        stream = MessageStream(listener)
        patience = Patience.starting_now(self._deadlines)
        posted = encoded(request, self._model)
        try:
            with self._leased() as client:
                answer = await self._answered(client, posted, patience)
                try:
                    await Reading(answer, stream, listener, patience).run()
                    completion = stream.completion()
                    await answer.finish()
                    return completion
                finally:
                    await answer.close()
        except ModelError as error:
            error.usage = stream.usage_so_far()
            raise

    async def _answered(self, client: _Client, posted: Sequence[bytes], patience: Patience) -> Body:
        """Send *posted* and return the answer's body once its head is in."""
        with trio.CancelScope(deadline=patience.deadline_s):
            try:
                return await client.post(posted)
            except Exception as error:
                translated = self._translation(error)
                if translated is error:
                    raise
                raise translated from None
        raise patience.ended(began=False) or StreamTruncated()

    @contextmanager
    def _leased(self) -> Generator[_Client]:
        """Lend the first client that has not too many streams open."""
        for shard in self._shards:
            if shard.streams < STREAMS_PER_CLIENT:
                break
        else:
            shard = _Shard(self._opened())
            self._shards.append(shard)
        shard.streams += 1
        try:
            yield shard.client
        finally:
            shard.streams -= 1

    def _opened(self) -> _Client:
        from bargein.models.direct import Direct
        from bargein.models.transport import Transport

        template = self._template
        if template is None or template.origin is None:
            return _ThroughSdk(self._sdk())
        transport = Transport(
            template.origin,
            self._readers,
            self._ssl_context,
            STREAMS_PER_CLIENT // 4,
            self._deadlines.connect_s,
        )
        return Direct(template, transport)

    async def _learned(self) -> Template | None:
        """Return what all requests have in common; None where the SDK has to send them."""
        import httpx2

        from bargein.models.direct import Capture

        parts = urlsplit(self._url)
        proxies = getproxies()
        if (proxies.get(parts.scheme) or proxies.get("all")) and not proxy_bypass(
            parts.hostname or ""
        ):
            return None  # our connections know no proxies; the SDK's do, at more cost per token
        capture = Capture()
        try:
            async with self._sdk(httpx2.AsyncClient(transport=capture)) as sdk:
                if sdk.custom_auth is not None:
                    return None  # a credential that is asked for at each request
                return await capture.template(partial(_ThroughSdk(sdk).post, (b"{}",)))
        except Exception:  # noqa: BLE001  what is wrong with the settings, each request will say
            return None

    def _sdk(self, http_client: httpx2.AsyncClient | None = None) -> anthropic.AsyncAnthropic:
        import anthropic
        import httpx2

        return anthropic.AsyncAnthropic(
            api_key=self._key,
            base_url=self._url,
            max_retries=0,
            timeout=httpx2.Timeout(self._deadlines.whole_s, connect=self._deadlines.connect_s),
            default_headers={"accept-encoding": "identity"},
            http_client=http_client,
            open_telemetry=False,
        )

    def _translation(self, error: Exception) -> Exception:
        """Return our error for one of a client's, without its text, which may quote anything.

        What is no failure of the vendor or the network is returned as it is.
        """
        import anthropic
        import httpcore2
        import httpx2

        from bargein.models.direct import Refused
        from bargein.models.wire import WireBroken

        match error:
            case Refused():
                return _status_error(_read_by_sdk(error.response))
            case anthropic.APIStatusError():
                return _status_error(error)
            case anthropic.APITimeoutError() | trio.TooSlowError():
                # Connecting is all that the SDK was given a limit for.
                return ModelTimeout("connect", self._deadlines.connect_s)
            case anthropic.APIConnectionError() | WireBroken() | NotHttp() | UnicodeError():
                return ModelUnreachable()  # a UnicodeError is the SDK's, of an error's own text
            case anthropic.AnthropicError():
                return ModelFailed(retryable=False)
            case httpx2.HTTPError() | httpcore2.NetworkError() | httpcore2.ProtocolError():
                return ModelUnreachable()
            case _:
                return error

    def _import(self) -> None:
        for module in (
            "anthropic.resources.messages",
            "bargein.models.direct",
            "bargein.models.reading",
        ):
            importlib.import_module(module)
        if self._url.startswith("https:"):
            import httpx2

            self._ssl_context = httpx2.create_ssl_context()
            self._ssl_context.set_alpn_protocols(["http/1.1"])


@define(eq=False)
class _ThroughSdk:
    """Posts by way of the SDK, for what only that can do."""

    sdk: anthropic.AsyncAnthropic

    async def post(self, body: Sequence[bytes]) -> Body:
        import anthropic
        import httpx2

        from bargein.models.body import PlainBody

        # Not `messages.create`: it goes over the body several times, to copy what is one
        # already.  As bytes it is sent as it is.
        response = await self.sdk.post(
            "/v1/messages",
            cast_to=httpx2.Response,
            content=b"".join(body),
            stream=True,
            stream_cls=anthropic.AsyncStream[Any],
        )
        return PlainBody(cast("httpx2.Response", response))

    async def close(self) -> None:
        await self.sdk.close()


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


def _read_by_sdk(response: httpx2.Response) -> anthropic.APIStatusError:
    """Return the SDK's error for *response*, which has been read."""
    import anthropic

    body: object = None
    with suppress(ValueError, RecursionError):  # whatever it says, its status counts
        body = json.loads(response.text.strip())
    return anthropic.APIStatusError("", response=response, body=body)


def _seconds(header: str | None) -> float | None:
    """Return the seconds that a `retry-after` names; a date, or nonsense, is as good as none."""
    try:
        seconds_s = float(header or "")
    except ValueError:
        return None
    return seconds_s if 0 <= seconds_s < float("inf") else None
