"""Correction for the edge: weights by hand, by counting, and on volumes cut out of a large one."""

import numpy as np
import pytest
from size_tables import balls_table

from ps3d_core.granulometry.analysis import size_analysis
from ps3d_core.granulometry.earlier import recorded_window
from ps3d_core.granulometry.edge import EdgeWeights
from ps3d_core.measuring.measure import measure_particles
from ps3d_core.params import SegmentParams
from ps3d_core.particles.window import Window, window_of, with_window
from ps3d_core.record import RunRecord, write_record
from ps3d_core.region.region import Cylinder, HalfSpace, Region
from ps3d_core.size_params import SizeParams
from ps3d_core.store.arrays import create_array
from ps3d_core.store.location import Location

CUBE = Window(shape=(100, 100, 100), spacing=0.01)


def weights_of(window, low, sides, cut=None):
    low, sides = np.asarray(low), np.asarray(sides)
    largest = tuple(int(side) for side in sides.max(axis=0))
    cut = np.zeros(len(low), bool) if cut is None else np.asarray(cut)
    return EdgeWeights(window, largest).of(low, low + sides, cut)


def test_weights_in_a_box_are_one_over_the_share_of_places():
    weights, shares = weights_of(
        CUBE,
        [[5, 5, 5], [5, 5, 5], [0, 5, 5], [1, 1, 1]],
        [[10, 20, 30], [1, 1, 1], [9, 9, 9], [99, 98, 98]],
        [0, 0, 1, 0],
    )
    assert weights[:2] == pytest.approx([100**3 / (89 * 79 * 69), (100 / 98) ** 3])
    assert weights[2] == 0
    assert shares[3] == 0
    assert weights[3] == 0


def test_the_share_of_places_is_what_counting_them_gives():
    window, sides = Window(shape=(9, 8, 7), spacing=1.0), np.array([3, 2, 4])
    places = [(z, y, x) for z in range(-9, 18) for y in range(-8, 16) for x in range(-7, 14)]
    low = np.array(places)
    whole = ((low >= 1) & (low + sides <= np.array(window.shape) - 1)).all(axis=1)
    _, shares = weights_of(window, [[1, 1, 1]], [sides])
    assert shares[0] == pytest.approx(whole.sum() / (9 * 8 * 7))


def cylinder(kind, radius=40.0):
    return Region(cylinders=(Cylinder(kind=kind, centre=(49.5, 49.5), radius=radius),))


def test_in_a_field_of_view_boxes_have_to_lie_inside():
    window = Window(shape=(100, 100, 100), spacing=0.01, region=cylinder("field of view"))
    sides = np.array([[10, 12, 16]])
    weights, shares = weights_of(window, [[45, 44, 42]], sides)
    # Of the disc, eroded by a rectangle, and of z.
    a, b = 11 / 2, 15 / 2
    y = np.linspace(0, 40 - a, 20001)
    free = np.maximum(np.sqrt(1600 - (y + a) ** 2) - b, 0)
    expected = 4 * free.mean() * (40 - a) / (np.pi * 1600) * (100 - 10 - 1) / 100
    assert shares[0] == pytest.approx(expected, rel=0.02)
    assert weights[0] == 1 / shares[0]
    beside, _ = weights_of(window, [[45, 44, 76]], sides)
    assert beside[0] == 0


def test_a_wall_cuts_nothing_but_bounds_where_a_particle_can_be():
    window = Window(shape=(100, 100, 100), spacing=0.01, region=cylinder("wall"))
    sides = np.array([[20, 10, 10]])
    weights, _ = weights_of(window, [[45, 44, 80]], sides)
    assert weights[0] == pytest.approx(100 / (100 - 20 - 1), rel=0.02)


def test_in_any_region_weights_add_up_to_what_there_is():
    generator = np.random.default_rng(0)
    bounds = HalfSpace(kind="given", normal=(0.0, 0.6, 0.8), offset=90.0)
    tilted = Cylinder(kind="field of view", centre=(40.0, 55.0), tilt=(0.1, -0.05), radius=38.0)
    region = Region(cylinders=(tilted,), planes=(bounds,))
    window = Window(shape=(100, 100, 100), spacing=0.01, region=region, margin=(2.0, 2.0, 2.0))
    n = 1_000_000
    sides = generator.integers(2, 25, (n, 3))
    low = generator.integers(-40, 120, (n, 3))
    middle = (low + (sides - 1) / 2).T
    inside = np.all([bound.beyond(tuple(middle)) <= 0 for bound in region.bounds], axis=0)
    inside &= ((middle >= -0.5) & (middle <= 99.5)).all(axis=0)
    cut = (low < 1).any(axis=1) | (low + sides > 99).any(axis=1)
    weights, _ = weights_of(window, low, sides, cut)
    for large in (sides.prod(axis=1) < 1000, sides.prod(axis=1) > 5000):
        assert weights[large].sum() == pytest.approx(inside[large].sum(), rel=0.04)


def packing(side, count, seed):
    """Ellipsoids of log-normal size that do not overlap, the largest first, labels (side, side, side).

    What leaves by one face comes in by the opposite one, so that no place differs from another.
    """
    generator = np.random.default_rng(seed)
    labels, found = np.zeros((side,) * 3, np.uint32), 0
    for diameter in np.sort(np.minimum(11 * np.exp(generator.normal(0, 0.5, count)), 45))[::-1]:
        semi = diameter / 2 * np.array([1.25, 1.0, 0.8])[generator.permutation(3)]
        for _ in range(60):
            centre = generator.uniform(0, side, 3)
            axes = [np.arange(np.floor(c - s), np.ceil(c + s) + 1) for c, s in zip(centre, semi, strict=True)]
            mask = sum(((x - c) / s) ** 2 for x, c, s in zip(np.ix_(*axes), centre, semi, strict=True)) <= 1
            box = np.ix_(*(axis.astype(int) % side for axis in axes))
            here = labels[box]
            if mask.any() and not here[mask].any():
                found += 1
                here[mask] = found
                labels[box] = here
                break
    return labels


def measured(labels, folder):
    place = Location.parse(folder)
    chunks = tuple(min(64, n) for n in labels.shape)
    create_array(place / "labels", labels.shape, np.uint32, chunks=chunks, shards=chunks)[...] = labels
    measure_particles(place / "labels", place / "table", spacing=0.01, work=place / "work")
    return place / "table" / "particles.parquet"


def test_slabs_cut_out_of_a_large_volume_tell_the_numbers_of_the_whole(tmp_path):
    side, thick = 240, 70
    labels = packing(side, 2800, 1)
    sizes = 0.01 * np.cbrt(6 / np.pi * np.bincount(labels.ravel())[1:])
    true = np.quantile(sizes, (0.1, 0.5, 0.9))
    off, inside = {"plain": [], "corrected": []}, {"plain": [], "corrected": []}
    for axis in range(3):
        for start in (0, 85, 170):
            bounds = [slice(0, side - 60)] * 3  # what comes in by the other face would be a second part of a label
            bounds[axis] = slice(start, start + thick)
            found = size_analysis(measured(labels[tuple(bounds)], tmp_path / f"{axis}-{start}"))
            assert found.edge.cut > 100
            corrected = next(each for each in found.edge.distributions if each.weighting == "number")
            for name, each in {"plain": found.of("number"), "corrected": corrected}.items():
                estimates = (each.d10, each.d50, each.d90)
                off[name].append([it.value / value - 1 for it, value in zip(estimates, true, strict=True)])
                inside[name].append([it.low <= value <= it.high for it, value in zip(estimates, true, strict=True)])
    # Intervals of 95 % hold the truth nearly always, those of what is not corrected hardly ever.
    assert (np.sum(inside["corrected"], axis=0) >= 8).all()
    assert (np.sum(inside["plain"], axis=0) <= (0, 1, 6)).all()
    assert (np.mean(off["plain"], axis=0) < -0.035).all()
    assert (np.abs(np.mean(off["corrected"], axis=0)) < 0.02).all()


def test_what_cannot_be_trusted_is_said(tmp_path):
    generator = np.random.default_rng(0)
    few = balls_table(tmp_path / "few.parquet", generator.uniform(0.05, 0.1, 12), window=CUBE)
    assert size_analysis(few).edge.doubts[0].startswith("12 particles were seen whole")
    sizes = np.append(generator.uniform(0.05, 0.1, 400), [0.9])
    sides = np.full((401, 3), 8)
    sides[-1] = 99
    cut = np.arange(401) == 400
    low = np.where(cut[:, None], 0, np.full((401, 3), 20))
    large = balls_table(tmp_path / "large.parquet", sizes, low=low, sides=sides, cut=cut, window=CUBE)
    said = " / ".join(size_analysis(large).edge.doubts)
    assert "1 particles are so large that they could be whole nowhere" in said
    assert "larger than every whole one have" in said
    sides[-1], low[-1] = 80, 5
    heavy = balls_table(tmp_path / "heavy.parquet", sizes, low=low, sides=sides, window=CUBE)
    said = " / ".join(size_analysis(heavy).edge.doubts)
    assert "one particle stands for 146" in said
    assert "as if there were 1 by volume" in said


def test_good_figures_have_no_doubts_and_nothing_cut_changes_little(tmp_path):
    table = balls_table(tmp_path / "t.parquet", np.random.default_rng(0).uniform(0.05, 0.1, 500), window=CUBE)
    found = size_analysis(table)
    assert found.edge.doubts == ()
    for one, other in zip(found.distributions, found.edge.distributions, strict=True):
        assert one.d50.value == pytest.approx(other.d50.value)


def test_without_a_window_nothing_is_corrected_and_that_is_said(tmp_path):
    sizes = np.linspace(0.1, 1, 40)
    bare = balls_table(tmp_path / "bare.parquet", sizes)
    found = size_analysis(bare)
    assert found.edge is None
    assert "does not say how large the scan was" in found.notes[0]
    assert size_analysis(bare, window=CUBE).edge is not None
    masked = balls_table(tmp_path / "m.parquet", sizes, window=CUBE.model_copy(update={"masked": True}))
    assert "a mask bounds the scan" in size_analysis(masked, SizeParams()).notes[0]


def test_the_window_of_a_table_comes_back_and_a_forged_one_is_none():
    import pyarrow as pa

    schema = pa.schema([("label", pa.uint32())])
    window = Window(shape=(3, 4, 5), spacing=(0.02, 0.01, 0.01), region=cylinder("wall"), margin=(1.5, 1.5, 1.5))
    assert window_of(with_window(schema, window)) == window
    assert window_of(schema) is None
    for forged in (
        b"{}",
        b"no json",
        b'{"shape": [0, 1, 1], "spacing": 1}',
        b'{"shape": [1, 1, 1], "spacing": NaN}',
        b"x" * 2_000_000,
    ):
        assert window_of(schema.with_metadata({"ps3d": forged})) is None


def test_results_of_earlier_releases_say_it_in_run_json(tmp_path):
    place, region = Location.parse(tmp_path), cylinder("field of view")
    nothing = {name: {} for name in ("software", "model", "counts", "seconds", "results")}
    known = {"shape": (100, 100, 100), "spacing_mm": 0.01, "region": {"text": "", **region.facts}}
    record = RunRecord(
        scan="ore", fingerprint="", finished="", parameters=SegmentParams(), input=known, grids={"zoom": 0.5}, **nothing
    )
    write_record(place / "run.json", record)
    window = Window(shape=(100, 100, 100), spacing=0.01, region=region, margin=(3.0, 3.0, 3.0))
    assert recorded_window(place / "particles.parquet") == window
    text = (tmp_path / "run.json").read_text()
    (tmp_path / "run.json").write_text(text.replace("0.01", "0.02"))
    assert recorded_window(place / "particles.parquet") is None
    assert recorded_window(place / "elsewhere" / "particles.parquet") is None
