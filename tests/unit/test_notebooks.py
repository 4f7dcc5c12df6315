"""The notebooks of the documentation, cell by cell, as a kernel runs them."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))


def run(notebook: Path) -> list[Any]:
    """What the code cells show: the values of their last lines, where these are expressions."""
    content = json.loads(notebook.read_text())
    names: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for number, cell in enumerate(content["cells"]):
        if cell["cell_type"] != "code":
            continue
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        place = f"{notebook.name}, cell {number}"
        exec(compile(tree, place, "exec"), names)
        if isinstance(last, ast.Expr):
            shown.append(eval(compile(ast.Expression(last.value), place, "eval"), names))
    return shown


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_no_outputs_are_kept(notebook: Path) -> None:
    content = json.loads(notebook.read_text())
    assert content["nbformat"] == 4
    for cell in content["cells"]:
        assert cell["cell_type"] == "markdown" or (cell["outputs"], cell["execution_count"]) == ([], None)


def test_segment() -> None:
    segmentation, (shape, dtype, particles), table, contacts, report = run(named("segment"))
    assert "particles in" in repr(segmentation)
    assert (shape, str(dtype)) == ((60, 60, 60), "uint32")
    assert particles == len(table) == 8
    assert len(contacts) > 0
    assert contacts.column_names[:4] == ["label_a", "label_b", "faces", "contact_area_mm2"]
    assert report._repr_html_().startswith("<iframe") or "<html" in report._repr_html_()


def test_measure(capsys: pytest.CaptureFixture[str]) -> None:
    table, meanings = run(named("measure"))[-2:]
    assert table["voxels"].to_pylist() == [1000, 2000, 3360]
    assert table["grey_mean"].to_pylist() == [1000, 2000, 3000]
    assert meanings["voxels"] == "number of voxels"
    assert capsys.readouterr().out.count("\n") == 1


def test_evaluate() -> None:
    line, (f1, iou), worse = run(named("evaluate"))
    assert {*line.tolist()} == {0, 1, 2}
    assert f1 == 1
    assert iou > 0.9
    assert worse == (1, 2, 1, 0)


def named(stem: str) -> Path:
    (notebook,) = (each for each in NOTEBOOKS if each.stem == stem)
    return notebook
