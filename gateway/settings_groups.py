"""Settings that belong together, one frozen class for each table of the configuration."""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeVar

from attrs import field, fields, frozen

from bargein.actors.slot_queue import WAITING_MOST
from bargein.gateway.secret import Secret
from bargein.gateway.settings_kinds import (
    API_URL,
    COLLECTOR_URL,
    FLAG,
    HMAC_SECRET,
    NETWORK,
    SECRET,
    Kind,
    many,
    optional,
    seconds,
    text,
    whole,
)

T = TypeVar("T")

MIB: Final = 1024 * 1024
DAY_S: Final = 86_400


AT_ONCE: Final = "at once"
SOON: Final = "at once, for what is connected too"
LATER: Final = "for connections that come later"
NEXT_USE: Final = "from the next time it counts, in every session"
NEXT_TURN: Final = "from the next turn, in every session"
COMING: Final = "for sessions that come into memory later"
TOKENS: Final = "for the tokens that come from then on"


def setting(
    default: T, kind: Kind[T], env: str = "", flag: str | None = "", live: str | None = None
) -> T:
    """Declare a setting.

    Args:
        default: Its value where no source gives one.
        kind: What it takes.
        env: Its variable, where that doesn't follow from its key.
        flag: Its flag, in the same way; None where there is none.
        live: For what a SIGHUP changes it, in a running server; None where that takes a restart.
    """
    facts = {"kind": kind, "env": env, "flag": flag, "live": live}
    return field(default=default, validator=kind, metadata=facts)


@frozen
class Limits:
    """How much one client or one process may take.  Beyond it is refused, never grown."""

    command_bytes: int = setting(64 * 1024, whole(1024, 16 * MIB, "bytes"), live=LATER)
    """Largest command; a longer one is answered with `frame_too_large`."""

    frame_bytes: int = setting(256 * 1024, whole(1024, 64 * MIB, "bytes"), live=LATER)
    """Largest WebSocket message; a longer one closes the connection with 1009."""

    commands_per_s: int = setting(20, whole(1, 1_000_000, "commands a second"), live=SOON)
    """Commands that a connection may send, in the long run."""

    commands_burst: int = setting(60, whole(1, 1_000_000, "commands"), live=SOON)
    """Commands that may come at once after a silence."""

    speech_per_s: int = setting(100, whole(1, 1_000_000, "reports a second"), live=SOON)
    """Sound, transcripts, `playback.*` and `ack`, which programs send all the time; counted
    apart."""

    speech_burst: int = setting(200, whole(1, 1_000_000, "reports"), live=SOON)
    """How many of these may come at once after a silence."""

    interrupts_per_s: int = setting(10, whole(1, 1_000_000, "interrupts a second"), live=SOON)
    """Interrupts, confirmations and rejections, counted apart.  An interrupt of a turn that nobody
    has stopped yet always acts."""

    strikes_most: int = setting(10, whole(1, 1_000_000, "strikes"), live=SOON)
    """Bad commands within `strikes_window_s` that close the connection with 4101."""

    strikes_window_s: float = setting(60.0, seconds(0.01, DAY_S), live=SOON)
    """How long a strike is remembered."""

    lagging_events: int = setting(256, whole(1, 1_000_000, "events"), live=SOON)
    """A client this far behind gets its tokens merged, and is told (`lagging`)."""

    lagging_s: float = setting(30.0, seconds(0.01, DAY_S), live=SOON)
    """A client that lags this long is closed with 4001; it loses nothing."""

    stall_s: float = setting(10.0, seconds(0.01, DAY_S), live=SOON)
    """A client that takes no byte for this long is closed with 4001."""

    tail_events: int = setting(4096, whole(1, 1_000_000, "events"), live=COMING)
    """Latest events of a session kept in memory; older ones are read from the store."""

    tail_bytes: int = setting(MIB, whole(1024, 1024 * MIB, "bytes"), live=COMING)
    """The same bound, in bytes; whichever is met first holds."""

    connections_most: int = setting(10_000, whole(1, 1_000_000, "connections"), live=AT_ONCE)
    """Connections of the process; one more is answered with 503, a browser's with 4002."""

    sessions_most: int = setting(10_000, whole(1, 1_000_000, "live sessions"), live=AT_ONCE)
    """Sessions in memory; what would bring in one more is answered as above."""

    memory_bytes: int | None = setting(
        None, optional(whole(16 * MIB, 2**50, "bytes")), live=AT_ONCE
    )
    """Memory that the process may take; over 80 % of it nobody new is let in, and the longest idle
    are sent away with 4002.  By default what its control group or the machine has."""

    handshakes_most: int = setting(200, whole(1, 1_000_000, "handshakes"), live=AT_ONCE)
    """Connections that are not upgraded yet; others wait in the kernel's backlog."""

    handshakes_per_address_most: int = setting(10, whole(1, 1_000_000, "handshakes"), live=AT_ONCE)
    """How many of them one address may have; one more is closed without an answer."""

    uncounted_networks: tuple[str, ...] = setting(
        ("127.0.0.0/8", "::1/128"), many(NETWORK), live=AT_ONCE
    )
    """Networks whose addresses may have any number of handshakes under way, and of bad tokens."""

    handshake_s: float = setting(5.0, seconds(0.01, 3600), live=LATER)
    """From the TCP connection to the answer, TLS included; slower ones are dropped."""


@frozen
class Quotas:
    """How much one principal may use, over all its connections.  They hold where auth is on."""

    connections_most: int = setting(8, whole(1, 1_000_000, "connections"), live=AT_ONCE)
    """Connections of a principal; one more gets `quota_exceeded` and 4002."""

    sessions_most: int = setting(16, whole(1, 1_000_000, "live sessions"), live=AT_ONCE)
    """Its sessions in memory; what would bring in one more is answered as above."""

    new_sessions_per_minute_most: int = setting(
        5, whole(1, 1_000_000, "sessions a minute"), live=AT_ONCE
    )
    """Sessions that it may open within a minute; one more is answered as above."""

    turns_most: int = setting(4, whole(1, 1_000_000, "running turns"), live=AT_ONCE)
    """Its turns that may run at the same time; a `say` that would begin one more is refused."""

    tokens_per_hour_most: int = setting(200_000, whole(1, 10**12, "tokens an hour"), live=AT_ONCE)
    """Tokens of models, read and written, within an hour; after that a `say` is refused.  A turn
    that has begun goes on to its end."""

    timeline_bytes: int = setting(64 * MIB, whole(1024, 2**50, "bytes"), live=AT_ONCE)
    """Size of a session's timeline, after which nothing more may be said in it."""

    rank: int | None = setting(None, optional(whole(0, 10_000, "rank")), live=AT_ONCE)
    """Where `model_slots` are short, turns of a higher rank go first, and those of a lower one may
    be stopped for them, to go on later.  By default 0."""

    weight: int | None = setting(None, optional(whole(1, 10_000, "weight")), live=AT_ONCE)
    """Among turns of one rank, how many that run count as one: who has few for its weight is
    next.  By default 1."""


@frozen
class Slots:
    """How `model_slots` are shared where they are short."""

    aging_s: float = setting(10.0, seconds(0.01, DAY_S), live=AT_ONCE)
    """A turn that waits rises by one rank in this time, so that none waits for ever."""

    preempted_most: int = setting(3, whole(0, 100, "pre-emptions"), live=AT_ONCE)
    """How often a turn may be stopped for those of a higher rank, its continuations included; 0:
    never."""

    waiting_most: int = setting(200, whole(0, WAITING_MOST, "waiting turns"), live=AT_ONCE)
    """Turns that may wait; a `say` of their rank or a lower one gets `overloaded`."""

    wait_s: float = setting(60.0, seconds(0.01, DAY_S), live=AT_ONCE)
    """How long a turn may be expected to wait, by what turns have lasted; beyond, its `say` gets
    `overloaded`."""


_TIER_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""As in a token."""


def _tiers(raw: Any) -> dict[str, dict[str, int]]:
    """Take a table of tables, each of some quotas; ValueError or TypeError for another."""
    known = {part.name: part.metadata["kind"] for part in fields(Quotas)}
    tiers: dict[str, dict[str, int]] = {}
    for tier, quotas in dict(raw).items():
        if not isinstance(tier, str) or not _TIER_NAME.fullmatch(tier):
            raise TypeError
        if not known.keys() >= dict(quotas).keys():
            raise ValueError
        tiers[tier] = {name: known[name].read(most) for name, most in dict(quotas).items()}
    return tiers


TIERS: Final = Kind(
    "a table of tiers, each with any of these: " + ", ".join(part.name for part in fields(Quotas)),
    _tiers,
    json.loads,
)


@frozen
class Logs:
    """What is in the logs.  Secrets never are."""

    pii: bool = setting(default=True, kind=FLAG, live=AT_ONCE)
    """Whether lines may quote what people said and what exceptions say (keys that begin with
    `pii.`)."""


_BUDGET: Final = whole(1, DAY_S * 1000, "milliseconds")


@frozen
class Budgets:
    """How long a turn should take, where its session says nothing else."""

    first_token_ms: int | None = setting(None, optional(_BUDGET), live=NEXT_TURN)
    """From the user's words to the first of the answer, in ms.  A turn that takes longer is told on
    the timeline, and counted; nothing is stopped for it."""

    turn_ms: int | None = setting(None, optional(_BUDGET), live=NEXT_TURN)
    """From the user's words to the end of the work, in ms."""

    cancel_ms: int | None = setting(None, optional(_BUDGET), live=NEXT_TURN)
    """From an interrupt to its `cancel.ack`, in ms."""


@frozen
class Traces:
    """Where spans of turns go, as OpenTelemetry has them.  Needs the extra `bargein[otel]`."""

    endpoint: str | None = setting(None, optional(COLLECTOR_URL), "OTEL_EXPORTER_OTLP_ENDPOINT")
    """Base URL of a collector that takes OTLP over HTTP, such as `http://localhost:4318`; spans go
    to `/v1/traces` below it.  By default nothing is sent."""

    service: str = setting("bargein", text("a name"), "OTEL_SERVICE_NAME")
    """The `service.name` of the spans."""

    queue_most: int = setting(1000, whole(1, 1_000_000, "turns"))
    """Turns whose spans may wait for the collector; beyond that they are dropped, and counted."""


@frozen
class AnthropicAccess:
    """How the model API is reached."""

    api_key: Secret[str] | None = setting(None, optional(SECRET), "ANTHROPIC_API_KEY", flag=None)
    """The key; not taken as a flag, because a process list shows flags."""

    base_url: str | None = setting(None, optional(API_URL), "ANTHROPIC_BASE_URL")
    """Another address for the API, such as a proxy or a fake; by default the SDK's own."""


@frozen
class RedisAccess:
    """How to be let into the Redis that `store` names.  Its user, if any, stands in that URL."""

    password: Secret[str] | None = setting(None, optional(SECRET), flag=None)
    """Its password.  Not taken as a flag, and not in the URL: a process list shows both."""

    password_file: str | None = setting(None, optional(text("a file with a password")))
    """File with that password in one line, where it is not given itself."""

    replicas: int = setting(0, whole(0, 5, "replicas"))
    """How many replicas have to acknowledge what somebody waits for (the end of a turn, a decision,
    an action) before it counts as stored.  `hello.limits.durability` says so."""

    cold_after_s: float | None = setting(None, optional(seconds(1, 3650 * DAY_S)))
    """Events of a session in which nothing has happened for so long are moved from Redis into a
    file in `redis.cold_dir`.  By default none are."""

    cold_dir: str | None = setting(None, optional(text("a directory")))
    """Directory with these files, which all servers of that Redis have to share.  To be named as
    long as there are any."""


@frozen
class Tls:
    """How the port is encrypted.  Without these it is not."""

    certificate: str | None = setting(None, optional(text("a file of certificates in PEM")))
    """The server's certificate, followed by those up to its authority; read again on SIGHUP."""

    key: str | None = setting(None, optional(text("a file with a private key in PEM")))
    """The certificate's private key, without a passphrase; read again on SIGHUP."""


@frozen
class Auth:
    """Whose clients are let in.  Without a key among these, everybody on this machine is."""

    secret: Secret[str] | None = setting(None, optional(HMAC_SECRET), flag=None)
    """Secret shared with whoever signs tokens with HS256; not taken as a flag, because a process
    list shows flags."""

    secret_file: str | None = setting(None, optional(text("a file with a secret")))
    """File with that secret, where it is not given itself.  A new one needs a restart."""

    public_key: str | None = setting(None, optional(text("a file with a public key in PEM")))
    """File with the Ed25519 key that tokens are signed for (EdDSA); read again when it changes."""

    jwks: str | None = setting(None, optional(text("a file with a JSON Web Key Set")))
    """File with public keys (EdDSA, ES256, RS256); read again on SIGHUP and when it changes."""

    issuer: str | None = setting(None, optional(text("the issuer of tokens")), live=TOKENS)
    """The `iss` that a token has to have.  By default any will do."""

    audience: str | None = setting(None, optional(text("a name of this server")), live=TOKENS)
    """The `aud` that a token has to name.  By default a token that names any is refused."""

    revoked: str | None = setting(None, optional(text("a file of revocations")))
    """File of what is revoked, a line each: `sub NAME` or `jti ID`; read again when it changes."""

    leeway_s: float = setting(60.0, seconds(0, 3600), live=TOKENS)
    """By how much the clocks of those who sign may differ: `exp` and `nbf` are late by this."""

    connection_s: float = setting(DAY_S / 2, seconds(0.01, 365 * DAY_S), live=SOON)
    """A connection lasts this long at most, auth or not, and is then closed with 4000."""

    look_s: float = setting(1.0, seconds(0.01, 5), live=AT_ONCE)
    """Time between two looks at files, and at who may still be connected."""

    failures_most: int = setting(10, whole(1, 1_000_000, "failures"), live=AT_ONCE)
    """Bad tokens of one address within `failures_window_s`, after which it gets 429."""

    failures_window_s: float = setting(60.0, seconds(0.01, DAY_S), live=AT_ONCE)
    """How long a bad token is remembered."""

    shut_out_s: float = setting(60.0, seconds(0.01, DAY_S), live=AT_ONCE)
    """How long an address gets 429."""

    @property
    def on(self) -> bool:
        """Whether clients need a token."""
        return (self.secret or self.secret_file or self.public_key or self.jwks) is not None
