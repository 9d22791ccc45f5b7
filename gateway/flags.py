"""The flags of the command line, one for each setting, and how a command fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click

from bargein.gateway.settings import Settings, SettingsError, load_settings, options
from bargein.gateway.settings_options import Option

BAD_CONFIGURATION: Final = 78
STORE_DIED: Final = 70

R = TypeVar("R")


class Verbs(click.Group):
    """The verbs of a command line, of which some are only made when somebody names them.

    A server that starts has no use for the modules of the others.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._later: dict[str, Callable[[], click.Command]] = {}

    def later(self, name: str, made: Callable[[], click.Command]) -> None:
        """Have the verb *name*, which *made* returns."""
        self._later[name] = made

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all verbs."""
        return sorted({*super().list_commands(ctx), *self._later})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the verb of that name, None if there is none."""
        if cmd_name in self._later:
            self.add_command(self._later.pop(cmd_name)(), cmd_name)
        elif cmd_name not in self.commands:  # what there is will be suggested
            for name in tuple(self._later):
                self.get_command(ctx, name)
        return super().get_command(ctx, cmd_name)


class _Flag(click.Option):
    """A setting's flag; what it is for is looked up when somebody wants to read that."""

    def __init__(self, *args: Any, setting: Option, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._setting = setting

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        self.help = self._setting.text
        return super().get_help_record(ctx)


def with_settings(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command a flag for each setting, as the settings declare them."""
    for option in reversed(options()):
        if option.flag is None or not option.flag.startswith("--"):
            continue
        name = option.key.replace(".", "__")
        command = click.option(option.flag, name, cls=_Flag, setting=option, metavar="VALUE")(
            command
        )
    return click.option(
        "--config", type=click.Path(path_type=Path), envvar="BARGEIN_CONFIG", help="A TOML file."
    )(command)


def settings_of(config: Path | None, flags: dict[str, Any], app: str | None = None) -> Settings:
    """Return the settings of a command; exit with 78 if one of them is wrong."""
    return read_first(sources_of(config, flags, app))


def sources_of(
    config: Path | None, flags: dict[str, Any], app: str | None = None
) -> Callable[[], Settings]:
    """Return what reads all settings of a command, with flags and environment as they are now.

    It raises a SettingsError where one of them is wrong.
    """
    given = {key.replace("__", "."): value for key, value in flags.items()}
    return partial(load_settings, {**given, "app": app}, dict(os.environ), config)


def read_first(sources: Callable[[], Settings]) -> Settings:
    """Read the settings of a command before it begins; exit with 78 if one of them is wrong."""
    try:
        return sources()
    except SettingsError as error:
        fail(str(error), BAD_CONFIGURATION)


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong in one line, and exit with *code*."""
    click.echo(f"bargein: {message}", err=True)
    sys.exit(code)


def first_of(error: BaseException) -> str:
    """Return what the first error in a group says; of one that is no group, what it says."""
    inside: tuple[BaseException, ...] = getattr(error, "exceptions", ())
    return first_of(inside[0]) if inside else str(error)


@contextmanager
def until_seen_enough() -> Generator[None]:
    """Let what prints end in peace where whoever reads, such as `head`, has seen enough."""
    try:
        yield
    except* BrokenPipeError:
        # What is still in the buffer would be written at the exit, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
