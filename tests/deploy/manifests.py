"""What is in deploy/, read."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any, cast

import yaml

from tests.project.tree import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yml"))


def read(path: Path) -> dict[str, Any]:
    """Return the one document of a file."""
    (document,) = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return cast("dict[str, Any]", document)


def compose() -> dict[str, Any]:
    return read(DEPLOY / "compose.yml")


def kubernetes(kind: str) -> dict[str, Any]:
    """Return the manifest of a kind; there is one of each."""
    (found,) = [document for path in KUBERNETES if (document := read(path))["kind"] == kind]
    return found


def pod() -> dict[str, Any]:
    return kubernetes("Deployment")["spec"]["template"]["spec"]


def container() -> dict[str, Any]:
    (found,) = pod()["containers"]
    return found


def unit() -> configparser.ConfigParser:
    """Return the unit of systemd; of a key that is given twice, the last value."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
    parser.read(DEPLOY / "bargein.service", encoding="utf-8")
    return parser


def seconds(text: str) -> float:
    """Return a time of Compose, such as 60s."""
    assert text.endswith("s")
    return float(text.removesuffix("s"))
