"""Finds an app by its name: `path.py:name` or `module:name`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

from bargein.agents.app import App
from bargein.agents.assistant import ASSISTANT

DEFAULT_NAME: Final = "app"


class AppNotFound(LookupError):
    """There is no app of that name; mend the name or the file, and start again.

    Attributes:
        spec: What was asked for.
        reason: Why it is not there, in words.
    """

    def __init__(self, spec: str, reason: str) -> None:
        super().__init__(f"no app at {spec!r}: {reason}")
        self.spec = spec
        self.reason = reason


def load_app(spec: str) -> App:
    """Import and return the app at *spec*; without `:name` it is called `app`.

    Called again, it reads the app's own module anew, and leaves what that
    imports as it was.

    Raises:
        AppNotFound: If the file, the module or the name is missing, or is no `App`.
    """
    place, _, name = spec.partition(":")
    module = _module_at(spec, place)
    try:
        app = getattr(module, name or DEFAULT_NAME)
    except AttributeError:
        raise AppNotFound(spec, f"there is no name {name or DEFAULT_NAME!r} in it") from None
    if not isinstance(app, App):
        raise AppNotFound(spec, f"it is of type {type(app).__name__}, not an App")
    return app


def app_named(spec: str | None) -> App:
    """Return the app at *spec*, or the built-in assistant where none is named.

    Raises:
        AppNotFound: As for `load_app`.
    """
    return ASSISTANT if spec is None else load_app(spec)


def file_of(spec: str | None) -> Path | None:
    """Return the file that `app_named` reads; None where there is none, or it can't be told.

    The packages around a module are imported for it.
    """
    place = "" if spec is None else spec.partition(":")[0]
    if place.endswith(".py"):
        return Path(place).resolve()
    try:
        found = importlib.util.find_spec(place)
    except (ImportError, ValueError):
        return None
    return Path(found.origin) if found is not None and found.origin and found.has_location else None


def _module_at(spec: str, place: str) -> ModuleType:
    if not place.endswith(".py"):
        try:
            known = sys.modules.get(place)
            return importlib.reload(known) if known else importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise AppNotFound(spec, f"there is no module {error.name!r}") from error
    path = Path(place).resolve()
    if not path.is_file():
        raise AppNotFound(spec, "there is no such file")
    # A name of its own: an app called `statistics.py` is not the module of that name.
    name = f"bargein_app_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise AppNotFound(spec, "it can't be imported")
    module = importlib.util.module_from_spec(found)
    # Registered while it loads, since the classes in it are looked up by their module.
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        if before is not None:
            sys.modules[name] = before
        raise
    return module
