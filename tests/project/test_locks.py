from __future__ import annotations

import ast
import json
import re
import sys
from importlib import metadata
from itertools import pairwise

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.project.tree import ROOT, product_files, pyproject

LOCKS = ("requirements.lock", "requirements-dev.lock")
PIN = re.compile(r"^(?P<name>[a-z0-9._-]+)==(?P<version>[^\s\\;]+)( ; [^\\]+)? \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")


def _lines(lock: str) -> list[str]:
    return (ROOT / lock).read_text(encoding="utf-8").splitlines()


def _pins(lock: str) -> dict[str, str]:
    found = (PIN.match(line) for line in _lines(lock))
    return {pin["name"]: pin["version"] for pin in found if pin}


def _declared(*groups: list[str]) -> list[Requirement]:
    return [Requirement(line) for group in groups for line in group]


RUNTIME = pyproject()["project"]["dependencies"]
BACKEND = pyproject()["build-system"]["requires"]
OPTIONAL = pyproject()["project"]["optional-dependencies"]
DEV = OPTIONAL["dev"]
EXTRAS = [need for extra, needs in OPTIONAL.items() if extra != "dev" for need in needs]


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_is_pins_hashes_and_comments_only(lock: str):
    odd = [
        line
        for line in _lines(lock)
        if line
        and not line.lstrip().startswith("#")
        and not PIN.match(line)
        and not HASH.match(line)
    ]
    assert odd == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address_and_no_option(lock: str):
    assert [
        line for line in _lines(lock) if "://" in line or re.match(r"#?\s*-[-\w]*=?/", line)
    ] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_in_a_lock_has_a_hash(lock: str):
    lines = _lines(lock)
    bare = [line for line, below in pairwise(lines) if PIN.match(line) and not HASH.match(below)]
    assert len(_pins(lock)) > 20
    assert bare == []


def test_the_runtime_lock_satisfies_what_is_declared():
    pins = _pins("requirements.lock")
    wrong = [
        str(need)
        for need in _declared(RUNTIME, BACKEND)
        if not need.specifier.contains(pins.get(canonicalize_name(need.name), "0"))
    ]
    assert wrong == []


def test_the_dev_lock_satisfies_what_is_declared_for_development():
    pins = _pins("requirements-dev.lock")
    wrong = [
        str(need)
        for need in _declared(RUNTIME, BACKEND, DEV)
        if not need.specifier.contains(pins.get(canonicalize_name(need.name), "0"))
    ]
    assert wrong == []


def test_what_an_extra_brings_is_there_for_the_tests():
    assert set(EXTRAS) <= set(DEV)


def test_tests_run_on_the_versions_that_are_served():
    runtime, dev = _pins("requirements.lock"), _pins("requirements-dev.lock")
    assert runtime.items() <= dev.items()


def test_the_build_backend_is_pinned_exactly():
    assert [str(need.specifier)[:2] for need in _declared(BACKEND)] == ["=="]


def test_the_websocket_library_is_pinned_exactly():
    (need,) = [need for need in _declared(RUNTIME) if need.name == "websockets"]
    assert str(need.specifier) == "==17.4"


def _imported_names() -> set[str]:
    names: set[str] = set()
    for path in product_files():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names) - {"bargein"}


def test_what_the_product_imports_it_declares():
    declared = {canonicalize_name(need.name) for need in _declared(RUNTIME, EXTRAS)}
    provided_by = metadata.packages_distributions()
    undeclared = {
        name
        for name in _imported_names()
        if not declared & {canonicalize_name(dist) for dist in provided_by.get(name, ())}
    }
    assert undeclared == set()


NPM = [("asyncapi", "@asyncapi/specs"), ("browser", "playwright-core"), ("wscat", "wscat")]


@pytest.mark.parametrize(("folder", "tool"), NPM)
def test_the_npm_lock_has_integrity_and_no_address(folder: str, tool: str):
    path = ROOT / "tests" / folder / "package-lock.json"
    lock = json.loads(path.read_text(encoding="utf-8"))
    installed = {name: entry for name, entry in lock["packages"].items() if name}
    assert f"node_modules/{tool}" in installed
    assert all(entry["integrity"].startswith("sha512-") for entry in installed.values())
    assert [name for name, entry in installed.items() if "resolved" in entry] == []
