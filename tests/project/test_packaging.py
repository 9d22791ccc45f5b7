from __future__ import annotations

import fnmatch
import os
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest

from bargein.gateway.site import read_site
from tests.project.tree import (
    ROOT,
    packages_in_tree,
    product_files,
    pyproject,
    top_level_packages,
)

SETUPTOOLS = pyproject()["tool"]["setuptools"]
BUILD_LIMIT_S = 120
NEVER_BUILT = (".*", "__pycache__", "*.egg-info", "build", "dist", "node_modules", "*.sqlite3*")


def test_the_package_list_is_the_tree():
    assert set(SETUPTOOLS["packages"]) == packages_in_tree()


def test_every_top_level_package_is_mapped_to_its_directory():
    expected = {"bargein": "."} | {f"bargein.{name}": name for name in top_level_packages()}
    assert SETUPTOOLS["package-dir"] == expected


def test_every_package_is_a_regular_one():
    without = [
        name
        for name in packages_in_tree() - {"bargein"}
        if not ROOT.joinpath(*name.split(".")[1:], "__init__.py").exists()
    ]
    assert without == []


def test_the_root_is_a_namespace_with_server_as_its_only_module():
    assert {path.name for path in ROOT.glob("*.py")} <= {"server.py"}


def test_dev_has_one_relative_link_for_each_package():
    links = {link.name: str(link.readlink()) for link in (ROOT / ".dev" / "bargein").iterdir()}
    names = top_level_packages() | {"server.py"}
    assert links == {name: f"../../{name}" for name in names}


def test_type_checkers_are_told_that_the_packages_are_typed():
    marked = {name for name in top_level_packages() if (ROOT / name / "py.typed").exists()}
    assert marked == top_level_packages()


def _data_files() -> set[str]:
    """What package-data promises, found in the tree by its own patterns."""
    found: set[str] = set()
    for package, patterns in SETUPTOOLS["package-data"].items():
        top = ROOT / SETUPTOOLS["package-dir"][package]
        # The root has folders beside the package, such as node_modules: only those named are seen.
        names = [pattern for pattern in patterns if top == ROOT]
        for path in chain.from_iterable(map(top.glob, names or ["**/*"])):
            inner = path.relative_to(top).as_posix()
            if path.is_file() and any(
                fnmatch.fnmatch(inner, pattern)
                or fnmatch.fnmatch(inner, pattern.removeprefix("**/"))
                for pattern in patterns
            ):
                found.add(f"bargein/{path.relative_to(ROOT).as_posix()}")
    return found


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy, so that nothing is left in the checkout."""
    wanted = pyproject()["build-system"]["requires"][0]
    here = f"setuptools=={metadata.version('setuptools')}"
    assert here == wanted, f"{here} is installed, {wanted} is locked: run `make setup-dev`"
    source = tmp_path_factory.mktemp("source") / "bargein"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*NEVER_BUILT))
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source],
        check=True,
        capture_output=True,
        timeout=BUILD_LIMIT_S,
    )
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    code = {f"bargein/{path.relative_to(ROOT).as_posix()}" for path in product_files()}
    described = {name for name in inside if name.startswith("bargein-0.1.0.dist-info/")}
    assert inside - described == code | _data_files()
    assert {name.partition("/")[2] for name in described} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
        "top_level.txt",
    }


def test_an_installed_wheel_is_one_top_level_name_that_imports(wheel: Path, tmp_path: Path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    site = tmp_path / "site"
    subprocess.run(
        [*pip, "--target", site, wheel], check=True, capture_output=True, timeout=BUILD_LIMIT_S
    )
    names = {path.name for path in site.iterdir()}
    assert names == {"bargein", "bargein-0.1.0.dist-info", "bin"}
    where = subprocess.run(
        [sys.executable, "-c", "import bargein.protocol.ids as ids; print(ids.__file__)"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        timeout=BUILD_LIMIT_S,
    )
    assert where.stdout.strip() == str(site / "bargein" / "protocol" / "ids.py")


SERVED = "from bargein.gateway import site; print(site.__file__, *site.read_site().assets)"


def test_an_installed_wheel_serves_the_console_and_the_sdk(wheel: Path, tmp_path: Path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    said = subprocess.run(
        [sys.executable, "-c", SERVED],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        timeout=BUILD_LIMIT_S,
    )
    where, *served = said.stdout.split()
    assert where == str(tmp_path / "bargein" / "gateway" / "site.py")
    assert {"/", "/sdk/index.js"} <= set(served)
    assert set(served) == set(read_site().assets), "what a checkout serves"
