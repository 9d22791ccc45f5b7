"""The rules of the house that no linter knows, as functions from a source to its offences."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator

MOST_FILE_LINES = 400
MOST_FUNCTION_LINES = 60
NEAR_LINES = 5

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
FORBIDDEN_CALLS = frozenset({"eval", "exec", "compile", "__import__"})
FORBIDDEN_MODULES = frozenset({"pickle", "marshal", "shelve", "dill"})

Rule = Callable[[str], Iterator[int]]
"""Yields the number of each line that breaks the rule."""


def too_long_a_file(source: str) -> Iterator[int]:
    count = len(source.splitlines())
    if count > MOST_FILE_LINES:
        yield count


def too_long_a_function(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if (node.end_lineno or 0) - node.lineno + 1 > MOST_FUNCTION_LINES:
            yield node.lineno


def unfinished(source: str) -> Iterator[int]:
    for number, line in enumerate(source.splitlines(), start=1):
        if UNFINISHED.search(line):
            yield number


def blocking_sleep(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Attribute(value=ast.Name(id="time"), attr="sleep"):
                yield node.lineno
            case ast.ImportFrom(module="time", names=names):
                if any(alias.name == "sleep" for alias in names):
                    yield node.lineno
            case _:
                pass


def _commented_lines(source: str) -> set[int]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0] for token in tokens if token.type == tokenize.COMMENT}


def unexplained_shield(source: str) -> Iterator[int]:
    """A shield outlives a cancel: a comment close by says why, and what bounds it."""
    commented = _commented_lines(source)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.keyword(arg="shield", value=ast.Constant(value=True)):
                line = node.lineno
            case ast.Assign(targets=[ast.Attribute(attr="shield")], value=ast.Constant(value=True)):
                line = node.lineno
            case _:
                continue
        if commented.isdisjoint(range(line - NEAR_LINES, line + NEAR_LINES + 1)):
            yield line


def code_from_data(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in FORBIDDEN_CALLS:
                yield node.lineno
            case ast.Import(names=names):
                if any(alias.name.partition(".")[0] in FORBIDDEN_MODULES for alias in names):
                    yield node.lineno
            case ast.ImportFrom(module=str(module)):
                if module.partition(".")[0] in FORBIDDEN_MODULES:
                    yield node.lineno
            case ast.keyword(arg="shell", value=ast.Constant(value=True)):
                yield node.lineno
            case _:
                pass


def relative_import(source: str) -> Iterator[int]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno


RULES: tuple[Rule, ...] = (
    too_long_a_file,
    too_long_a_function,
    unfinished,
    blocking_sleep,
    unexplained_shield,
    code_from_data,
    relative_import,
)
