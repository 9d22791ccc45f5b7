"""What a SIGHUP does: settings, certificate, keys and app are read anew, and nobody is dropped."""

from __future__ import annotations

import signal
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, cast

import structlog
import trio
from attrs import define, evolve, field, frozen

from bargein.gateway.app_renewal import AppRenewal
from bargein.gateway.auth.authority import Authority
from bargein.gateway.counters import SETTINGS_RENEWED
from bargein.gateway.secret import Secret
from bargein.gateway.settings import Settings, SettingsError, options
from bargein.gateway.tls import Certificate, CertificateInvalid

READ_LIMIT_S: Final = 5.0
"""A file on a disk that hangs is given up for this time; what was read before holds."""

_log = structlog.get_logger()


@frozen
class Change:
    """What other settings come to, in a server that runs.

    Attributes:
        settings: What holds from now on: those asked for, as far as they can change.
        renewed: The keys of what changes.
        left: The keys of what was asked for in vain: that takes a restart.
    """

    settings: Settings
    renewed: tuple[str, ...]
    left: tuple[str, ...]


def change_of(now: Settings, wanted: Settings) -> Change:
    """Say what becomes of *now* where *wanted* is asked for."""
    renewed: list[str] = []
    left: list[str] = []
    settings = now
    for option in options():
        value = attrgetter(option.key)(wanted)
        if _plain(value) == _plain(attrgetter(option.key)(now)):
            continue
        if option.live is None:
            left.append(option.key)
            continue
        renewed.append(option.key)
        group, _, name = option.key.rpartition(".")
        own = evolve(getattr(settings, group), **{name: value}) if group else value
        settings = evolve(settings, **{group or name: own})
    return Change(settings, tuple(renewed), tuple(left))


def _plain(value: Any) -> Any:
    # Two secrets are never equal, whatever they hold.
    return cast("Secret[Any]", value).get_secret_value() if isinstance(value, Secret) else value


@define(eq=False)
class Missed:
    """Takes a SIGHUP while the server starts, or ends: it must not end the process."""

    _came: bool = field(default=False, init=False)

    def note(self, _number: int, _frame: object) -> None:
        """Remember that one came; the handler of the signal."""
        self._came = True

    def take(self) -> bool:
        """Say whether one came, and forget it."""
        came, self._came = self._came, False
        return came


@define(eq=False)
class Renewal:
    """Takes SIGHUPs, one after the other.  Lives as long as the server.

    Attributes:
        _now: Returns the settings that hold.
        _read: Reads all sources of settings; may block, and is called in a thread.
        _hold_to: Puts other settings in the place of those that hold, or raises and does nothing.
        _missed: What came before anybody took it.
    """

    _now: Callable[[], Settings]
    _read: Callable[[], Settings]
    _hold_to: Callable[[Settings], None]
    _certificate: Certificate | None
    _authority: Authority | None
    _app: AppRenewal
    _missed: Missed = field(factory=Missed)

    async def run(self) -> None:
        """Renew what can be at each SIGHUP, until cancelled."""
        with trio.open_signal_receiver(signal.SIGHUP) as signals:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(self._app.run)
                if self._missed.take():
                    await self._renew()
                async for _ in signals:
                    await self._renew()

    async def _renew(self) -> None:
        if not await self.renew_settings():
            return
        await self._renew_certificate()
        if self._authority is not None:
            await self._authority.refresh(anyway=True)
        self._app.renew_soon()

    async def renew_settings(self) -> bool:
        """Hold the server to what the sources of its settings say now; return whether it is.

        Either all of them can be used or nothing changes.
        """
        try:
            with trio.fail_after(READ_LIMIT_S):
                wanted = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
            change = change_of(self._now(), wanted)
            self._hold_to(change.settings)
        except SettingsError as wrong:
            _refuse(wrong)
            return False
        except trio.TooSlowError:
            _refuse(SettingsError("config", "its file", "it takes too long to read"))
            return False
        except Exception as error:  # noqa: BLE001 - somebody's file must not end the server
            _log.exception("settings.unreadable")
            _refuse(SettingsError("config", "all of them", type(error).__name__))
            return False
        SETTINGS_RENEWED.labels("renewed").inc()
        _log.info("settings.renewed", keys=change.renewed)
        if change.left:
            _log.warning("settings.not_renewed", keys=change.left, reason="they take a restart")
        return True

    async def _renew_certificate(self) -> None:
        if self._certificate is None:
            return
        try:
            await self._certificate.renew()
        except CertificateInvalid as error:
            _log.error("certificate.not_renewed", reason=error.reason)
        else:
            _log.info("certificate.renewed")


def _refuse(wrong: SettingsError) -> None:
    SETTINGS_RENEWED.labels("failed").inc()
    _log.error("settings.invalid", key=wrong.key, source=wrong.source, reason=wrong.reason)
