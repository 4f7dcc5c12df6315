"""Mean and spread from pieces: exact for integers, to rounding for floats, whatever the pieces."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ps3d_core.scan import moments as module
from ps3d_core.scan.moments import Moments, merged, moments_of

INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "int32")
Array = np.ndarray[Any, Any]

integers = hnp.arrays(st.sampled_from(INTEGERS), st.integers(1, 60))
floats = hnp.arrays(
    np.float64, st.integers(1, 60), elements=st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: round(x, 6))
)
cuts = st.lists(st.integers(0, 60), max_size=6).map(sorted)


def by_definition(values: Array) -> tuple[Fraction, Fraction]:
    """Mean and sum of squared deviations, in exact arithmetic."""
    numbers = [Fraction(value) for value in values.ravel().tolist()]
    mean = sum(numbers, Fraction(0)) / len(numbers)
    return mean, sum(((number - mean) ** 2 for number in numbers), Fraction(0))


@given(integers)
def test_integers_are_exact(values: Array) -> None:
    found = moments_of(values)
    assert (found.mean, found.deviations) == by_definition(values)
    assert found.count == values.size


@pytest.mark.parametrize("dtype", INTEGERS)
def test_extremes_do_not_overflow(dtype: str) -> None:
    limits = np.iinfo(dtype)
    values = np.array([limits.min, limits.max] * 5000 + [limits.max], dtype)
    assert (moments_of(values).mean, moments_of(values).deviations) == by_definition(values)


@given(integers, cuts)
def test_integers_do_not_depend_on_the_pieces(values: Array, where: list[int]) -> None:
    assert merged(map(moments_of, np.split(values, where))) == moments_of(values)


@given(floats, cuts)
def test_floats_depend_on_the_pieces_by_rounding_only(values: Array, where: list[int]) -> None:
    whole, pieces = moments_of(values), merged(map(moments_of, np.split(values, where)))
    scale = float(np.abs(values).max()) or 1.0
    assert pieces.count == whole.count
    assert float(pieces.mean) == pytest.approx(float(whole.mean), abs=1e-14 * scale)
    assert float(pieces.deviations) == pytest.approx(float(whole.deviations), rel=1e-10, abs=1e-12 * scale**2)


@given(st.lists(integers | floats, min_size=3, max_size=3))
def test_merging_is_associative_and_commutative(parts: list[Array]) -> None:
    a, b, c = map(moments_of, parts)
    scale = max(float(np.abs(part.astype(np.float64)).max()) for part in parts) or 1.0
    one = (a + b) + c
    for other in (a + (b + c), c + (b + a)):
        assert one.count == other.count
        assert float(one.mean) == pytest.approx(float(other.mean), abs=1e-13 * scale)
        assert float(one.deviations) == pytest.approx(float(other.deviations), rel=1e-10, abs=1e-11 * scale**2)


@pytest.mark.parametrize("dtype", [*INTEGERS, ">u2", ">f4", "int64", "uint64", "float16", "float32", "float64"])
def test_every_dtype_as_numpy(dtype: str) -> None:
    values = np.random.default_rng(3).integers(0, 120, (9, 40, 31)).astype(dtype)
    found = moments_of(values[:, ::2])
    assert float(found.mean) == pytest.approx(values[:, ::2].mean(dtype=np.float64), rel=1e-12)
    assert found.std == pytest.approx(values[:, ::2].std(dtype=np.float64), rel=1e-12)


def test_a_high_mean_does_not_drown_the_spread() -> None:
    """Where a float64 sum of squares is left with noise."""
    values = 1e9 + np.random.default_rng(0).normal(0, 1e-3, 600_000)
    mean, deviations = by_definition(values[:3000])
    assert float(moments_of(values[:3000]).deviations) == pytest.approx(float(deviations), rel=1e-6)
    assert moments_of(values).std == pytest.approx(float((values - 1e9).std()), rel=1e-6)
    assert float(moments_of(values[:3000]).mean) == pytest.approx(float(mean), rel=1e-15)


def test_more_than_fit_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_INTEGERS", 1000)
    values = np.random.default_rng(1).integers(0, 2**16, 4321).astype(np.uint16)
    assert (moments_of(values).mean, moments_of(values).deviations) == by_definition(values)


@given(integers | floats)
def test_records_come_back_as_they_were(values: Array) -> None:
    found = moments_of(values)
    assert Moments.from_record(json.loads(json.dumps(found.to_record()))) == found


def test_nothing_is_neutral() -> None:
    some = moments_of(np.array([1, 5], np.uint8))
    assert Moments() + some == some + Moments() == some
    assert merged([]) == moments_of(np.zeros(0, np.float32)) == Moments()
    assert (some.mean, some.std) == (3, 2.0)


def test_what_is_not_finite_shows() -> None:
    for bad in (np.nan, np.inf, 1e200):
        assert not np.isfinite(float(moments_of(np.array([1.0, -bad])).deviations))
