"""The npm package: its types, what it weighs, and that it installs and compiles elsewhere."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pytest
import trio

from tests.project.tree import ROOT
from tests.sdk import protocol_types
from tests.sdk.node import HERE, SDK, run, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")

MOST_BYTES = 12_000
MOST_LINES = 350
TSC = SDK / "node_modules" / "typescript" / "bin" / "tsc"
OFFLINE = ("--offline", "--ignore-scripts", "--no-audit", "--no-fund")


def test_the_protocols_types_are_those_of_the_contract():
    assert protocol_types.PAGE.read_text(encoding="utf-8") == protocol_types.generated(), (
        "drifted: run python -m tests.sdk.protocol_types"
    )


async def test_the_source_fits_its_types_and_they_are_shipped(tmp_path: Path):
    await run("node", TSC, "-p", SDK, "--outDir", tmp_path)
    shipped = {path.name: path.read_text(encoding="utf-8") for path in (SDK / "types").iterdir()}
    del shipped["protocol.d.ts"]
    made = {path.name: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert shipped == made, "drifted: run npx tsc -p . in sdk/javascript"


async def test_it_weighs_less_than_12_kilobytes(tmp_path: Path):
    bundle = tmp_path / "bargein.js"
    esbuild = SDK / "node_modules" / "esbuild" / "bin" / "esbuild"
    entry = SDK / "src" / "index.js"
    await run("node", esbuild, entry, "--bundle", "--minify", "--format=esm", f"--outfile={bundle}")
    small = len(gzip.compress(bundle.read_bytes(), 9))
    whole = b"".join(path.read_bytes() for path in sorted((SDK / "src").glob("*.js")))
    as_written = len(gzip.compress(whole, 9))
    print(f"{small} bytes minified and gzipped; {as_written} as written, with comments")  # noqa: T201
    assert 2_000 < small < MOST_BYTES


def test_it_needs_nothing_at_run_time_and_its_modules_are_short():
    package = json.loads((SDK / "package.json").read_text(encoding="utf-8"))
    assert not {"dependencies", "peerDependencies", "optionalDependencies"} & set(package)
    sources = {path: path.read_text(encoding="utf-8") for path in (SDK / "src").glob("*.js")}
    assert len(sources) > 10
    for path, source in sources.items():
        assert source.count("\n") <= MOST_LINES, path
        imported = [line for line in source.splitlines() if line.startswith(("import ", "} from"))]
        assert all(' from "./' in line for line in imported), path


def test_the_npm_lock_has_integrity_and_no_address():
    lock = json.loads((SDK / "package-lock.json").read_text(encoding="utf-8"))
    installed = {name: entry for name, entry in lock["packages"].items() if name}
    assert "node_modules/typescript" in installed
    assert all(entry["integrity"].startswith("sha512-") for entry in installed.values())
    assert [name for name, entry in installed.items() if "resolved" in entry] == []


async def packed(there: Path) -> Path:
    """Pack the package and install it in a fresh project; return the project."""
    pack = ("npm", "pack", "--json", "--ignore-scripts", "--pack-destination")
    answer = await run(*pack, there, cwd=SDK)
    (made,) = json.loads(answer)
    inside = {entry["path"] for entry in made["files"]}
    assert {"package.json", "README.md", "LICENSE", "src/index.js", "types/react.d.ts"} <= inside
    assert all(name.startswith(("src/", "types/")) or "/" not in name for name in inside)
    project = there / "project"
    project.mkdir()
    (project / "package.json").write_text('{"name":"fresh","private":true,"type":"module"}')
    await run("npm", "install", *OFFLINE, there / made["filename"], cwd=project)
    return project


@pytest.mark.slow
async def test_what_is_packed_installs_runs_and_compiles_in_a_fresh_project(tmp_path: Path):
    project = await packed(tmp_path)
    (project / "use.js").write_text(
        'import { connect } from "bargein";\n'
        'import { useBargein } from "bargein/react";\n'
        "const options = { WebSocket: class {} };\n"
        'const refused = await connect("ws://example.org", options).catch(String);\n'
        "console.log(typeof useBargein, refused);\n"
    )
    said = await run("node", "use.js", cwd=project)
    assert said.startswith("function AddressRefused: without encryption only to this machine")
    for name in ("user.ts", "react.d.ts"):
        shutil.copy(HERE / name, project / name)
    options = ("--strict", "--noEmit", "--target", "ES2022", "--lib", "ES2023,DOM")
    async with trio.open_nursery() as nursery:
        for module, resolution in (("nodenext", "nodenext"), ("esnext", "bundler")):
            how = ("--module", module, "--moduleResolution", resolution)
            command = ("node", TSC, *options, *how, "user.ts", "react.d.ts")
            nursery.start_soon(lambda command=command: run(*command, cwd=project))


def test_the_licence_is_the_projects():
    assert (SDK / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
