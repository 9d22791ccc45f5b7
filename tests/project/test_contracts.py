"""The import contracts catch what they are there for, shown on a tree with one planted import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.project.tree import ROOT, pyproject, top_level_packages

SITE = Path(trio.__file__).parents[1]
LIMIT_S = 60

MODULES = (
    "actors/session.py",
    "gateway/connection.py",
    "gateway/routes.py",
    "memory/facts.py",
    "memory/sqlite.py",
    "memory/volatile.py",
    "models/anthropic.py",
    "models/client.py",
    "models/scripted.py",
    "protocol/events.py",
    "protocol/frames.py",
    "server.py",
    "timeline/memory.py",
    "timeline/redis/__init__.py",
    "timeline/redis/connection.py",
    "timeline/redis/link.py",
    "timeline/sqlite.py",
    "timeline/store.py",
    "tools/http_client.py",
    "tools/mcp_client.py",
    "tools/tool.py",
)

RUN = """
import sys
sys.path[:0] = sys.argv[1:3]
from importlinter.cli import lint_imports
sys.exit(lint_imports(config_filename=sys.argv[3], no_cache=True))
"""


def _lint(tree: Path) -> tuple[int, str]:
    """Run the project's contracts on *tree*.

    Without `site`, because the checkout that is under test would be a second part of the same
    namespace package.
    """
    done = subprocess.run(
        [sys.executable, "-S", "-c", RUN, tree / ".dev", SITE, ROOT / "pyproject.toml"],
        cwd=tree,
        check=False,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return done.returncode, done.stdout


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Lay out a tree that keeps every contract."""
    links = tmp_path / ".dev" / "bargein"
    links.mkdir(parents=True)
    for name in top_level_packages():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        (links / name).symlink_to(f"../../{name}")
    (links / "server.py").symlink_to("../../server.py")
    for name in MODULES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "server.py").write_text("import bargein.timeline.sqlite\n", encoding="utf-8")
    (tmp_path / "models" / "anthropic.py").write_text("import anthropic\n", encoding="utf-8")
    (tmp_path / "tools" / "mcp_client.py").write_text("import anyio\nimport mcp\n", "utf-8")
    (tmp_path / "tools" / "http_client.py").write_text("import httpx2\n", encoding="utf-8")
    (tmp_path / "gateway" / "connection.py").write_text(
        "import websockets.trio.server\n", encoding="utf-8"
    )
    for adapter in _on_redis():
        adapter_file = tmp_path / "cluster" / f"{adapter}.py"
        adapter_file.write_text("import bargein.timeline.redis.link\n", encoding="utf-8")
    return tmp_path


def _on_redis() -> set[str]:
    """Name the modules of `cluster/` that may import the store on Redis: each has to."""
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    allowed = [line for contract in contracts for line in contract.get("ignore_imports", ())]
    found = [re.match(r"bargein\.cluster\.(\w+) -> bargein\.timeline\.redis\.", x) for x in allowed]
    return {match[1] for match in found if match}


def test_a_tree_that_keeps_the_contracts_passes(tree: Path):
    code, said = _lint(tree)
    assert "0 broken" in said
    assert code == 0


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("protocol/events.py", "import bargein.actors.session", "Imports run one way"),
        ("actors/session.py", "import bargein.gateway.routes", "Imports run one way"),
        ("timeline/store.py", "import bargein.models.client", "Imports run one way"),
        ("gateway/routes.py", "import bargein.testing", "Imports run one way"),
        (
            "timeline/store.py",
            "import bargein.timeline.sqlite",
            "A store's port knows no adapter, and adapters not each other",
        ),
        (
            "models/client.py",
            "import bargein.models.scripted",
            "A model's port knows no adapter, and adapters not each other",
        ),
        (
            "memory/facts.py",
            "import bargein.memory.volatile",
            "The memory's port knows no adapter, and adapters not each other",
        ),
        ("memory/facts.py", "import bargein.tools.tool", "Imports run one way"),
        (
            "tools/tool.py",
            "import bargein.memory.sqlite",
            "Adapters are chosen by server.py alone",
        ),
        (
            "gateway/routes.py",
            "import bargein.timeline.sqlite",
            "Adapters are chosen by server.py alone",
        ),
        (
            "actors/session.py",
            "def f(): import bargein.models.anthropic",
            "Adapters are chosen by server.py alone",
        ),
        ("models/scripted.py", "import anthropic", "The model SDK is met in models/anthropic.py"),
        (
            "tools/tool.py",
            "import httpx2",
            "What the model SDK speaks through is met in models/",
        ),
        ("tools/tool.py", "import mcp", "The MCP SDK is met in tools/mcp_client.py"),
        ("actors/session.py", "import anyio", "The MCP SDK is met in tools/mcp_client.py"),
        (
            "timeline/store.py",
            "import coredis",
            "The Redis client is met in timeline/redis/connection.py",
        ),
        (
            "gateway/routes.py",
            "import websockets",
            "The WebSocket library is met in the gateway's shell",
        ),
        (
            "protocol/events.py",
            "import trio",
            "The protocol is pure: no trio, no I/O, no clock, no chance",
        ),
        (
            "protocol/events.py",
            "from time import monotonic",
            "The protocol is pure: no trio, no I/O, no clock, no chance",
        ),
    ],
)
def test_a_planted_import_breaks_its_contract(tree: Path, module: str, line: str, contract: str):
    (tree / module).write_text(line + "\n", encoding="utf-8")
    code, said = _lint(tree)
    assert f"{contract} BROKEN" in said
    assert code == 1


def test_a_cycle_between_two_modules_is_found(tree: Path):
    (tree / "protocol" / "events.py").write_text("import bargein.protocol.frames\n", "utf-8")
    (tree / "protocol" / "frames.py").write_text("import bargein.protocol.events\n", "utf-8")
    code, said = _lint(tree)
    assert "No import cycles BROKEN" in said
    assert code == 1
