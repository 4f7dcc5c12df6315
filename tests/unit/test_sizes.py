"""Functions are short and take few arguments: what cannot be said so is two things."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MOST_LINES = 40
MOST_PARAMETERS = 8

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions() -> Iterator[tuple[str, Function]]:
    """Yield every function of the product, with its place."""
    for folder in ("ps3d_core", "flows", "tasks", "deployments"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, Function):
                    yield f"{file.relative_to(ROOT)}:{node.lineno} {node.name}", node


def lines_of(function: Function) -> int:
    """Lines of the body without the docstring."""
    has_text = ast.get_docstring(function) is not None and len(function.body) > 1
    first = function.body[1 if has_text else 0]
    return (function.end_lineno or 0) - first.lineno + 1


def parameters_of(function: Function) -> list[str]:
    given = [each.arg for each in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)]
    return [name for name in given if name not in ("self", "cls")]


def test_no_function_is_longer_than_a_screen() -> None:
    assert not [place for place, function in functions() if lines_of(function) > MOST_LINES]


def test_no_public_function_takes_more_than_a_handful() -> None:
    public = ((place, function) for place, function in functions() if not function.name.startswith("_"))
    assert not [place for place, function in public if len(parameters_of(function)) > MOST_PARAMETERS]
