from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import pytest

from bargein.agents.assistant import ASSISTANT
from bargein.agents.loading import AppNotFound, load_app

SOURCE: Final = """\
from bargein.agents.app import Agent, App
app = App("{name}", (Agent("one"),))
other = App("other", (Agent("two"),))
number = 1
"""

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write an app's module; afterwards it was never imported."""

    def write(file: str, source: str = SOURCE.format(name="mine")) -> Path:
        path = tmp_path / file
        path.write_text(source)
        # Set and deleted, so that the end of the test takes away what was imported.
        monkeypatch.setitem(sys.modules, path.stem, ModuleType(path.stem))
        del sys.modules[path.stem]
        importlib.invalidate_caches()
        return path

    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    # Two versions within one second and of one size would be one to the bytecode cache.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return write


def test_a_file_is_loaded_by_its_path(write: Write) -> None:
    path = write("app_of_a_file.py")
    assert load_app(str(path)).name == "mine"
    assert load_app(f"{path}:other").name == "other"


def test_a_module_is_loaded_by_its_name(write: Write) -> None:
    write("app_of_a_module.py")
    assert load_app("app_of_a_module").name == "mine"
    assert load_app("app_of_a_module:other").name == "other"


def test_the_assistant_is_an_app_like_any_other() -> None:
    assert load_app("bargein.agents.assistant:ASSISTANT").name == ASSISTANT.name


@pytest.mark.parametrize("by_path", [True, False])
def test_an_app_that_is_loaded_again_is_read_again(write: Write, by_path: bool) -> None:
    path = write("app_read_again.py")
    spec = str(path) if by_path else path.stem
    assert load_app(spec).name == "mine"
    path.write_text(SOURCE.format(name="mine, mended"))
    assert load_app(spec).name == "mine, mended"


def test_classes_of_a_file_can_be_looked_up(write: Write) -> None:
    load_app(str(write("app_with_classes.py")))
    assert sys.modules["bargein_app_app_with_classes"].__dict__["app"].name == "mine"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("{at}/nowhere.py", "there is no such file"),
        ("{at}/app_with_faults.py:nothing", "there is no name 'nothing' in it"),
        ("{at}/app_with_faults.py:number", "it is of type int, not an App"),
        ("no_such_module_at_all", "there is no module 'no_such_module_at_all'"),
        ("app_that_imports_nothing", "there is no module 'no_such_import'"),
        ("app_with_faults:", None),
    ],
)
def test_what_is_not_there_is_named(write: Write, spec: str, reason: str | None) -> None:
    path = write("app_with_faults.py")
    write("app_that_imports_nothing.py", "import no_such_import\n")
    spec = spec.format(at=path.parent)
    if reason is None:
        assert load_app(spec).name == "mine"
        return
    with pytest.raises(AppNotFound) as raised:
        load_app(spec)
    assert (raised.value.spec, raised.value.reason) == (spec, reason)
    assert str(raised.value) == f"no app at {spec!r}: {reason}"


def test_a_file_that_python_can_not_load_is_no_app(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*args: Any) -> None:
        del args

    monkeypatch.setattr(importlib.util, "spec_from_file_location", nothing)
    with pytest.raises(AppNotFound, match="it can't be imported"):
        load_app(str(write("app_without_loader.py")))
