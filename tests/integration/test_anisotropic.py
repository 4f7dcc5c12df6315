"""A scan on voxels that are no cubes gives what its cubic twin gives: both are means of one finer scan."""

import json
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest

from ps3d_core.border_core.vote import vote_labels
from ps3d_core.evaluation.evaluate import evaluate
from ps3d_core.inspection.inspect import InspectJob, inspect
from ps3d_core.params import IngestParams, PredictParams, PreparationParams, Resources, SegmentParams
from ps3d_core.particles.table import read_columns
from ps3d_core.phantom.params import PhantomParams, Tube
from ps3d_core.phantom.render import render
from ps3d_core.pipeline import segment
from ps3d_core.plan import SegmentJob, plan_segmentation
from ps3d_core.region.settled import settle_region, settled_region
from ps3d_core.scan.ingest import ingest
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, image_spacing, open_image
from ps3d_core.training.preparation import prepare_training
from ps3d_core.training.preparation_plan import PreparationJob

FINE = 0.005
"""Edge of the voxels that all scans are means of, mm."""
SIDE, DIAMETER = 192, 48
TWINS = {"cubic": (2, 2, 2), "coarse-z": (4, 2, 2), "fine-z": (1, 2, 2), "coarse-y": (2, 4, 2), "all-three": (3, 2, 1)}
"""Fine voxels per voxel of each scan, (z, y, x)."""
MEASURES = ("volume_mm3", "axis_long_mm", "axis_intermediate_mm", "axis_short_mm")

Columns = dict[str, npt.NDArray[Any]]


def averaged(fine: npt.NDArray[Any], by: tuple[int, int, int]) -> npt.NDArray[np.uint16]:
    """Means over boxes of `by` voxels; all sides are whole numbers of these."""
    z, y, x = (n // step for n, step in zip(fine.shape, by, strict=True))
    boxes = fine.astype(np.float64).reshape(z, by[0], y, by[1], x, by[2])
    return np.asarray(boxes.mean(axis=(1, 3, 5)).round().astype(np.uint16))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """All twins, with their true labels."""
    grey, labels = render(PhantomParams(shape=(SIDE,) * 3, particle_size_voxels=DIAMETER, seed=5, size_sigma=0.25))
    found = Dataset(Location.parse(tmp_path_factory.mktemp("twins")))
    for name, by in TWINS.items():
        spacing = tuple(FINE * step for step in by)
        params = IngestParams(spacing=spacing, particle_size=DIAMETER * FINE)
        shape = ingest(averaged(grey, by), found, name, params).shape
        truth = vote_labels(labels, shape)
        create_image(found.truth(name), shape, "uint32", spacing=spacing, name=name, label=True)[:] = truth
    return found


def job_of(dataset: Dataset, name: str, output: str = "results", **resources: Any) -> SegmentJob:
    params = SegmentParams(predict=PredictParams(quality="fast", device="cpu"))
    place = Location.parse(str(dataset.root)) / output
    return SegmentJob(
        dataset, name, place, params=params, resources=Resources(**{"workers": 2, "memory_gib": 4} | resources)
    )


@pytest.fixture(scope="module")
def tables(dataset: Dataset) -> dict[str, Columns]:
    """Particle tables of all twins."""
    found = {}
    for name in TWINS:
        job = job_of(dataset, name)
        segment(job)
        columns = ("label", *MEASURES, "surface_area_mm2", "touches_border", *(f"centroid_{a}_mm" for a in "zyx"))
        found[name] = read_columns(job.result.table_parquet, columns)
    return found


def centres(table: Columns, name: str) -> npt.NDArray[np.float64]:
    """Centroids from the corner of the scan, mm: positions in the table are from the centre of the first voxel."""
    half = np.array(TWINS[name]) * FINE / 2
    return np.asarray(np.stack([table[f"centroid_{axis}_mm"] for axis in "zyx"], axis=1) + half)


@pytest.mark.parametrize("name", [name for name in TWINS if name != "cubic"])
def test_the_particles_are_those_of_the_cubic_twin(name: str, tables: dict[str, Columns]) -> None:
    cubic, twin = tables["cubic"], tables[name]
    distance = np.linalg.norm(centres(cubic, "cubic")[:, None] - centres(twin, name), axis=2)
    nearest, whole = distance.argmin(axis=1), ~cubic["touches_border"].astype(bool)
    print(f"\n{name}: {len(twin['label'])} particles, cubic {len(cubic['label'])}, {whole.sum()} of these whole")
    assert abs(len(twin["label"]) - len(cubic["label"])) <= (0 if name in ("coarse-z", "fine-z") else 1)
    assert len(set(nearest[whole])) == whole.sum() > 10
    assert distance.min(axis=1)[whole].max() < FINE  # half an edge of a cubic voxel
    total = twin["volume_mm3"].sum() / cubic["volume_mm3"].sum() - 1
    print(f"  volume of all {total:+.2%}")
    assert abs(total) < 0.005
    for measure, limit in zip((*MEASURES, "surface_area_mm2"), (0.02, 0.03, 0.03, 0.03, 0.04), strict=True):
        off = twin[measure][nearest][whole] / cubic[measure][whole] - 1
        print(f"  {measure}: mean {off.mean():+.2%}, standard deviation {off.std():.2%}, most {np.abs(off).max():.2%}")
        assert abs(off.mean()) < limit / 2, measure
        assert np.quantile(np.abs(off), 0.9) < limit, measure


def test_all_twins_have_one_network_grid_and_their_own_spacing(dataset: Dataset, tables: dict[str, Columns]) -> None:
    plans = {name: plan_segmentation(job_of(dataset, name)) for name in TWINS}
    assert len({plan.scale.network_shape for plan in plans.values()}) == 1
    lines = " ".join(plans["coarse-z"].describe())
    assert "0.02 x 0.01 x 0.01 (z, y, x) mm per voxel" in lines
    assert "zoom 1.667 x 0.833 x 0.833 (z, y, x)" in lines
    assert "0.01 mm per voxel" in " ".join(plans["cubic"].describe())
    for name, by in TWINS.items():
        result = job_of(dataset, name).result
        assert image_spacing(result.labels) == pytest.approx([FINE * step for step in by])
        record = json.loads(result.run.read_text())
        stated = record["input"]["spacing_mm"]
        assert stated == (0.01 if name == "cubic" else [FINE * step for step in by])
        assert isinstance(record["grids"]["zoom"], float if name == "cubic" else list)


def test_the_truth_is_found_as_well(dataset: Dataset, tables: dict[str, Columns]) -> None:
    scores = {name: evaluate(job_of(dataset, name).result.labels, dataset.truth(name)).f1 for name in TWINS}
    print(f"\nF1 {scores}")
    assert min(scores.values()) > scores["cubic"] - 0.03


@pytest.mark.parametrize("runner", ["threads", pytest.param("processes", marks=pytest.mark.soak)])
def test_nothing_depends_on_blocks_or_workers(runner: str, dataset: Dataset, tables: dict[str, Columns]) -> None:
    one = job_of(dataset, "coarse-z").result
    job = job_of(dataset, "coarse-z", f"by-{runner}", workers=3 if runner == "threads" else 2, runner=runner)
    segment(job)
    assert np.array_equal(open_image(job.result.labels)[...], open_image(one.labels)[...])
    for file in ("particles.csv", "particles.parquet", "contacts.parquet"):
        assert (job.result.root / file).read_bytes() == (one.root / file).read_bytes()


def test_training_data_are_cubic(dataset: Dataset, tmp_path: Any) -> None:
    params = PreparationParams(instances=True, target_particle_size=20, zscore=(12000, 7000))
    job = PreparationJob(dataset, Location.parse(tmp_path), ("cubic", "coarse-z"), params)
    record = prepare_training(job)
    folder = tmp_path / "Dataset500_ParticleSeg3D"
    assert record.cases["coarse-z"].network_shape == record.cases["cubic"].network_shape
    assert record.cases["coarse-z"].spacing == (0.02, 0.01, 0.01)
    assert record.cases["coarse-z"].zoom == pytest.approx((5 / 3, 5 / 6, 5 / 6))
    files = {name: sorted(folder.rglob(f"{name}*.nii.gz")) for name in ("cubic", "coarse-z")}
    assert len(files["coarse-z"]) == 3
    for one, other in zip(*files.values(), strict=True):
        cubic, twin = nibabel.load(one), nibabel.load(other)
        assert tuple(cubic.header.get_zooms()) == tuple(twin.header.get_zooms()) == pytest.approx((0.1,) * 3)
        a, b = np.asarray(cubic.dataobj), np.asarray(twin.dataobj)
        agree = (a == b).mean() if a.dtype.kind in "iu" else np.corrcoef(a.ravel(), b.ravel())[0, 1]
        print(f"\n{one.parent.name}: {agree:.4f}")
        assert agree > 0.97
    boxes = [json.loads(next(folder.rglob(f"{name}*.json")).read_text()) for name in ("cubic", "coarse-z")]
    assert boxes[0].keys() == boxes[1].keys()
    apart = [np.abs(np.subtract(boxes[0][label], boxes[1][label])).max() for label in boxes[0]]
    assert np.median(apart) <= 1


@pytest.mark.soak
def test_a_look_finds_the_size(dataset: Dataset) -> None:
    seen = inspect(InspectJob(dataset, "coarse-z"))
    print(f"\nfound {seen.size_mm} mm, true {DIAMETER * FINE} mm")
    assert seen.size_mm == pytest.approx(DIAMETER * FINE, rel=0.12)
    assert seen.size is not None
    assert seen.size.sure
    assert seen.size_mm == pytest.approx(seen.size.size * 0.01 * 2 ** (1 / 3))


@pytest.mark.parametrize("by", [(2, 1, 1), (1, 2, 1), (1, 1, 2)])
def test_a_tilted_tube_is_found_on_any_voxels(by: tuple[int, int, int], tmp_path: Any) -> None:
    tube = Tube(radius_voxels=36, wall_voxels=6, tilt=(0.15, -0.1), grey=0.75)
    params = PhantomParams(shape=(96, 112, 112), particle_size_voxels=12, seed=4, tube=tube)
    dataset = Dataset(Location.parse(tmp_path))
    spacing = tuple(0.01 * step for step in by)
    ingest(averaged(render(params)[0], by), dataset, "ore", IngestParams(spacing=spacing, particle_size=0.12))
    settle_region(dataset, "ore", "auto")
    region = settled_region(dataset, "ore", "auto", dataset.scan_info("ore").spacing)
    (found,) = region.cylinders
    edge = spacing[2]
    print(f"\n{region.text}")
    assert found.radius * edge / 0.01 == pytest.approx(36, abs=0.8)
    assert found.tilt == pytest.approx((0.15, -0.1), abs=0.01)
    # At the middle slice the axis runs through the middle of the scan, positions from the centre of the first voxel.
    middle = (96 / by[0] - 1) / 2 * spacing[0] / edge
    for axis, (at, tilt) in enumerate(zip(found.centre, found.tilt, strict=True), start=1):
        expected = (112 / by[axis] - 1) / 2 * spacing[axis] / edge
        assert at + tilt * middle == pytest.approx(expected, abs=0.8 * 0.01 / edge)
