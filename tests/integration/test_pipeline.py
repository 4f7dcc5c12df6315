"""The whole pipeline with the bundled model on a small phantom: results, resumption, stores, runners."""

import json
import os
import signal
import uuid
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

from ps3d_app.flows.command.segment import plan_lines
from ps3d_core import outcome
from ps3d_core.engine.blocks import Runner, run_blocks
from ps3d_core.errors import InputError
from ps3d_core.evaluation.evaluate import evaluate
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Box
from ps3d_core.inference.estimate import Pace, measured_pace
from ps3d_core.outcome import finished_run
from ps3d_core.params import InstancesParams, PredictParams, Resources, SegmentParams
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.pipeline import segment
from ps3d_core.plan import SegmentJob, plan_segmentation
from ps3d_core.quality import PLAIN
from ps3d_core.steps.report import Reported, ReportPage
from ps3d_core.store.arrays import read_box
from ps3d_core.store.layout import Dataset
from ps3d_core.store.lease import LeaseLostError
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_spacing, open_image

SCAN = "ore"
SHAPE = (64, 68, 88)


PACE = Pace(alone=0.5, together=0.5)


def job_in(place, **changes):
    job = SegmentJob(
        dataset=Dataset(place / "dataset"),
        scan=SCAN,
        output=place / "output",
        params=SegmentParams(predict=PredictParams(mirror=False, device="cpu")),
        resources=Resources(workers=1, memory_gib=4),
    )
    return replace(job, **changes)


def make_dataset(place):
    params = PhantomParams(shape=SHAPE, particle_size_voxels=22, seed=5, dtype="uint16")
    write_phantom(params, place, SCAN, spacing=0.01)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A place with the dataset and the result of an undisturbed run."""
    place = Location.parse(tmp_path_factory.mktemp("pipeline"))
    make_dataset(place / "dataset")
    return place, segment(job_in(place, keep_work=True))


@pytest.fixture
def copied(finished, tmp_path):
    """A fresh place with the same dataset, not segmented yet."""
    place, _ = finished
    import shutil

    shutil.copytree(str(place / "dataset"), tmp_path / "dataset")
    return Location.parse(tmp_path)


def labels_of(job):
    array = open_image(job.result.labels)
    return read_box(array, Box.of(array.shape))


def everything_of(job):
    """Bytes of what a user takes away."""
    return labels_of(job).tobytes(), job.result.table_parquet.read_bytes(), job.result.table_csv.read_bytes()


def test_result_is_whole_and_consistent(finished):
    place, record = finished
    job = job_in(place)
    labels = labels_of(job)
    ids = np.unique(labels)
    assert labels.shape == SHAPE
    assert labels.dtype == np.uint32
    assert record.particles > 10
    assert ids.tolist() == list(range(record.particles + 1))
    table = pq.read_table(str(job.result.table_parquet))
    assert table["label"].to_pylist() == ids[1:].tolist()
    assert table["voxels"].to_pylist() == np.bincount(labels.ravel())[1:].tolist()
    assert "<html" in job.result.report.read_text()
    assert json.loads(job.result.run.read_text())["counts"]["patches_evaluated"] == record.counts["patches_unique"]


def test_particles_are_the_phantoms(finished):
    place, _ = finished
    job = job_in(place)
    # What the model is worth is in its card; this is about every stage keeping particles where they are.
    evaluation = evaluate(job.result.labels, job.dataset.truth(SCAN))
    assert evaluation.mean_matched_iou > 0.75
    assert evaluation.precision > 0.75
    assert evaluation.recall > 0.4


def test_second_run_evaluates_nothing_and_changes_nothing(finished):
    place, first = finished
    job = job_in(place, keep_work=True)
    before = {name: info["mtime"] for name, info in job.result.root.find().items()}
    assert segment(job) == first
    assert {name: info["mtime"] for name, info in job.result.root.find().items()} == before


def test_a_changed_parameter_redoes_only_what_depends_on_it(finished):
    place, first = finished
    stricter = SegmentParams(
        predict=PredictParams(mirror=False, device="cpu"), instances=InstancesParams(min_rel_particle_size=0.5)
    )
    job = job_in(place, params=stricter, keep_work=True)
    forward = first.seconds["predict"]
    second = segment(job)
    assert second.particles < first.particles
    assert second.seconds["predict"] == forward
    again = segment(job_in(place, keep_work=True))
    assert again.particles == first.particles


@pytest.fixture(params=["memory", "s3"])
def object_store(request):
    if request.param == "s3":
        return request.getfixturevalue("s3")
    return Location.parse(f"memory://{uuid.uuid4().hex}")


def test_object_stores_give_the_same_bytes(finished, object_store):
    place, _ = finished
    for name in (place / "dataset").find():
        (object_store / "dataset" / name).write_bytes((place / "dataset" / name).read_bytes())
    job = job_in(object_store)
    record = segment(job)
    assert everything_of(job) == everything_of(job_in(place))
    assert segment(job) == record
    text = job.result.run.read_text() + job.result.report.read_text()
    assert "test-secret" not in text
    object_store.remove_tree()


@pytest.mark.parametrize("runner", ["threads", "processes", pytest.param("dask", marks=pytest.mark.soak)])
def test_two_workers_give_the_same_bytes_and_the_work_folder_goes(finished, copied, runner):
    place, _ = finished
    job = job_in(copied, resources=Resources(workers=2, memory_gib=6, runner=runner))
    segment(job)
    assert everything_of(job) == everything_of(job_in(place))
    assert not job.result.work.exists()


def test_workers_that_share_only_the_store_give_the_same_bytes(finished, s3, dask_cluster):
    """As on several machines: a scheduler and two workers, each a process of its own, and an object store."""
    place, _ = finished
    for name in (place / "dataset").find():
        (s3 / "dataset" / name).write_bytes((place / "dataset" / name).read_bytes())
    resources = Resources(workers=2, memory_gib=6, runner="dask", dask_scheduler=dask_cluster)
    segment(job_in(s3, resources=resources))
    assert everything_of(job_in(s3)) == everything_of(job_in(place))


def test_a_worker_that_dies_costs_the_blocks_in_its_hands(tmp_path, dask_cluster):
    place = Location.parse(tmp_path)
    blocks = list(BlockGrid((6, 1, 1), (1, 1, 1)))

    def work(block):
        if block.index == 3 and (place / "died").create_json(True):
            os.kill(os.getpid(), signal.SIGKILL)
        return {"of": block.index}

    runner = Runner(kind="dask", workers=2, address=dask_cluster)
    records = run_blocks("test", blocks, work, ledger=Ledger(place, "test", "0"), runner=runner)
    assert (place / "died").exists()
    assert records == [{"of": index} for index in range(6)]


def test_a_run_that_waited_while_another_finished_does_nothing(finished, monkeypatch):
    """Between the look for a finished result and the lease, another run may come to its end."""
    job = job_in(finished[0], keep_work=True)
    before = everything_of(job), job.result.run.read_bytes()
    looks = []

    def look(run):
        looks.append(run)
        return None if len(looks) == 1 else finished_run(run)

    monkeypatch.setattr(outcome, "finished_run", look)
    segment(job)
    assert len(looks) == 2
    assert (everything_of(job), job.result.run.read_bytes()) == before


def test_a_run_that_was_overtaken_does_not_say_that_it_is_done(copied, monkeypatch):
    job = job_in(copied)

    def report(step, _done, _progress):
        (step.plan.job.result.lease / "99.json").write_text("{}")
        return Reported(report="")

    monkeypatch.setattr(ReportPage, "make", report)
    with pytest.raises(LeaseLostError):
        segment(job)
    assert not job.result.run.exists()
    assert job.result.work.exists(), "it is the other's now"


def test_intermediates_that_somebody_removed_are_made_again(copied):
    job = job_in(copied, keep_work=True)
    segment(job)
    before = everything_of(job)
    for name in job.result.work.children():
        if name.endswith(".zarr"):
            (job.result.work / name).remove_tree()
    job.result.run.remove_tree()
    segment(job)
    assert everything_of(job) == before


def test_a_corrected_spacing_is_also_that_of_the_label_image(finished, tmp_path):
    """Where both lengths were given in a wrong unit, the network grid stays the same, and with it all particles."""
    grey = open_image(Dataset(finished[0] / "dataset").image(SCAN))
    job = job_in(Location.parse(tmp_path), keep_work=True)
    zarr.create_array(f"{job.dataset.image(SCAN)}", data=read_box(grey, Box.of(SHAPE)))  # says no spacing of its own
    labels = []
    for spacing in (10.0, 0.01):
        job.dataset.add_scan(SCAN, spacing, 22 * spacing)
        segment(job)
        assert image_spacing(job.result.labels) == (spacing,) * 3
        labels.append(labels_of(job))
    assert (labels[0] == labels[1]).all()


def test_plan_is_refused_before_anything_is_written(copied):
    job = job_in(copied, scan="nothing")
    with pytest.raises(InputError, match="'nothing': not in"):
        segment(job)
    with pytest.raises(InputError, match="fold 7"):
        segment(job_in(copied, params=SegmentParams(predict=PredictParams(folds=(7,)))))
    with pytest.raises(InputError, match="raise memory"):
        segment(job_in(copied, resources=Resources(workers=1, memory_gib=0.11)))
    assert not (copied / "output").exists()


def test_voxels_that_are_no_grey_values_are_refused(tmp_path):
    dataset = Dataset(Location.parse(tmp_path / "dataset"))
    zarr.create_array(f"{dataset.image(SCAN)}", data=np.ones((24, 24, 24), np.complex64))
    dataset.add_scan(SCAN, 0.01, 0.22)
    with pytest.raises(InputError, match="voxels of type complex64"):
        plan_segmentation(job_in(Location.parse(tmp_path)))


def test_contradicting_spacings_are_refused(copied):
    dataset = Dataset(copied / "dataset")
    dataset.add_scan(SCAN, 0.02, 0.44)
    with pytest.raises(InputError, match="must agree"):
        plan_segmentation(job_in(copied))


def test_many_plans_are_short_and_say_what_they_take_together(finished):
    plan = plan_segmentation(job_in(finished[0]))
    assert plan_lines([plan], PACE, [0.2]) == plan.describe(PACE, 0.2)
    assert len(plan_lines([plan] * 2, PACE, [0.0, 0.2])) == len(plan.describe(PACE)) + len(plan.describe(PACE, 0.2)) + 1
    lines = plan_lines([plan] * 40, PACE, [0.2] * 40)
    assert len(lines) == 41
    together = 40 * sum(plan.seconds(PACE, 0.2))
    assert lines[-1] == f"together   40 scans, about {together / 60:.0f} min here"


def test_plan_describes_itself(finished):
    place, _ = finished
    plan = plan_segmentation(job_in(place))
    text = "\n".join(plan.describe(PACE))
    predict, others = plan.seconds(PACE)
    assert predict == 0.5 * len(plan.prediction.patches)
    assert 3 < others < 4
    assert "64 x 68 x 88 voxels" in text
    assert "1.00 per patch" in text
    assert f"about {predict:.0f} s for prediction and 3 s for all the rest" in text


@pytest.mark.soak  # it times, so that it needs a machine where nothing else begins or ends meanwhile
def test_the_plan_tells_how_long_prediction_takes(finished):
    """On a quiet machine within 30 %."""
    place, record = finished
    plan = plan_segmentation(job_in(place))
    pace = measured_pace(plan.bundle, plan.computation, folds=None, mirrorings=PLAIN, at_once=1)
    predict, _ = plan.seconds(pace)
    assert 1 / 4 < predict / record.seconds["predict"] < 4
