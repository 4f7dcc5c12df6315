"""Program: the page on how far measures are off, out of bodies whose size and shape are known.

    python -m tests.bodies.accuracy      writes it (some minutes)

`tests/unit/test_accuracy.py` makes the columns of small bodies again and holds the page to its limits.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ps3d_core.geometry.spacing import per_axis
from ps3d_core.morphology.measure import shape_of
from ps3d_core.particles.shape import particle_columns
from ps3d_core.particles.voxel_sums import block_sums
from tests.bodies.body import BODIES, Body, along_the_grid, random_turn

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "accuracy-of-measures.md"
BEGIN, END = "<!-- made by python -m tests.bodies.accuracy: {} -->", "<!-- until here: {} -->"

SIZES: Final = {5: 60, 10: 60, 20: 36, 40: 18, 60: 12}
"""Equivalent diameters in voxels, and how many bodies of each kind have it; one in six lies along the grid."""
UNITS: Final = {
    "volume_mm3": "%",
    "diameter_mm": "%",
    "axis_long_mm": "voxels",
    "axis_intermediate_mm": "voxels",
    "axis_short_mm": "voxels",
    "elongation": "1",
    "flatness": "1",
    "surface_area_mm2": "%",
    "sphericity": "1",
    "feret_max_mm": "voxels",
    "feret_max90_mm": "voxels",
    "feret_third_mm": "voxels",
    "feret_min_mm": "voxels",
    "sieve_mm": "voxels",
    "hull_volume_mm3": "%",
    "solidity": "1",
    "corey": "1",
    "roundness": "1",
    "inscribed_diameter_mm": "voxels",
    "pores": "1",
    "pore_volume_mm3": "% of volume",
}
"""In what the error of each measure is told."""
SHARES: Final = {
    "feret_max_mm": "0.5 voxels + 1 %",
    "feret_min_mm": "0.5 voxels + 1 %",
    "sieve_mm": "0.7 voxels",
    "inscribed_diameter_mm": "0.5 voxels + 1 %",
    "solidity": "0.03",
}


class Error(NamedTuple):
    """How much too large measures of one body are, in their units, and its true values in voxels."""

    body: str
    along_grid: bool
    errors: dict[str, float]
    truth: dict[str, float]


def measures_of(mask: npt.NDArray[np.bool_]) -> dict[str, float]:
    """All that the table has about size and shape, in voxels."""
    padded = np.pad(mask, 1).astype(np.uint32)
    sums = block_sums(padded, (0, 0, 0), None)
    core = particle_columns(sums, padded.shape, per_axis(1.0), grey=False)
    return {name: float(core[name][0]) for name in UNITS if name in core} | shape_of(mask)


@cache
def errors_of(size: int) -> tuple[Error, ...]:
    """Errors of all bodies of one size."""
    return tuple(error for body in BODIES for error in _errors(body, size))


def _errors(body: Body, size: int) -> Iterator[Error]:
    rng = np.random.default_rng([zlib.crc32(body.name.encode()), size])
    truth = {name: _scaled(name, value, size) for name, value in body.truth.items()}
    for i in range(SIZES[size]):
        along_grid = i % 6 == 0
        turn = along_the_grid()[i // 6 % 6] if along_grid else random_turn(rng)
        mask = body.voxels(size, turn, rng.uniform(-0.5, 0.5, 3))
        found = measures_of(mask)
        yield Error(body.name, along_grid, {name: _error(name, found[name], truth) for name in UNITS}, truth)


def _scaled(name: str, value: float, size: int) -> float:
    power = {"mm": 1, "mm2": 2, "mm3": 3}.get(name.rpartition("_")[2], 0)
    return value * size**power


def _error(name: str, found: float, truth: dict[str, float]) -> float:
    """Too large by how much, in the unit of the measure."""
    off = found - truth[name]
    return 100 * off / truth[name if UNITS[name] == "%" else "volume_mm3"] if "%" in UNITS[name] else off


def is_within(name: str, error: Error) -> bool:
    """Whether a measure is within the limit that the page tells of."""
    limit = {"solidity": 0.03, "sieve_mm": 0.7}.get(name, 0.5 + 0.01 * error.truth[name])
    return abs(error.errors[name]) <= limit


def size_column(size: int) -> list[str]:
    """One column of the first table: mean error and its scatter, of all bodies."""
    return [_cell(name, errors_of(size)) for name in UNITS]


def share_column(size: int) -> list[str]:
    """One column of the second table: which share of bodies is within the limit."""
    return [_share(name, errors_of(size)) for name in SHARES]


def _cell(name: str, errors: tuple[Error, ...]) -> str:
    values = np.array([each.errors[name] for each in errors])
    digits = 2 if UNITS[name] == "voxels" else 3 if UNITS[name] == "1" else 1
    # Adding 0 turns what rounds to -0 into 0.
    mean, scatter = round(values.mean(), digits) + 0.0, values.std()
    return f"{mean:+.{digits}f} ± {scatter:.{digits}f}"


def _share(name: str, errors: tuple[Error, ...]) -> str:
    return f"{100 * np.mean([is_within(name, each) for each in errors]):.0f} %"


def _table(head: tuple[str, ...], columns: list[list[str]]) -> str:
    rows = [head, ("---",) * len(head), *zip(*columns, strict=True)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def tables() -> dict[str, str]:
    """The tables of the page in Markdown, by their names."""
    names, units = [f"`{name}`" for name in UNITS], list(UNITS.values())
    sizes = tuple(f"{size} voxels" for size in SIZES)
    whole = [errors_of(size) for size in SIZES if size >= 10]
    kinds = {body.name: tuple(e for errors in whole for e in errors if e.body == body.name) for body in BODIES}
    by_body = [[_cell(name, errors) for errors in kinds.values()] for name in UNITS if UNITS[name] != "1"]
    ratios = [[_cell(name, errors) for errors in kinds.values()] for name in UNITS if UNITS[name] == "1"]
    lengths = [f"`{name}` ({UNITS[name]})" for name in UNITS if UNITS[name] != "1"]
    others = [f"`{name}`" for name in UNITS if UNITS[name] == "1"]
    shares = [[_share(name, errors) for errors in kinds.values()] for name in SHARES]
    return {
        "sizes": _table(("measure", "unit", *sizes), [names, units, *map(size_column, SIZES)]),
        "limits": _table(
            ("measure", "within", *sizes),
            [[f"`{name}`" for name in SHARES], list(SHARES.values()), *map(share_column, SIZES)],
        ),
        "limits by body": _table(("body", *(f"`{name}`" for name in SHARES)), [list(kinds), *shares]),
        "lengths by body": _table(("body", *lengths), [list(kinds), *by_body]),
        "ratios by body": _table(("body", *others), [list(kinds), *ratios]),
    }


def page_with(page: str, made: dict[str, str]) -> str:
    """The page with these tables in it."""
    for name, table in made.items():
        begin, end = BEGIN.format(name), END.format(name)
        before, _, rest = page.partition(begin)
        page = f"{before}{begin}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(page_with(PAGE.read_text("utf-8"), tables()), "utf-8")
