"""Voxels that are no cubes: spacings of three numbers, and the same lengths, areas and pictures as on cubes."""

import inspect
import json
import re
from itertools import product
from types import SimpleNamespace

import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter, ValidationError

import ps3d_core as ps3d
from ps3d_app.flows.command.arguments import stated_spacing_mm
from ps3d_app.flows.command.cli import main
from ps3d_app.flows.ingest_scan import ingest_scan
from ps3d_app.flows.retry_scan import corrections
from ps3d_core.contacts.pair_counts import count_pairs_of
from ps3d_core.contacts.table import contact_area
from ps3d_core.engine.block_step import Site
from ps3d_core.engine.step import Outcomes
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Box
from ps3d_core.geometry.resample import Resampler, resample_image
from ps3d_core.geometry.scale import particle_scale
from ps3d_core.geometry.spacing import mean_spacing, per_axis_text, relative_spacing
from ps3d_core.inbox.description import read_description
from ps3d_core.invalid import first_problem
from ps3d_core.measuring.measure import measure_particles
from ps3d_core.params import IngestParams
from ps3d_core.particles.crops import crops_of
from ps3d_core.particles.overlay import overlay_pictures
from ps3d_core.particles.preview import pictures
from ps3d_core.particles.report import About, write_report
from ps3d_core.particles.shape import particle_columns
from ps3d_core.particles.sums import LabelSums, merge
from ps3d_core.particles.surface import OTHERS, intercept_weights, kinds_of_directions, shared_faces, surface_area
from ps3d_core.particles.table import read_table
from ps3d_core.particles.voxel_sums import block_sums
from ps3d_core.progress import SILENT
from ps3d_core.region.inside import GridRegion
from ps3d_core.region.region import Region
from ps3d_core.region.settled import settle_region, settled_region
from ps3d_core.region.stated import stated_cylinder
from ps3d_core.scan.given import spacing_of
from ps3d_core.scan.ingest import ingest
from ps3d_core.scan.spacing import agreed_spacing
from ps3d_core.steps.contacts import ContactAreas
from ps3d_core.store.layout import Dataset, Result, ScanInfo
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, image_levels, image_spacing, open_image
from tests.unit.labelled import rotation, stored, sums_of, voronoi

SPACINGS = [(2.0, 1.0, 1.0), (4.0, 1.0, 1.0), (0.5, 1.0, 1.0), (1.0, 2.0, 1.0), (2.0, 1.0, 0.5)]


def solid(semi, spacing, turned=None, shift=(0.0, 0.0, 0.0)):
    """Mask of an ellipsoid of these semi-axes (z, y, x), on voxels of `spacing`, all in one unit of length."""
    reach = max(semi) + 2 * max(spacing)
    shape = [int(2 * reach / edge) + 1 for edge in spacing]
    points = np.stack(
        [
            ((index - (n - 1) / 2 + by) * edge).reshape(-1)
            for index, n, edge, by in zip(np.indices(shape), shape, spacing, shift, strict=True)
        ]
    )
    points = points if turned is None else turned.T @ points
    return (((points / np.array(semi)[:, None]) ** 2).sum(axis=0) <= 1).reshape(shape)


def columns_of(labels, spacing):
    sums = block_sums(np.pad(labels.astype(np.uint32), 1), (0, 0, 0), None, kinds_of_directions(spacing))
    return particle_columns(sums, labels.shape, spacing, grey=False)


# What is stated


def test_a_spacing_is_one_number_or_three():
    assert ScanInfo(spacing=0.01, particle_size=1).spacing_zyx == (0.01, 0.01, 0.01)
    info = ScanInfo(spacing=[0.02, 0.01, 0.01], particle_size=1)
    assert (info.spacing, info.spacing_zyx) == ((0.02, 0.01, 0.01), (0.02, 0.01, 0.01))
    assert info.mean_spacing == pytest.approx((0.02 * 0.01 * 0.01) ** (1 / 3))


def test_three_equal_numbers_are_kept_as_one(tmp_path):
    dataset = Dataset(Location.parse(tmp_path))
    dataset.add_scan("cubes", (0.01, 0.01, 0.01), 0.3)
    dataset.add_scan("others", (0.02, 0.01, 0.01), 0.3)
    kept = json.loads((tmp_path / "metadata.json").read_text())
    assert kept["cubes"]["spacing"] == 0.01
    assert kept["others"]["spacing"] == [0.02, 0.01, 0.01]
    assert dataset.scan_info("others").spacing == (0.02, 0.01, 0.01)


@pytest.mark.parametrize(
    ("spacing", "said"),
    [
        (0, "spacing 0: must be above 0"),
        ([0.01, 0, 0.01], "spacing.1 0: must be above 0"),
        ([0.01, 0.01, 1000], "spacing.2 1000: must be below 1000"),
        ([0.01, float("nan"), 0.01], "spacing.1 nan: must be a finite number"),
        ([0.01, 0.01], "2 lengths; give one for all axes, or three (z, y, x)"),
        ([100, 0.05, 0.05], "the longest must be at most 1000 times the shortest"),
        ("0.01,0.01", "must be a number"),
    ],
)
def test_what_no_voxel_has_is_refused(spacing, said):
    with pytest.raises(ValidationError) as caught:
        ScanInfo(spacing=spacing, particle_size=1)
    assert said in str(first_problem(caught.value))


def test_one_length_for_a_voxel_is_the_edge_of_the_equal_cube():
    assert mean_spacing(0.0125) == 0.0125
    assert mean_spacing((0.0125,) * 3) == 0.0125
    assert relative_spacing((0.0125,) * 3) == (1, 1, 1)
    assert mean_spacing((4, 2, 1)) == pytest.approx(2)
    assert np.prod(relative_spacing((0.02, 0.01, 0.03))) == pytest.approx(1)
    assert (per_axis_text((0.01,) * 3), per_axis_text((0.02, 0.01, 0.01))) == ("0.01", "0.02 x 0.01 x 0.01 (z, y, x)")


# Grids


def test_the_network_grid_is_that_of_the_cubic_twin():
    cubic = particle_scale((120, 90, 80), spacing=0.01, particle_size=0.25, target_particle_size=20)
    twin = particle_scale((60, 90, 160), spacing=(0.02, 0.01, 0.005), particle_size=0.25, target_particle_size=20)
    assert (cubic.zoom, cubic.zoom_text) == (20 / (0.25 / 0.01), "0.800")
    assert twin.network_shape == cubic.network_shape
    assert twin.zoom == pytest.approx((1.6, 0.8, 0.4))
    assert twin.zoom_text == "1.600 x 0.800 x 0.400 (z, y, x)"


def test_three_equal_edges_are_one_zoom():
    scale = particle_scale((30, 30, 30), spacing=(0.01,) * 3, particle_size=0.3, target_particle_size=20)
    assert scale == particle_scale((30, 30, 30), spacing=0.01, particle_size=0.3, target_particle_size=20)
    assert isinstance(scale.zoom, float)


def test_long_voxels_are_resampled_along_their_axis_alone():
    """Along an axis that keeps its samples nothing is smoothed, along the others it is."""
    scan = np.random.default_rng(0).normal(size=(12, 40, 40)).astype(np.float32)
    assert np.array_equal(resample_image(scan, (12, 40, 40)), scan)
    coarse = resample_image(scan, (12, 10, 10))
    assert np.array_equal(coarse[3], resample_image(scan[3:4], (1, 10, 10))[0])


@given(st.integers(0, 5), st.integers(1, 6), st.integers(0, 9), st.integers(1, 9))
def test_resampling_does_not_depend_on_the_box(z, depth, x, width):
    scan = np.random.default_rng(1).normal(size=(10, 24, 30)).astype(np.float32)
    resampler = Resampler(scan.shape, (20, 18, 12))
    box = Box((z, 2, min(x, 11)), (z + depth, 15, min(min(x, 11) + width, 12)))
    whole = resample_image(scan, (20, 18, 12))
    assert np.array_equal(resampler(lambda part: scan[part.slices], box), whole[box.slices])


# Measures


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(3))
def test_an_ellipsoid_has_its_lengths(spacing, seed):
    semi = (12.0, 17.0, 24.0)
    columns = columns_of(solid(semi, spacing, rotation(seed), (0.2, -0.1, 0.3)), spacing)
    volume = 4 / 3 * np.pi * np.prod(semi)
    assert columns["volume_mm3"][0] == pytest.approx(volume, rel=0.005)
    assert columns["diameter_mm"][0] == pytest.approx((6 * volume / np.pi) ** (1 / 3), rel=0.002)
    axes = [columns[f"axis_{name}_mm"][0] for name in ("long", "intermediate", "short")]
    assert axes == pytest.approx([48, 34, 24], rel=0.01)
    a, b, c = (s**1.6075 for s in semi)  # Thomsen, error below 1.1 %
    surface = 4 * np.pi * ((a * b + a * c + b * c) / 3) ** (1 / 1.6075)
    assert columns["surface_area_mm2"][0] == pytest.approx(surface, rel=0.06)  # as flat as it is, of few slices


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_surface_of_balls_is_not_biased(spacing):
    """Anywhere between voxels, at ten and more of the mean edge across a radius."""
    rng, errors = np.random.default_rng(0), []
    for _ in range(20):
        ball = solid((14.0,) * 3, spacing, shift=rng.uniform(-0.5, 0.5, 3))
        errors.append(columns_of(ball, spacing)["surface_area_mm2"][0] / (4 * np.pi * 14**2) - 1)
    assert abs(np.mean(errors)) < 0.006
    assert np.abs(errors).max() < 0.05


def test_weights_of_all_directions_cover_the_sphere():
    for spacing in SPACINGS:
        weights, total = intercept_weights(spacing), 0.0
        assert len(weights) == OTHERS
        for step in product((-1, 0, 1), repeat=3):
            if step > (0, 0, 0):
                kind = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1), (1, 1, 0), (1, 1, 1)]
                length = np.linalg.norm(np.multiply(step, spacing))
                total += weights[kind.index(tuple(map(abs, step)))] * length / np.prod(spacing) / 4
        assert total == pytest.approx(1)


def test_weights_near_those_of_cubes_are_those_of_cubes():
    axes, faces, bodies = intercept_weights()
    assert intercept_weights((1.0, 1.0, 1.0 + 1e-7)) == pytest.approx([axes] * 3 + [faces] * 3 + [bodies], rel=1e-4)


def test_equal_edges_are_measured_as_one_number_is():
    labels = voronoi((20, 24, 28), 12, seed=3)
    one, three = columns_of(labels, 0.0125), columns_of(labels, (0.0125,) * 3)
    assert all(np.array_equal(one[name], three[name], equal_nan=True) for name in one)


def test_voxels_of_half_the_length_measure_the_same():
    """Every voxel cut in two along y: all but the surface, which has other steps, is exactly equal."""
    labels = voronoi((18, 20, 22), 9, seed=4)
    spacing = (0.02, 0.02, 0.01)
    long, short = columns_of(labels, spacing), columns_of(labels.repeat(2, axis=1), (0.02, 0.01, 0.01))
    names = ("volume_mm3", "diameter_mm", "axis_long_mm", "axis_intermediate_mm", "axis_short_mm", "centroid_z_mm")
    for name in (*names, "centroid_x_mm"):
        assert short[name] == pytest.approx(long[name], rel=1e-9), name
    assert short["centroid_y_mm"] == pytest.approx(long["centroid_y_mm"] + 0.005)
    assert short["surface_area_mm2"] == pytest.approx(long["surface_area_mm2"], rel=0.2)


@given(
    hnp.arrays("u4", hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=7), elements=st.integers(0, 4)),
    st.tuples(*[st.integers(1, 4)] * 3),
)
def test_no_sum_depends_on_the_blocks(labels, block):
    padded, parts = np.pad(labels, 1), []
    for corner in product(*(range(0, n, step) for n, step in zip(labels.shape, block, strict=True))):
        stop = [min(a + step, n) for a, step, n in zip(corner, block, labels.shape, strict=True)]
        outer = padded[tuple(slice(a, b + 2) for a, b in zip(corner, stop, strict=True))]
        parts.append(LabelSums.from_arrays(block_sums(outer, corner, None, OTHERS).to_arrays()))
    whole, added = block_sums(padded, (0, 0, 0), None, OTHERS), merge(parts)
    assert all(np.array_equal(a, b) for a, b in zip(whole, added, strict=True))
    # The seven kinds are the three of cubes, told apart further.
    three = sums_of(labels).intercepts
    if len(three):
        kinds = whole.intercepts
        together = [kinds[:, :3].sum(axis=1), kinds[:, 3:6].sum(axis=1), kinds[:, 6]]
        assert np.array_equal(np.stack(together, axis=1), three)


def test_contacts_tell_directions_apart():
    labels = voronoi((14, 16, 18), 12, seed=6)
    three, seven = count_pairs_of(np.pad(labels, 1)), count_pairs_of(np.pad(labels, 1), OTHERS)
    assert np.array_equal(three.pairs, seven.pairs)
    assert np.array_equal(shared_faces(three.crossings), shared_faces(seven.crossings))
    assert np.array_equal(three.crossings[:, 1], seven.crossings[:, 3:6].sum(axis=1))
    assert np.array_equal(three.crossings[:, 2], seven.crossings[:, 6])


@pytest.mark.parametrize("spacing", [(2.0, 1.0, 1.0), (1.0, 2.0, 1.0), (1.0, 1.0, 3.0)])
@pytest.mark.parametrize("seed", range(3))
def test_two_halves_of_a_ball_share_its_section(spacing, seed):
    ball = solid((24.0,) * 3, spacing)
    points = [
        (index - (n - 1) / 2) * edge for index, n, edge in zip(np.indices(ball.shape), ball.shape, spacing, strict=True)
    ]
    normal = rotation(seed)[0]
    side = sum(a * b for a, b in zip(normal, points, strict=True)) > 0.1
    halves = np.where(ball, np.where(side, 2, 1), 0).astype(np.uint32)
    counts = count_pairs_of(np.pad(halves, 1), kinds_of_directions(spacing))
    # It is flat, and of flat faces the estimate depends on their direction.
    assert contact_area(counts.crossings, spacing)[0] == pytest.approx(np.pi * 24**2, rel=0.14)


@pytest.mark.parametrize("labels", [voronoi((14, 16, 18), 12, seed=6), np.zeros((6, 7, 8), np.uint32)])
def test_the_table_of_contacts_does_not_depend_on_the_blocks(tmp_path, labels):
    found = []
    for name, block in (("one", (14, 16, 18)), ("many", (5, 6, 7))):
        folder = Location.parse(tmp_path / name)
        result = Result(folder, "ore")
        spacing = (1.0, 0.5, 0.5)
        create_image(result.labels, labels.shape, "uint32", spacing=spacing, name="ore", label=True)[:] = labels
        plan = SimpleNamespace(
            work=folder / "work", job=SimpleNamespace(result=result), info=SimpleNamespace(spacing=spacing)
        )
        plan.region = Region()
        step = ContactAreas(plan, SimpleNamespace())
        grid = BlockGrid(labels.shape, block, 1)
        site = Site(grid, folder, Outcomes())
        records = [step.work(each, site) for each in grid]
        found.append((step.merge(records, site), *(file.read_bytes() for file in step.outputs.values())))
    assert found[0] == found[1]


def test_the_table_does_not_depend_on_the_blocks(tmp_path):
    labels = voronoi((20, 18, 22), 14, seed=8)
    place = Location.parse(tmp_path)
    stored(place / "labels.zarr", labels)
    tables = []
    for number, block in enumerate([None, (8, 8, 8), (16, 8, 24)]):
        output = place / f"table{number}"
        measure_particles(
            place / "labels.zarr", output, spacing=(0.02, 0.01, 0.015), work=place / f"w{number}", block_shape=block
        )
        tables.append((output / "particles.csv").read_bytes())
    assert len(set(tables)) == 1
    assert surface_area(np.ones((1, 7), np.int64), (0.02, 0.01, 0.015))[0] > 0


def test_a_table_is_measured_by_what_the_labels_say(tmp_path):
    place = Location.parse(tmp_path)
    labels = voronoi((12, 16, 16), 5, seed=2)
    create_image(place / "l.zarr", labels.shape, "uint32", spacing=(0.02, 0.01, 0.01), name="l", label=True)[:] = labels
    assert spacing_of(place / "l.zarr") == (0.02, 0.01, 0.01)
    measure_particles(place / "l.zarr", place, spacing=spacing_of(place / "l.zarr"), work=place / "w")
    table = read_table(place / "particles.parquet").to_pydict()
    assert sum(table["volume_mm3"]) == pytest.approx((labels > 0).sum() * 0.02 * 0.01 * 0.01)
    with pytest.raises(InputError, match=r"spacing\.1 0: must be above 0"):
        measure_particles(place / "l.zarr", place / "t", spacing=(1.0, 0.0, 1.0), work=place / "v")


# Pictures


@pytest.fixture
def scan(tmp_path):
    """A ball of 0.4 mm in a scan of 0.6 mm a side, on voxels of 0.02 x 0.01 x 0.005 mm."""
    place, spacing, shape = Location.parse(tmp_path), (0.02, 0.01, 0.005), (30, 60, 120)
    points = [(index + 0.5) * edge - 0.3 for index, edge in zip(np.indices(shape), spacing, strict=True)]
    labels = (sum(each**2 for each in points) <= 0.2**2).astype(np.uint32)
    stored(place / "labels.zarr", labels, chunks=(32, 32, 32))
    stored(place / "image.zarr", (labels * 800 + 100).astype(np.uint16), chunks=(32, 32, 32))
    return SimpleNamespace(place=place, spacing=spacing)


def test_pictures_have_the_proportions_of_the_scan(scan):
    for picture in overlay_pictures(scan.place / "labels.zarr", scan.place / "image.zarr", spacing=scan.spacing):
        height, width = picture.proportions
        assert height / width == pytest.approx(1)
        rows, columns = imagecodecs.png_decode(picture.outlines).shape[:2]
        assert rows / columns == pytest.approx(1, rel=0.02)


def test_large_slices_are_reduced_to_square_pixels(scan):
    found = overlay_pictures(scan.place / "labels.zarr", scan.place / "image.zarr", spacing=scan.spacing, max_side=30)
    assert [(each.axis, each.steps, each.is_window) for each in found] == [
        ("z", (2, 4), False),
        ("z", (1, 1), True),
        ("y", (1, 4), False),
        ("x", (1, 2), False),
    ]
    assert found[1].box.shape == (1, 15, 30)
    assert imagecodecs.png_decode(found[0].grey).shape == (30, 30)


def test_a_preview_is_round_where_the_particle_is(scan):
    for axis, file in pictures(scan.place / "labels.zarr", None, spacing=scan.spacing):
        pixels = imagecodecs.jpeg_decode(file)
        shown = pixels.max(axis=2) > 100
        rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
        assert np.ptp(rows) / np.ptp(columns) == pytest.approx(1, abs=0.1), axis


def test_crops_show_as_much_on_all_sides(scan):
    particle = {
        f"bbox_{axis}_{end}": at
        for axis, span in zip("zyx", [(5, 25), (10, 50), (20, 100)], strict=True)
        for end, at in zip(("start", "stop"), span, strict=True)
    }
    for picture in crops_of(particle, scan.place / "labels.zarr", None, scan.spacing):
        height, width = picture.proportions
        assert height / width == pytest.approx(1, rel=0.1)


def test_the_report_states_sizes_and_draws_true_scale_bars(scan):
    place = scan.place
    measure_particles(place / "labels.zarr", place, spacing=scan.spacing, work=place / "w")
    write_report(
        place / "report.html",
        table=place / "particles.parquet",
        labels=place / "labels.zarr",
        image=place / "image.zarr",
        spacing=scan.spacing,
        about=About("ball"),
    )
    page = (place / "report.html").read_text()
    assert "of 20.0 x 10.0 x 5.00 µm: 600 x 600 x 600 µm" in page
    shapes = [float(a) / float(b) for a, b in re.findall(r"aspect-ratio:([\d.]+)/([\d.]+)", page)]
    assert shapes == pytest.approx([1, 1, 1], rel=1e-4)
    # A bar of 100 µm is a sixth of a slice of 600 µm, in all three.
    assert re.findall(r'class="scale" style="width:([\d.]+)%">([\d.]+) µm', page) == [("16.67", "100")] * 3


# Regions


def test_a_cylinder_in_mm_is_round_in_mm():
    shape, spacing = (20, 40, 80), (0.02, 0.02, 0.01)
    region = stated_cylinder("cylinder:0.4,0.4,0.25mm", shape, spacing)
    _, y, x = (index * edge for index, edge in zip(np.indices(shape), spacing, strict=True))
    inside = GridRegion(region, shape, shape).inside(Box.of(shape))
    assert np.array_equal(inside, np.hypot(y - 0.4, x - 0.4) <= 0.25)
    assert "radius 25 voxels around y 20, x 40" in region.text
    in_voxels = stated_cylinder("cylinder:20,40,25", shape, spacing)
    assert np.array_equal(GridRegion(in_voxels, shape, shape).inside(Box.of(shape)), inside)


def test_a_tilted_cylinder_is_that_of_the_cubic_twin():
    said = "cylinder:0.2,0.2,0.5,0.4,0.15mm"
    cubic, long = (60, 60, 60), (30, 60, 60)
    one = GridRegion(stated_cylinder(said, cubic, 0.01), cubic, cubic).inside(Box.of(cubic))
    region = stated_cylinder(said, long, (0.02, 0.01, 0.01))
    other = GridRegion(region, long, cubic).inside(Box.of(cubic))
    # Positions are from the centres of first voxels, which lie apart by half a voxel, and so do the last ones.
    assert (one != other).mean() < 0.03
    shrunk = GridRegion(region, long, long).inside(Box.of(long), margin=(2.0, 4.0, 4.0))
    by_hand = region.cylinders[0].model_copy(update={"radius": region.cylinders[0].radius - 4})
    narrow = GridRegion(region.model_copy(update={"cylinders": (by_hand,)}), long, long).inside(Box.of(long))
    assert np.array_equal(shrunk, narrow)


def test_the_facts_of_a_region_of_cubes_are_what_they_were():
    shape = (20, 40, 40)
    assert "edges" not in stated_cylinder("cylinder:20,20,9", shape, 0.01).facts
    assert stated_cylinder("cylinder:20,20,9", shape, (0.02, 0.01, 0.01)).facts["edges"] == [2, 1, 1]


# Bringing in


@pytest.fixture
def slices(tmp_path):
    """An OME-Zarr image on voxels that are no cubes."""
    place = Location.parse(tmp_path / "source.zarr")
    grey = np.random.default_rng(0).integers(0, 999, (20, 40, 44)).astype(np.uint16)
    create_image(place, grey.shape, grey.dtype, spacing=(0.02, 0.01, 0.01), name="s")[:] = grey
    return place


def test_ingest_takes_the_three_numbers_of_the_source(tmp_path, slices):
    dataset = Dataset(Location.parse(tmp_path / "data"))
    summary = ingest(str(slices), dataset, "ore", IngestParams(particle_size=0.1))
    assert summary.spacing == (0.02, 0.01, 0.01)
    info, image = dataset.scan_info("ore"), dataset.image("ore")
    assert image_spacing(image) == agreed_spacing(image, info) == (0.02, 0.01, 0.01)
    levels = json.loads((tmp_path / "data/images/ore.zarr/zarr.json").read_text())["attributes"]["ome"]["multiscales"]
    scales = [each["coordinateTransformations"][0]["scale"] for each in levels[0]["datasets"]]
    assert scales == [pytest.approx([0.02 * 2**k, 0.01 * 2**k, 0.01 * 2**k]) for k in range(len(image_levels(image)))]
    dataset.add_scan("ore", 0.01, 0.1)
    with pytest.raises(InputError, match="must agree to 1 %"):
        agreed_spacing(image, dataset.scan_info("ore"))


def test_what_is_said_counts_and_the_difference_is_noted(tmp_path, slices):
    notes = []
    progress = SimpleNamespace(note=notes.append, stage=SILENT.stage)
    dataset = Dataset(Location.parse(tmp_path / "data"))
    params = IngestParams(particle_size=0.1, spacing=(0.03, 0.01, 0.01))
    assert ingest(str(slices), dataset, "ore", params, progress=progress).spacing == (0.03, 0.01, 0.01)
    assert "spacing 0.03,0.01,0.01 mm is used; the source says 0.02,0.01,0.01 mm" in notes[0]
    assert np.array_equal(open_image(dataset.image("ore"))[:], open_image(slices)[:])


def test_nearly_equal_edges_are_those_of_cubes(tmp_path):
    place = Location.parse(tmp_path / "source.zarr")
    create_image(place, (8, 30, 30), "uint8", spacing=(0.010004, 0.01, 0.01), name="s")[:] = 1
    assert spacing_of(place) == 0.01


def test_a_region_is_looked_for_anew_when_voxels_have_another_shape(tmp_path, slices):
    dataset = Dataset(Location.parse(tmp_path / "data"))
    ingest(str(slices), dataset, "ore", IngestParams(particle_size=0.1))
    settle_region(dataset, "ore", "auto")
    assert not settled_region(dataset, "ore", "auto", (0.02, 0.01, 0.01))
    with pytest.raises(InputError, match="has not been looked for"):
        settled_region(dataset, "ore", "auto", 0.01)


# What people say: commands, flows, descriptions


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("0.0125", 0.0125),
        ("12.5um", 0.0125),
        ("20,10,10um", (0.02, 0.01, 0.01)),
        ("0.02,0.01,0.01", (0.02, 0.01, 0.01)),
        ("10um,10um,10um", 0.01),
    ],
)
def test_one_length_or_three_are_said(said, meant):
    assert stated_spacing_mm(said) == meant
    assert corrections(said, None, None)["spacing"] == meant


def test_the_form_of_a_flow_takes_one_number_or_three():
    annotation = inspect.signature(ingest_scan.fn, eval_str=True).parameters["spacing"].annotation
    adapter = TypeAdapter(annotation)
    assert adapter.validate_python([0.02, 0.01, 0.01]) == (0.02, 0.01, 0.01)
    assert adapter.validate_python(0.01) == 0.01
    assert {each["type"] for each in adapter.json_schema()["anyOf"]} == {"number", "array", "null"}


def described(spacing):
    said = {"name": "ore", "spacing": spacing, "particle_size": 0.3}
    return read_description(json.dumps(said).encode(), "scan.json").spacing


def test_a_description_says_one_length_or_three():
    assert described(0.0125) == described("12.5um") == 0.0125
    assert described(["20um", 0.01, "10um"]) == (0.02, 0.01, 0.01)
    assert described([0.01, 0.01, 0.01]) == 0.01


@pytest.mark.parametrize(
    ("spacing", "said"),
    [
        ([0.01, 0.01], "spacing (0.01, 0.01): 2 lengths; give one for all axes, or three (z, y, x)"),
        ([20, 10, 10], "is 20um meant?"),
        (["0.02", 0.01, 0.01], "must be a number of mm, or a text with its unit"),
        ([0.02, -0.01, 0.01], "spacing.1 -0.01: must be above 0"),
    ],
)
def test_a_description_with_another_spacing_is_refused_in_words(spacing, said):
    with pytest.raises(InputError) as caught:
        described(spacing)
    assert said in str(caught.value)


def test_commands_take_and_tell_three_numbers(tmp_path, slices, capsys):
    data, zarr_labels = tmp_path / "data", Location.parse(tmp_path / "l.zarr")
    assert main(["ingest", str(slices), str(data), "--name", "own", "--particle-size", "0.1"]) == 0
    assert "20 x 40 x 44 voxels of 0.02 x 0.01 x 0.01 (z, y, x) mm" in capsys.readouterr().out
    said = ["--name", "said", "--particle-size", "0.1", "--spacing", "30,10,10um"]
    assert main(["ingest", str(slices), str(data), *said]) == 0
    assert Dataset(Location.parse(data)).scan_info("said").spacing == (0.03, 0.01, 0.01)
    labels = voronoi((12, 16, 16), 5, seed=2)
    create_image(zarr_labels, labels.shape, "uint32", spacing=None, name="l", label=True)[:] = labels
    assert main(["measure", str(zarr_labels), str(tmp_path / "t"), "--spacing", "20,10,10um"]) == 0
    volumes = read_table(Location.parse(tmp_path / "t" / "particles.parquet")).to_pydict()["volume_mm3"]
    assert sum(volumes) == pytest.approx((labels > 0).sum() * 2e-6)
    assert main(["ingest", str(slices), str(data), "--name", "bad", *said[2:4], "--spacing", "1,0.0001,1"]) == 2
    assert "at most 1000 times the shortest" in capsys.readouterr().err


def test_python_takes_three_numbers():
    labels = voronoi((12, 16, 16), 5, seed=2)
    table = ps3d.measure(labels, spacing=(0.02, 0.01, 0.01)).to_pydict()
    assert sum(table["volume_mm3"]) == pytest.approx((labels > 0).sum() * 2e-6)
    assert ps3d.measure(labels, spacing=(0.01,) * 3).equals(ps3d.measure(labels, spacing=0.01))
    with pytest.raises(InputError, match="spacing 0: must be above 0"):
        ps3d.measure(labels, spacing=0)
