"""docs/metrics.md, the alerts and the dashboard, held to the figures that there are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs import metrics_page
from tests.project.tree import ROOT

DOCS = ROOT / "docs"
ALERTS = DOCS / "alerts.yml"
ALERTS_TEST = DOCS / "alerts_test.yml"
BOARD: dict[str, Any] = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))

NOT_OURS = frozenset({"process_start_time_seconds", "up"})
"""What Prometheus and its client library tell by themselves."""

PROMTOOL_LIMIT_S = 60


def alerts() -> list[str]:
    return re.findall(r"- alert: (\w+)", ALERTS.read_text(encoding="utf-8"))


def expressions() -> Iterator[str]:
    for panel in BOARD["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def names_in(text: str) -> frozenset[str]:
    """Return the names of the figures that are asked for."""
    return frozenset(re.findall(r"\b(bargein_\w+)", text))


def promtool(*arguments: str | Path) -> None:
    """Let promtool check something; it is skipped where it is not installed."""
    tool = shutil.which("promtool")
    if tool is None:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is missing: install Debian's package prometheus")
        pytest.skip("promtool (Debian's package prometheus) is not installed")
    done = subprocess.run(
        [tool, *map(str, arguments)], capture_output=True, timeout=PROMTOOL_LIMIT_S, check=False
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()


def test_the_page_has_every_figure_there_is():
    assert metrics_page.PAGE.read_text(encoding="utf-8") == metrics_page.page(), "run `make docs`"


def test_names_follow_the_conventions_of_prometheus():
    for figure in metrics_page.figures():
        name = metrics_page.name_of(figure)
        kind = metrics_page.KINDS[type(figure)]
        assert re.fullmatch(r"bargein_[a-z0-9_]+", name)
        assert name.endswith("_total") == (kind == "counter"), name
        if kind == "histogram":
            assert name.endswith(("_seconds", "_events")), name
        assert figure._documentation.endswith("."), name


def test_the_rules_of_the_alerts_are_sound():
    promtool("check", "rules", ALERTS)


def test_each_alert_fires_when_it_should_and_else_does_not():
    promtool("test", "rules", ALERTS_TEST)
    told = ALERTS_TEST.read_text(encoding="utf-8")
    for alert in alerts():
        assert f"- name: {alert} fires\n" in told
        assert f"- name: {alert} is quiet\n" in told


def test_each_alert_has_a_runbook():
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    rules = ALERTS.read_text(encoding="utf-8")
    assert len(alerts()) == len(set(alerts()))
    for alert in alerts():
        assert f"runbook_url: docs/operations.md#{alert.lower()}\n" in rules
        assert f"\n### {alert}\n" in page
    assert len(re.findall("^ +summary: ", rules, re.MULTILINE)) == len(alerts())
    assert len(re.findall("^ +description: ", rules, re.MULTILINE)) == len(alerts())


def test_alerts_and_their_tests_ask_only_for_figures_that_there_are():
    for path in (ALERTS, ALERTS_TEST):
        names = names_in(path.read_text(encoding="utf-8"))
        assert names - NOT_OURS <= metrics_page.series(), path


def test_the_dashboard_asks_only_for_figures_that_there_are():
    asked = frozenset[str]().union(*map(names_in, expressions()))
    assert asked
    assert asked <= metrics_page.series()


def test_the_dashboard_and_the_alerts_split_figures_by_labels_that_they_have():
    known = {
        metrics_page.name_of(one): metrics_page.labels_of(one) for one in metrics_page.figures()
    }
    texts = [*expressions(), ALERTS.read_text(encoding="utf-8")]
    for selector in re.findall(r"bargein_\w+{[^}]*}", "\n".join(texts)):
        name, _, within = selector.partition("{")
        name = re.sub("_(bucket|sum|count)$", "", name)
        for label in re.findall(r'(\w+)=~?"', within):
            assert label in (*known[name], "job", "instance"), selector


def test_the_expressions_of_the_dashboard_are_sound(tmp_path: Path):
    rules: list[dict[str, str]] = []
    for number, expression in enumerate(expressions()):
        plain = expression.replace("$__rate_interval", "5m").replace("$instance", ".*")
        rules.append({"record": f"panel:{number}", "expr": plain})
    assert len({rule["expr"] for rule in rules}) == len(rules)
    path = tmp_path / "panels.json"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    promtool("check", "rules", path)


def test_the_panels_of_the_dashboard_lie_beside_each_other():
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert cells.isdisjoint(taken), panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    ids = [panel["id"] for panel in BOARD["panels"]]
    assert len(ids) == len(set(ids))
