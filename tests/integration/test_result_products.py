"""A result folder holds nothing of labels or a table that are no longer there, whatever was made of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ps3d_app.flows.command.cli import main
from ps3d_core.params import InstancesParams, MeasureParams
from ps3d_core.pipeline import segment
from ps3d_core.steps.table import ParticleTable
from ps3d_core.store.publishing import publish_text
from tests.integration.test_result_pages import SCAN, finished, job  # noqa: F401  (fixtures)

OF_LABELS = {"again", "meshes", "meshes.glb", "slices"}
OF_TABLE = {"sizes", "sizes-mass"}
OF_PHASES = {"composition.csv", "phases.json", "phases.svg"}


def with_labels(job):  # noqa: F811
    """The job with other particles."""
    return changed(job, instances=InstancesParams(min_rel_particle_size=0.95))


def changed(job, **params):  # noqa: F811
    return replace(job, params=job.params.model_copy(update=params))


def names(job):  # noqa: F811
    return {name for name in job.result.root.children() if not name.startswith(".")}


@pytest.fixture
def parts(job):  # noqa: F811
    """Names of what a segmentation makes, beside which things are made of labels, table and page."""
    before, root = names(job), str(job.result.root)
    for command in (
        ("meshes", root, "--labels", "1", "2"),
        ("meshes", root, "--labels", "1", "--format", "glb", "--bundle"),
        ("export", str(job.result.labels), f"{root}/slices", "--format", "tiff"),
        ("measure", str(job.result.labels), f"{root}/again"),
        ("sizes", root),
        ("sizes", f"{root}/again"),
        ("sizes", f"{root}/particles.parquet", "--density", "2.65", "--output", f"{root}/sizes-mass"),
    ):
        assert main(list(command)) == 0
    with_page(job)
    (job.result.root / "notes.txt").write_text("mine")
    assert names(job) == before | OF_LABELS | OF_TABLE | {"report.pdf", "notes.txt"}
    return before | {"notes.txt"}


def with_page(job):  # noqa: F811
    """Note a page on paper, whether or not there is a browser to print it."""
    from ps3d_core.store.deriving import deriving

    with deriving(job.result.report, [job.result.pdf]):
        publish_text(job.result.pdf, "on paper")


def test_what_is_of_a_table_goes_with_it_and_what_is_of_labels_with_them(job, parts):  # noqa: F811
    segment(job)
    assert names(job) == parts | OF_LABELS | OF_TABLE | {"report.pdf"}
    job.dataset.sample(SCAN).write_json({"id": "B-2"})
    segment(job)
    assert names(job) == parts | OF_LABELS | OF_TABLE
    segment(changed(job, measure=MeasureParams(find_phases=1)))
    assert names(job) == parts | OF_LABELS | OF_PHASES
    segment(job)
    assert names(job) == parts | OF_LABELS
    (job.result.root / "meshes" / "1.stl").write_text("mended by hand")
    record = segment(with_labels(job))
    assert names(job) == parts | {"meshes.kept-1"}
    assert segment(with_labels(job)) == record


def test_a_kill_leaves_nothing_of_the_earlier_labels_beside_the_new(job, parts, monkeypatch):  # noqa: F811
    segment(changed(job, measure=MeasureParams(find_phases=1)))
    with monkeypatch.context() as patched:
        patched.setattr(ParticleTable, "make", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            segment(with_labels(job))
    new = {job.result.labels.name, "contacts.parquet", "contacts.csv", "packing.csv", "certainty.parquet"}
    assert names(job) - new == {"notes.txt"}
    segment(with_labels(job))
    assert names(job) == parts
