"""TLS on the port: the certificate, which may change while the server serves, and the handshake."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final, cast

import structlog
import trio
from attrs import define, field

from bargein.gateway.counters import TLS_FAILED, TLS_RENEWED
from bargein.gateway.sparse_log import SparseLog

READ_LIMIT_S: Final = 5.0
"""Files on a disk that hangs are given up for this time; the certificate of before holds."""

_log: structlog.typing.FilteringBoundLogger = structlog.get_logger(__name__)
_failures: Final = SparseLog(_log)

# As OpenSSL names them; whatever is not here is "other".
_REASONS: Final = {
    "HTTP_REQUEST": "plain_http",
    "HTTPS_PROXY_REQUEST": "plain_http",
    "WRONG_VERSION_NUMBER": "not_tls",
    "UNSUPPORTED_PROTOCOL": "old_version",
    "NO_SHARED_CIPHER": "no_cipher",
    "TLSV1_ALERT_UNKNOWN_CA": "certificate_refused",
    "SSLV3_ALERT_BAD_CERTIFICATE": "certificate_refused",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "certificate_refused",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "certificate_refused",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "certificate_refused",
}


class CertificateInvalid(Exception):
    """The certificate or its key can't be used: mend the files, and start or send SIGHUP again.

    Attributes:
        certificate: Its file.
        key: The key's file.
        reason: What is wrong with one of them.
    """

    def __init__(self, certificate: Path, key: Path, reason: str) -> None:
        super().__init__(f"tls.certificate {certificate} with tls.key {key}: {reason}")
        self.certificate = certificate
        self.key = key
        self.reason = reason


@define(eq=False)
class Certificate:
    """The server's certificate and its key, which new handshakes are given.

    A handshake keeps the certificate that it began with, and a connection outlives it: what is
    read again concerns those who come later.  Lives as long as the listener.

    Attributes:
        context: What the next handshake uses.

    Raises:
        CertificateInvalid: When it is made, and at `renew`.
    """

    _certificate: Path
    _key: Path
    context: ssl.SSLContext = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.context = self._read()

    async def renew(self) -> None:
        """Read both files again; if they can't be used, the old certificate stays.

        Raises:
            CertificateInvalid: The files were changed to something that can't be used, or can't
                be read in `READ_LIMIT_S`.
        """
        try:
            self.context = await self._read_in_time()
        except CertificateInvalid:
            TLS_RENEWED.labels("failed").inc()
            raise
        TLS_RENEWED.labels("renewed").inc()

    async def _read_in_time(self) -> ssl.SSLContext:
        try:
            with trio.fail_after(READ_LIMIT_S):
                return await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        except trio.TooSlowError:
            reason = "it takes too long to read them"
            raise CertificateInvalid(self._certificate, self._key, reason) from None

    def _read(self) -> ssl.SSLContext:
        # A new context each time: OpenSSL would leave a half-changed one if the key did not fit.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols(["http/1.1"])
        for file in (self._certificate, self._key):
            try:
                file.read_bytes()
            except OSError as error:
                reason = f"{file.name} can't be read: {error.strerror}"
                raise CertificateInvalid(self._certificate, self._key, reason) from error
        try:
            # Without a password of our own OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self._certificate, self._key, password="")
        except (OSError, ValueError) as error:  # an SSLError is an OSError
            raise CertificateInvalid(self._certificate, self._key, _why(error)) from error
        return context

    def wrap(self, stream: trio.SocketStream) -> trio.SSLStream[trio.SocketStream]:
        """Return the stream that encrypts what goes over *stream*, before any handshake."""
        return trio.SSLStream(stream, self.context, server_side=True, https_compatible=True)


def _why(error: OSError | ValueError) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not the certificate's"
    return f"not a usable pair in PEM ({reason or error})"


def socket_under(stream: trio.abc.Stream) -> trio.socket.SocketType | None:
    """Return the socket that a stream ends in, encrypted or not; None where there is none."""
    if isinstance(stream, trio.SSLStream):
        stream = cast("trio.SSLStream[trio.abc.Stream]", stream).transport_stream
    return stream.socket if isinstance(stream, trio.SocketStream) else None


async def shake_hands(stream: trio.abc.Stream, address: str) -> None:
    """Do the TLS handshake with a client, if the stream is encrypted.

    What goes wrong is logged and counted here.

    Raises:
        trio.BrokenResourceError: Nothing can be said to the client: close.
        trio.ClosedResourceError: It took too long, and was closed meanwhile.
    """
    if not isinstance(stream, trio.SSLStream):
        return
    try:
        await cast("trio.SSLStream[trio.SocketStream]", stream).do_handshake()
    except trio.BrokenResourceError as error:
        _note_failure(reason_of(error.__cause__), address)
        raise
    except trio.ClosedResourceError:
        _note_failure("stalled", address)
        raise


def reason_of(cause: BaseException | None) -> str:
    """Say in a word why a handshake failed."""
    match cause:
        case ssl.SSLEOFError() | ssl.SSLSyscallError() | None:
            return "cut"
        case ssl.SSLError():
            return _REASONS.get(cause.reason, "other")
        case _:
            return "cut"


def _note_failure(reason: str, address: str) -> None:
    TLS_FAILED.labels(reason).inc()
    _failures.info("tls.failed", reason=reason, address=address)
