"""How far measures are off: the page says what is so, and what it says is good enough."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt
from scipy.spatial.transform import Rotation

from tests.bodies.accuracy import BEGIN, END, PAGE, SHARES, UNITS, errors_of, is_within, share_column, size_column
from tests.bodies.body import BODIES, Body, random_turn

SMALL = (5, 10)


def table(name: str) -> list[list[str]]:
    """Cells of a table of the page, below its head."""
    text = PAGE.read_text("utf-8").partition(BEGIN.format(name))[2].partition(END.format(name))[0]
    return [line.strip("| ").split(" | ") for line in text.strip().splitlines()[2:]]


@pytest.mark.parametrize("size", SMALL)
def test_page_has_the_errors_of_today(size: int) -> None:
    column = 2 + SMALL.index(size)
    advice = "python -m tests.bodies.accuracy brings it up to date"
    assert [row[column] for row in table("sizes")] == size_column(size), advice
    assert [row[column] for row in table("limits")] == share_column(size), advice


def test_page_has_all_measures_and_bodies() -> None:
    assert [row[0].strip("`") for row in table("sizes")] == list(UNITS)
    for name in ("limits by body", "lengths by body", "ratios by body"):
        assert [row[0] for row in table(name)] == [body.name for body in BODIES]


def test_page_says_that_most_are_close() -> None:
    shares = {row[0].strip("`"): [float(cell.split()[0]) for cell in row[2:]] for row in table("limits")}
    assert min(shares["feret_max_mm"][1:]) >= 90
    assert min(shares["feret_min_mm"][1:]) >= 95
    assert min(shares["sieve_mm"]) >= 97
    assert min(shares["solidity"][1:]) >= 98
    boxes = [row for row in table("limits by body") if row[0] in ("box", "cube", "plate")]
    sieve = 1 + list(SHARES).index("sieve_mm")
    assert min(float(row[sieve].split()[0]) for row in boxes) >= 97


def test_mean_errors_are_far_below_the_limits() -> None:
    rows = {row[0].strip("`"): row[2:] for row in table("sizes")}
    for name in ("feret_max_mm", "feret_min_mm", "sieve_mm", "inscribed_diameter_mm"):
        means = [float(re.match(r"[+-][\d.]+", cell).group()) for cell in rows[name]]  # type: ignore[union-attr]
        assert max(map(abs, means)) < 0.2, name


def test_a_measure_that_is_off_is_counted_as_such() -> None:
    error = next(each for each in errors_of(10) if each.body == "box")
    near, far = ({**error.errors, "sieve_mm": off} for off in (0.69, -0.71))
    assert is_within("sieve_mm", error._replace(errors=near))
    assert not is_within("sieve_mm", error._replace(errors=far))


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.name)
def test_truths_are_those_of_fine_voxels(body: Body) -> None:
    """Volume, moments, hull and largest ball of a body in 40 voxels, its ferets and holes over random directions."""
    rng = np.random.default_rng(0)
    mask = body.voxels(40, random_turn(rng), np.zeros(3))
    at = np.argwhere(mask) / 40
    truth = body.truth
    assert len(at) / 40**3 == pytest.approx(truth["volume_mm3"], rel=0.02)
    axes = 2 * np.sqrt(5 * np.linalg.eigvalsh(np.cov(at.T, ddof=0)))[::-1]
    expected = [truth[f"axis_{name}_mm"] for name in ("long", "intermediate", "short")]
    assert axes == pytest.approx(expected, rel=0.02)
    along = np.vstack([np.eye(3), rng.standard_normal((20000, 3))])
    widths = body.unit * body.width(along / np.linalg.norm(along, axis=1)[:, None])
    assert widths.max() == pytest.approx(truth["feret_max_mm"], rel=0.01)
    assert widths.min() == pytest.approx(truth["feret_min_mm"], rel=0.04)
    assert truth["solidity"] == pytest.approx(len(at) / 40**3 / truth["hull_volume_mm3"], rel=0.02)
    inside = 2 * distance_transform_edt(mask).max() / 40
    assert inside == pytest.approx(truth["inscribed_diameter_mm"], abs=1.5 / 40)
    pairs = Rotation.random(20000, rng).as_matrix()[:, :2]
    holes = body.unit * body.width(pairs).max(axis=1)
    assert truth["sieve_mm"] - 1e-9 <= holes.min() <= 1.04 * truth["sieve_mm"]
