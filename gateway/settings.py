"""Settings: frozen values, read before anything listens, and again at a SIGHUP.

A setting has up to four sources, of which the later wins: its default here, the table `[bargein]`
of a TOML file, the environment, a flag.  What is wrong with any of them, an overridden one
included, is refused by key and source, with what would be right.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, cast

from attrs import field, frozen

from bargein.gateway.settings_groups import (
    AT_ONCE,
    DAY_S,
    NEXT_TURN,
    NEXT_USE,
    SOON,
    TIERS,
    AnthropicAccess,
    Auth,
    Budgets,
    Limits,
    Logs,
    Quotas,
    RedisAccess,
    Slots,
    Tls,
    Traces,
    setting,
)
from bargein.gateway.settings_kinds import (
    ADDRESS,
    FLAG,
    HOST_NAME,
    NETWORK,
    ORIGIN,
    STORE,
    WORKERS,
    is_loopback,
    is_redis,
    many,
    optional,
    seconds,
    sqlite_path,
    text,
    whole,
)
from bargein.gateway.settings_options import Option, options_of

SECTION: Final = "bargein"
"""The table of a TOML file that is read; others are left to whoever shares the file."""


class SettingsError(Exception):
    """A setting is wrong: nothing was started; mend it and start again (exit code 78).

    Attributes:
        key: The setting's dotted name, or what stands in its place in the source.
        source: Where it was found: a file, an environment variable, the command line.
        reason: What is wrong with it and what would be right; never holds a secret.
    """

    def __init__(self, key: str, source: str, reason: str) -> None:
        super().__init__(f"{key} ({source}): {reason}")
        self.key = key
        self.source = source
        self.reason = reason


@frozen
class Settings:
    """Everything an operator may choose; never changes.  A SIGHUP puts others in their place."""

    host: str = setting("127.0.0.1", ADDRESS)
    """Address to listen on.  One that is not loopback needs auth, and TLS or a proxy with TLS."""

    port: int = setting(8710, whole(0, 65_535, "TCP port"))
    """Port to listen on; 0 lets the system choose one."""

    workers: str = setting("1", WORKERS)
    """Processes that serve together on the port, below one that watches them; `auto` for as many as
    the load asks for.  More than one need a store on Redis; one is watched by nobody."""

    workers_min: int | None = setting(None, optional(whole(1, 10_000, "worker processes")))
    """Fewest of `auto`.  By default 1."""

    workers_max: int | None = setting(None, optional(whole(1, 10_000, "worker processes")))
    """Most of `auto`.  By default as many as there are cores."""

    store: str = setting("sqlite:///bargein.sqlite3", STORE)
    """Where timelines are kept.  By default a file in the working directory.  A Redis has to be one
    that keeps what it has acknowledged; `memory:` forgets everything when the process ends, which
    suits tests and demos only."""

    app: str | None = setting(
        None, optional(text("a module or file, with `:name` where needed")), flag="APP"
    )
    """The app to serve: its agents, tools and policies.  By default the built-in demonstration."""

    origins: tuple[str, ...] = setting((), many(ORIGIN), live=AT_ONCE)
    """Origins whose pages may connect, besides those on loopback."""

    hosts: tuple[str, ...] = setting((), many(HOST_NAME), live=AT_ONCE)
    """Names under which the server may be addressed (`Host`), besides those of loopback."""

    console: bool = setting(default=True, kind=FLAG)
    """Whether the web console is served at `/`.  It holds no secret, and nobody gets in with it who
    would not without."""

    trusted_proxies: tuple[str, ...] = setting((), many(NETWORK), live=AT_ONCE)
    """Networks of the proxies whose `X-Forwarded-For` is believed: limits that count addresses then
    count the client's and not the proxy's."""

    behind_proxy: bool = setting(default=False, kind=FLAG)
    """Whether only a proxy that does TLS can reach the port: it may then listen beyond loopback
    without TLS of its own."""

    model: str = setting("claude-sonnet-5-5", text("the name of a model"))
    """Model that agents use unless they name their own."""

    screenplay: str | None = setting(None, optional(text("a TOML file")))
    """What the scripted model plays where there is no API key.  By default a built-in one."""

    heartbeat_s: float = setting(20.0, seconds(0.01, 3600), live=SOON)
    """Time between pings; below the 30 s after which common proxies drop a silent connection."""

    idle_s: float = setting(60.0, seconds(0, DAY_S), live=NEXT_USE)
    """A session without connections and work leaves memory after this; its timeline stays."""

    grace_s: float = setting(15.0, seconds(0, DAY_S), live=NEXT_USE)
    """A turn runs on this long with no driver attached, then is interrupted."""

    drain_s: float = setting(30.0, seconds(0, DAY_S), live=AT_ONCE)
    """Turns may run on this long when the server is asked to stop."""

    queue_most: int = setting(8, whole(0, 10_000, "queued inputs"), live=AT_ONCE)
    """Inputs of a session that may wait for the running turn; one more gets `busy`."""

    abandon_ms: int = setting(250, whole(1, 60_000, "milliseconds"), live=NEXT_TURN)
    """How long an interrupt waits for a tool to stop before it is given up as `abandoned`."""

    confirm_s: float = setting(120.0, seconds(0.01, DAY_S), live=NEXT_USE)
    """A proposed action that nobody confirmed within this time has expired."""

    retention_days: int = setting(30, whole(0, 36_500, "days"), live=AT_ONCE)
    """A session whose newest event is older is erased; 0 keeps all of them."""

    tiers: dict[str, dict[str, int]] = setting({}, TIERS, live=AT_ONCE)
    """Tiers whose quotas differ from `quotas`, each a table `[bargein.tiers.NAME]`; in a variable
    or a flag they are JSON.  A token names its tier; one that is not here has the usual quotas."""

    model_slots: int | None = setting(None, optional(whole(1, 10**6, "slots")), live=AT_ONCE)
    """Turns that may ask models at the same time; others wait.  With a store on Redis it is for all
    servers of it together, else for this one.  By default any number."""

    limits: Limits = field(factory=Limits)
    quotas: Quotas = field(factory=Quotas)
    tls: Tls = field(factory=Tls)
    auth: Auth = field(factory=Auth)
    anthropic: AnthropicAccess = field(factory=AnthropicAccess)
    logs: Logs = field(factory=Logs)
    budgets: Budgets = field(factory=Budgets)
    traces: Traces = field(factory=Traces)
    redis: RedisAccess = field(factory=RedisAccess)
    slots: Slots = field(factory=Slots)

    @property
    def store_path(self) -> Path | None:
        """The SQLite file, None for another store."""
        path = sqlite_path(self.store)
        return None if path is None else Path(path)

    @property
    def store_on_redis(self) -> bool:
        """Whether the store is on a Redis server."""
        return is_redis(self.store)

    @property
    def supervised(self) -> bool:
        """Whether workers serve, below a process that watches them."""
        return self.workers != "1"

    @property
    def store_is_there(self) -> bool:
        """Whether something may be stored: opening makes a file where there is none."""
        path = self.store_path
        return self.store_on_redis if path is None else path.exists()


@frozen
class _Given:
    """A value that a source gave, already of its kind."""

    key: str
    source: str
    value: Any


@cache
def options() -> tuple[Option, ...]:
    """List every setting, in the order of the class."""
    return tuple(options_of(Settings))


def load_settings(
    flags: Mapping[str, Any], environ: Mapping[str, str], config: Path | None
) -> Settings:
    """Read every source and return the settings.

    Args:
        flags: By dotted key (`limits.tail_events`); None and an empty tuple count as not given.
        environ: Usually `os.environ`; an empty variable counts as not given.
        config: A TOML file that must be there, or None.

    Raises:
        SettingsError: At the first thing that is wrong.  Tell the operator and exit with 78.
    """
    known = {option.key: option for option in options()}
    layers = (
        tuple(_from_file(known, config)) if config else (),
        tuple(_from_environ(known, environ)),
        tuple(_from_flags(known, flags)),
    )
    given = {one.key: one for layer in layers for one in layer}
    settings = _built(known, given)
    _check_together(settings, {key: one.source for key, one in given.items()})
    return settings


def _built(known: Mapping[str, Option], given: Mapping[str, _Given]) -> Settings:
    top: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for key, one in given.items():
        group, _, name = key.rpartition(".")
        (groups.setdefault(group, {}) if group else top)[name] = one.value
    for group, values in groups.items():
        top[group] = known[f"{group}.{next(iter(values))}"].table(**values)
    return Settings(**top)


def _from_file(known: Mapping[str, Option], path: Path) -> Iterator[_Given]:
    source = f"file {path}"
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError("config", source, f"it can't be read: {error.strerror}") from error
    except ValueError as error:  # not in UTF-8, not TOML, or a number beyond all numbers
        raise SettingsError("config", source, f"it is not TOML: {error}") from error
    except RecursionError:  # its trace is as deep as the file
        raise SettingsError("config", source, "it is not TOML: it is nested too deeply") from None
    if not isinstance(document.get(SECTION), dict):
        raise SettingsError(SECTION, source, f"a table [{SECTION}] with the settings is missing")
    for key, value in _leaves(document[SECTION], known):
        option = known.get(key)
        if option is None:
            raise SettingsError(key, source, _unknown(key, known))
        yield _given(option, source, value)


def _leaves(table: Mapping[str, Any], known: Mapping[str, Option]) -> Iterator[tuple[str, Any]]:
    """Walk the table down to settings; a table that is none of ours is one unknown key."""
    groups = {key.partition(".")[0] for key in known if "." in key}
    for key, value in table.items():
        if key in groups and isinstance(value, dict):
            group = cast("dict[str, Any]", value)
            yield from ((f"{key}.{name}", below) for name, below in group.items())
        else:
            yield key, value


def _from_environ(known: Mapping[str, Option], environ: Mapping[str, str]) -> Iterator[_Given]:
    """Read the variables of known settings.

    Others with the prefix are left alone: Kubernetes, for one, makes up `BARGEIN_SERVICE_HOST`
    for a service named bargein.
    """
    for option in known.values():
        if raw := environ.get(option.env):
            yield _given(option, f"environment variable {option.env}", raw, textual=True)


def _from_flags(known: Mapping[str, Option], flags: Mapping[str, Any]) -> Iterator[_Given]:
    for key, raw in flags.items():
        if raw is None or raw == ():
            continue
        option = known.get(key)
        if option is None:
            raise SettingsError(key, "command line", _unknown(key, known))
        if option.flag is None:
            reason = f"a command line shows in the list of processes; set {option.env} instead"
            raise SettingsError(key, "command line", reason)
        yield _given(option, f"command line, {option.flag}", raw, textual=True)


def _given(option: Option, source: str, raw: object, *, textual: bool = False) -> _Given:
    try:
        return _Given(option.key, source, option.kind.parse(raw, textual=textual))
    except ValueError as wrong:
        # The cause is cut off with the kind's: a secret must not reach a traceback.
        raise SettingsError(option.key, source, str(wrong)) from None


def _unknown(key: str, known: Mapping[str, Option]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"there is no such setting{hint}"


def _check_together(settings: Settings, sources: Mapping[str, str]) -> None:
    """Refuse values that are right alone and wrong beside each other."""
    limits = settings.limits
    rows = (
        ("limits.command_bytes", limits.command_bytes, "limits.frame_bytes", limits.frame_bytes),
        ("limits.lagging_events", limits.lagging_events, "limits.tail_events", limits.tail_events),
    )
    for lesser, less, greater, great in rows:
        if less > great:
            blamed = lesser if lesser in sources else greater  # defaults agree: one was given
            reason = f"{lesser} ({less}) must not exceed {greater} ({great})"
            raise SettingsError(blamed, sources[blamed], reason)
    if (settings.tls.certificate is None) != (settings.tls.key is None):
        given, missing = "tls.certificate", "tls.key"
        if settings.tls.certificate is None:
            given, missing = missing, given
        raise SettingsError(given, sources[given], f"{missing} has to be given, too")
    if settings.supervised and not settings.store_on_redis:
        reason = "more than one worker needs a store that they share: set store to redis://…"
        raise SettingsError("workers", sources["workers"], reason)
    if settings.redis.cold_after_s is not None and settings.redis.cold_dir is None:
        reason = "redis.cold_dir has to be given, too"
        raise SettingsError("redis.cold_after_s", sources["redis.cold_after_s"], reason)
    if settings.workers_max is not None and settings.workers_max < (settings.workers_min or 1):
        reason = f"workers_min ({settings.workers_min}) must not exceed workers_max"
        raise SettingsError("workers_max", sources["workers_max"], reason)
    if (reason := _exposed(settings)) is not None:
        raise SettingsError("host", sources["host"], reason)


def _exposed(settings: Settings) -> str | None:
    """Return why other machines may not be served; None if they may, or are not."""
    if is_loopback(settings.host):
        return None
    named = f"{settings.host!r} is not a loopback address (127.0.0.1, ::1, localhost)"
    if not settings.auth.on:
        return f"{named}; without auth no other is served: see auth.secret, auth.jwks"
    if settings.tls.certificate is None and not settings.behind_proxy:
        needed = "tls.certificate and tls.key, or behind_proxy where a proxy does TLS"
        return f"{named}; tokens would go over the network in clear: set {needed}"
    return None
