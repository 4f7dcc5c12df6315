"""Done means whole: a result that is not what run.json says is made again, and nobody's own work is lost over it."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import zarr

from ps3d_core.border_core import plan as instances
from ps3d_core.border_core import to_scan_grid
from ps3d_core.contacts import packing
from ps3d_core.contacts import table as contacts
from ps3d_core.errors import InputError
from ps3d_core.inference import predict, sample
from ps3d_core.measuring import measure
from ps3d_core.params import PredictParams, Resources, SegmentParams
from ps3d_core.particles import report, table
from ps3d_core.pipeline import run_of, segment
from ps3d_core.plan import plan_segmentation
from ps3d_core.progress import Noted, Progress
from ps3d_core.record import read_record
from ps3d_core.steps import label_image, pyramid, verdict
from ps3d_core.steps.border_core import BorderCore
from ps3d_core.steps.instances import Instances
from ps3d_core.steps.label_image import LabelImage
from ps3d_core.store.arrays import create_array
from ps3d_core.store.ome import create_image, open_image
from ps3d_core.store.ownership import mark_own
from tests.integration.damage_campaign import job_in, make_inputs, result_of

CHUNK = "ore.zarr/0/c/0/0/0"


def job_at(place, *, keep_work=False, **changes):
    return job_in(str(place), keep_work=keep_work, resources=Resources(workers=1, memory_gib=4), **changes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run without intermediates, and the bytes of its result."""
    place = tmp_path_factory.mktemp("whole")
    job = job_at(place)
    make_inputs(job)
    segment(job)
    return place, result_of(job.result)


@pytest.fixture
def job(finished, tmp_path):
    """The same in a place of its own."""
    place, _ = finished
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    return job_at(tmp_path)


def test_a_whole_result_is_not_touched(job, finished):
    before = {name: info["mtime"] for name, info in job.result.root.find(hidden=True).items()}
    segment(job)
    assert {name: info["mtime"] for name, info in job.result.root.find(hidden=True).items()} == before


def test_what_killed_processes_left_of_single_files_is_no_part_of_a_result(job, finished, monkeypatch):
    unfinished = [f"{CHUNK}.{'a' * 32}.partial", f"ore.zarr/0/zarr.{'b' * 32}.partial", f".run.json.{'c' * 32}.tmp"]

    def killed_before(build_pyramid):
        def build(*args, **options):
            for name in unfinished:
                (job.result.root / name).write_bytes(b"begun")
            build_pyramid(*args, **options)

        return build

    monkeypatch.setattr(label_image, "build_pyramid", killed_before(label_image.build_pyramid))
    job.result.remove()
    segment(job)
    assert result_of(job.result) == finished[1]
    assert not set(unfinished) & set(job.result.root.find(hidden=True))


def removed(file):
    file.remove_tree()


def cut(file):
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.parametrize("damage", [removed, cut])
@pytest.mark.parametrize("part", ["particles.csv", "particles.parquet", "report.html"])
def test_a_table_or_report_is_made_again_without_a_network(job, finished, monkeypatch, part, damage):
    def unexpected(*_args, **_options):
        raise AssertionError("nothing needs to be predicted, nor labelled")

    for step in (BorderCore, Instances, LabelImage):
        monkeypatch.setattr(step, "make", unexpected)
    damage(job.result.root / part)
    segment(job)
    assert result_of(job.result) == finished[1]
    kept = [name for name in job.result.root.children() if ".kept-" in name]
    assert kept == ([] if damage is removed else [f"{part}.kept-1"])
    assert not job.result.work.exists()


@pytest.mark.parametrize("damage", [removed, cut])
def test_a_label_image_that_lacks_a_chunk_is_made_again(job, finished, damage):
    damage(job.result.root / CHUNK)
    segment(job)
    assert result_of(job.result) == finished[1]


@pytest.mark.parametrize("recorded", [True, False])
def test_labels_that_somebody_corrected_are_kept(job, finished, recorded):
    if not recorded:
        job.result.run.remove_tree()
    corrected = zarr.open_array(str(job.result.labels / "0"), mode="r+")
    corrected[:4] = 7
    notes = []
    segment(job, Progress(lambda event: notes.append(event.text) if isinstance(event, Noted) else None))
    assert result_of(job.result) == finished[1]
    kept = job.result.root / "ore.zarr.kept-1"
    assert (open_image(kept)[:4] == 7).all()
    assert any("not as it was written" in note and str(kept) in note for note in notes)


def test_a_table_of_another_measurement_is_no_part_of_the_result(job, finished):
    for part in (job.result.table_csv, job.result.table_parquet):
        part.write_text("label,voxels\n1,1\n")
    segment(job)
    assert result_of(job.result) == finished[1]
    assert (job.result.root / "particles.csv.kept-1").read_text() == "label,voxels\n1,1\n"


def without_parts(content):
    return json.dumps({key: value for key, value in json.loads(content).items() if key not in ("parts", "checksum")})


@pytest.mark.parametrize(
    "change",
    [
        without_parts,
        lambda content: content.replace('"particles": ', '"particles": 1'),
        lambda content: content.replace('"checksum"', '"cheksum"'),
        lambda content: content[:-100],
        lambda _: "{}",
    ],
)
def test_a_record_that_says_nothing_reliable_is_no_record(job, finished, change):
    changed = change(job.result.run.read_text())
    job.result.run.write_text(changed)
    (job.result.root / CHUNK).remove_tree()
    segment(job)
    assert result_of(job.result) == finished[1]
    assert read_record(job.result.run).parts


def test_what_a_killed_run_left_goes_with_the_next_call(job):
    mark_own(job.result.work)
    (job.result.work / "border-core.zarr" / "zarr.json").write_text("{}")
    segment(job_at(job.output.parent, keep_work=True))
    assert job.result.work.exists()
    segment(job)
    assert not job.result.work.exists()


VERSIONS = [
    (sample, "VERSION", "intensity"),
    (predict, "VERSION", "predict"),
    (instances, "VERSION", "instances"),
    (to_scan_grid, "VERSION", "labels"),
    (pyramid, "VERSION", "labels"),
    (measure, "VERSION", "particles"),
    (table, "VERSION", "particles"),
    (report, "VERSION", "report"),
    (contacts, "VERSION", "contacts"),
    (packing, "VERSION", "contacts"),
    (verdict, "VERSION", "verdict"),
]
FOLLOWING = {
    "intensity": ["predict", "instances", "labels", "contacts", "particles", "verdict", "report"],
    "predict": ["instances", "labels", "contacts", "particles", "verdict", "report"],
    "instances": ["labels", "contacts", "particles", "verdict", "report"],
    "labels": ["contacts", "particles", "verdict", "report"],
    "contacts": ["particles", "verdict", "report"],
    "particles": ["verdict", "report"],
    "verdict": ["report"],
    "report": [],
}


def noted_steps(job, monkeypatch):
    """Names of the steps that are made from now on."""
    made = []

    def noting(kind):
        make = kind.make

        def noted(step, done, progress):
            made.append(step.name)
            return make(step, done, progress)

        return noted

    for step in run_of(plan_segmentation(job)).steps:
        monkeypatch.setattr(type(step), "make", noting(type(step)))
    return made


def test_a_raised_version_redoes_exactly_its_step_and_what_follows(job, finished, monkeypatch):
    job = job_at(job.output.parent, keep_work=True)
    job.result.root.remove_tree()
    segment(job)
    made = noted_steps(job, monkeypatch)
    for module, name, step in VERSIONS:
        made.clear()
        monkeypatch.setattr(module, name, getattr(module, name) + 1)
        segment(job)
        assert made == [step, *FOLLOWING[step]]
        made.clear()
        segment(job)
        assert not made
    for name in ("labels/0/c/0/0/0", "csv/", "parquet/"):
        assert result_of(job.result)[name] == finished[1][name]


@pytest.mark.parametrize("zscore", [None, (5.0, 2.0)])
@pytest.mark.parametrize("attributes", [{}, {"ps3d": {"minimum": 5, "maximum": 5}}])
def test_a_scan_of_one_grey_value_is_refused_before_anything_is_written(job, zscore, attributes):
    image = job.dataset.image("ore")
    array = create_image(image, (20, 30, 40), "uint16", spacing=0.01, name="ore", overwrite=True, attributes=attributes)
    array[:] = 5
    job.output.remove_tree()
    params = SegmentParams(predict=PredictParams(mirror=False, device="cpu", zscore=zscore))
    constant = job_at(job.output.parent, params=params)
    with pytest.raises(InputError, match=r"ore\.zarr: every voxel is 5;"):
        segment(constant)
    assert not job.output.exists()


def test_a_bare_array_of_one_grey_value_with_one_other_voxel_is_a_scan(job):
    from ps3d_core.scan.contrast import require_contrast

    place = job.output / "bare.zarr"
    array = create_array(place, (40, 30, 20), "float32", chunks=(10, 30, 20), shards=(10, 30, 20))
    array[:] = np.float32(0.5)
    with pytest.raises(InputError, match=r"bare\.zarr: every voxel is 0\.5"):
        require_contrast(place)
    array[39, 29, 19] = 1
    require_contrast(place)


@pytest.mark.parametrize(
    ("store", "damages", "kills"),
    [
        ("folder", 10, 1),
        *(
            pytest.param(store, 200, 7, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])
            for store in ("folder", "s3")
        ),
    ],
)
def test_no_damage_leads_to_another_result(store, damages, kills):
    campaign = ["-m", "tests.integration.damage_campaign", "--damages", str(damages), "--kills", str(kills)]
    done = subprocess.run(
        [sys.executable, *campaign, "--seed", "7", "--store", store], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{damages} same result" in done.stdout or "refused" in done.stdout
