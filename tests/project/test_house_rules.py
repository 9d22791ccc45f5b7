from __future__ import annotations

import pytest

from tests.project.house_rules import (
    RULES,
    Rule,
    blocking_sleep,
    code_from_data,
    relative_import,
    too_long_a_file,
    too_long_a_function,
    unexplained_shield,
    unfinished,
)
from tests.project.tree import ROOT, product_files

LONG_FUNCTION = "def f() -> None:\n" + "    pass\n" * 60


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_product_keeps_the_rule(rule: Rule):
    offences = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in product_files()
        for line in rule(path.read_text(encoding="utf-8"))
    ]
    assert offences == []


def test_the_rules_are_held_against_real_files():
    names = {path.relative_to(ROOT).as_posix() for path in product_files()}
    assert {"gateway/settings.py", "protocol/ids.py"} <= names
    assert not any(name.startswith(("tests/", ".")) for name in names)


@pytest.mark.parametrize(
    ("rule", "source", "lines"),
    [
        (too_long_a_file, "x = 1\n" * 401, [401]),
        (too_long_a_file, "x = 1\n" * 400, []),
        (too_long_a_function, LONG_FUNCTION, [1]),
        (too_long_a_function, LONG_FUNCTION.removesuffix("    pass\n"), []),
        (too_long_a_function, "class A:\n" + "    x = 1\n" * 90, []),
        (unfinished, "x = 1\n# TO" + "DO: later\n", [2]),
        (unfinished, "todos = 1\n", []),
        (blocking_sleep, "import time\ntime.sleep(1)\n", [2]),
        (blocking_sleep, "from time import sleep\n", [1]),
        (blocking_sleep, "import trio\ntrio.sleep(1)\n", []),
        (unexplained_shield, "with S(shield=True):\n    pass\n", [1]),
        (unexplained_shield, "# 2 s: the close frame\nwith S(shield=True):\n    pass\n", []),
        (unexplained_shield, "with S(shield=True):  # 2 s: the close frame\n    pass\n", []),
        (unexplained_shield, "# far away\n" + "x = 1\n" * 5 + "s.shield = True\n", [7]),
        (unexplained_shield, "scope.shield = True\n", [1]),
        (unexplained_shield, 'print("# no comment")\nscope.shield = True\n', [2]),
        (code_from_data, "eval('1')\n", [1]),
        (code_from_data, "import pickle\n", [1]),
        (code_from_data, "from pickle import loads\n", [1]),
        (code_from_data, "run('x', shell=True)\n", [1]),
        (code_from_data, "import re\nre.compile('x')\n", []),
        (relative_import, "from . import x\n", [1]),
        (relative_import, "from bargein.protocol import ids\n", []),
    ],
)
def test_a_rule_finds_its_offence_and_no_other(rule: Rule, source: str, lines: list[int]):
    assert list(rule(source)) == lines
