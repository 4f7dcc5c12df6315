"""The particle table of a run: each block once, whatever kills it, and as many particles as were labelled."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from labelled import stored, voronoi

from ps3d_core.border_core.to_scan_grid import Resampled
from ps3d_core.doubt.calibration import Calibration
from ps3d_core.engine.step import Context, Outcome, Outcomes
from ps3d_core.errors import CorruptDataError
from ps3d_core.measuring import measure
from ps3d_core.measuring.measure import measure_particles
from ps3d_core.params import MeasureParams
from ps3d_core.particles import table
from ps3d_core.region.region import Region
from ps3d_core.steps.grey_values import GreyScale, GreyValues
from ps3d_core.steps.label_image import LabelImage
from ps3d_core.steps.table import ParticleTable
from ps3d_core.store.layout import Result
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image

SHAPE = (150, 140, 20)
DOUBT = ("certainty", "confidence", "maybe_merged", "maybe_split", "maybe_split_from", "doubts")


@pytest.fixture
def root(tmp_path):
    return Location.parse(tmp_path)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("ps3d_core.engine.block_step.GOOD_BLOCK_VOXELS", 1)


@pytest.fixture
def step(root):
    """The step on a result that has a label image only, and its scan."""
    result = Result(root, "ore")
    labels = create_image(result.labels, SHAPE, "uint32", spacing=0.5, name="ore", label=True)
    labels[:] = np.kron(voronoi((15, 14, 2), 9, seed=0, filled=0.9), np.ones((10, 10, 10), np.uint32))
    grey = stored(root / "scan", np.random.default_rng(0).integers(0, 99, SHAPE).astype(np.uint8), (64, 64, 20))
    params = SimpleNamespace(measure=MeasureParams())
    job, info = SimpleNamespace(result=result, params=params), SimpleNamespace(spacing=0.5, particle_size_mm=8.0)
    bundle = SimpleNamespace(info=SimpleNamespace(calibration=Calibration(slope=5, offset=-5, particles=99, right=90)))
    plan = SimpleNamespace(work=result.work, job=job, info=info, image=grey, bundle=bundle, knows_surroundings=True)
    contacts = SimpleNamespace(largest=lambda n: (np.arange(n + 1) * 3.0, np.arange(n + 1, dtype=np.uint32)[::-1]))
    certainty = SimpleNamespace(by_label=lambda: np.concatenate(([np.nan], np.linspace(0.6, 1, 9))))
    plan.cutting, plan.region, plan.images = None, Region(), ()
    return ParticleTable(plan, SimpleNamespace(), contacts, certainty)


def labelled(particles):
    """What is known before the step: as many particles were labelled, and half-way up to them the grey value is 40."""
    resampled, grey = Resampled(particles=particles, vanished=0, voxels=1), GreyScale(offset=40, scale=10)
    return Outcomes({LabelImage.name: Outcome(resampled, 0.0), GreyValues.name: Outcome(grey, 0.0)})


def test_its_table_is_that_of_the_same_labels_given(root, step):
    sample = step.sample
    given = {"image": sample.image, "spacing": sample.spacing, "work": root / "given", "block_shape": SHAPE}
    summary = measure_particles(sample.labels, root / "given", **given)
    assert step.make(labelled(9), Context()) == summary
    ours, others = table.read_table(step.outputs["parquet"]), table.read_table(root / "given" / "particles.parquet")
    measured = [name for name in table.SCHEMA.names if name not in DOUBT]
    assert ours.select(measured) == others.select(measured)
    rows = ours.to_pydict()
    assert rows["certainty"] == np.linspace(0.6, 1, 9).tolist()
    assert rows["confidence"] == sorted(rows["confidence"])
    assert rows["maybe_split_from"] == [8, 7, 6, 5, 4, 3, 2, 1, 0]
    assert [bool(text) for text in rows["doubts"]][:3] == [True] * 3
    assert {name: set(others[name].to_pylist()) for name in DOUBT[:4]} == {name: {None} for name in DOUBT[:4]}
    csv = step.outputs["csv"].read_text().splitlines()
    assert csv[0].split(",") == table.SCHEMA.names
    assert len(csv) == 10


def test_a_killed_run_goes_on_at_its_finished_blocks(step, monkeypatch):
    seen, work = [], ParticleTable.work

    def breaking(self, block, site):
        seen.append(block.index)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return work(self, block, site)

    monkeypatch.setattr(ParticleTable, "work", breaking)
    with pytest.raises(KeyboardInterrupt):
        step.make(labelled(9), Context())
    step.make(labelled(9), Context())
    assert seen == [0, 1, 1, *range(2, len(step.grid(Context())))]


def test_other_particles_than_were_labelled_are_damage(step):
    with pytest.raises(CorruptDataError, match=r"ore\.zarr: 9 particles where 8 were labelled"):
        step.make(labelled(8), Context())


def test_what_decides_the_table_is_its_versions_and_the_label_image(step, monkeypatch):
    calibration = step.plan.bundle.info.calibration.model_dump()
    assert step.fingerprint == fingerprint(measure.VERSION, table.VERSION, calibration)  # the steps before say nothing
    finished = [step.ledger(step.grid(Context())).location]
    for module in (measure, table):
        monkeypatch.setattr(module, "VERSION", module.VERSION + 1)
        finished.append(step.ledger(step.grid(Context())).location)
    assert len(set(finished)) == 3


def test_whole_particles_are_measured_again_when_a_further_image_is_another(root, step):
    step.label_image.fingerprint = "label image"
    before = step.identity
    step.plan.images = (("high", root / "high", "content"),)
    one = step.identity
    step.plan.images = (("high", root / "high", "other content"),)
    assert len({before, one, step.identity}) == 3
