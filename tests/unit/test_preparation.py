"""Training data: what nnU-Net reads is what the definitions say, whatever the types, blocks and earlier runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_app.flows.command.cli import main
from ps3d_app.flows.command.reference import conversions, train_preprocess
from ps3d_core.border_core.vote import vote_labels
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.resample import resample_image
from ps3d_core.inference.sample import NetworkView, sample_blocks
from ps3d_core.network.intensity import Intensity
from ps3d_core.network.normalisation import PerScan, ZScore
from ps3d_core.params import PreparationParams, Resources
from ps3d_core.progress import Event, Noted, Progress, StageAdvanced, StageStarted
from ps3d_core.store.identity import content_identity
from ps3d_core.store.layout import Dataset
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, open_image
from ps3d_core.training import network_image, network_labels
from ps3d_core.training.particle_boxes import block_boxes, joined
from ps3d_core.training.preparation import preparation_claimed, prepare_training
from ps3d_core.training.preparation_plan import PreparationJob, plan_preparation
from ps3d_core.training.preparation_record import read_preparation
from ps3d_core.training.prepared_scan import CaseRun, prepare_scan
from ps3d_core.training.targets import border_core
from tests.unit.labelled import voronoi

Array = np.ndarray[Any, Any]

RNG = np.random.default_rng(5)
SHAPE = (26, 30, 22)
ZSCORE = (100.0, 25.0)
PARAMS = PreparationParams(zscore=ZSCORE, target_particle_size=12, border_thickness=2, instances=True)


def scan(shape: tuple[int, int, int], image: str, labels: str, seed: int) -> tuple[Array, Array]:
    ids = voronoi(shape, 9, seed).astype(labels)
    grey = np.where(ids > 0, 140, 70) + RNG.normal(0, 9, shape)
    return grey.astype(image), ids * (11 if labels == "uint8" else 1)


# Bytes and gaps in the ids; ids beyond 16 bits; signed ids; a name with dots and one that is not ASCII.
SCANS: dict[str, tuple[Array, Array]] = {
    "Ore2.5um": scan(SHAPE, "uint8", "uint8", 1),
    "a b": scan((20, 33, 27), "uint16", "uint32", 2),
    "µ": scan((24, 24, 31), "int16", "int64", 3),
    "float": scan((21, 22, 23), "float32", "int16", 4),
}
SCANS["a b"][1][SCANS["a b"][1] == 3] = 65_537 + 3
# Particle sizes (voxels): zoom above, below and exactly 1.
SIZES = {"Ore2.5um": 9.0, "a b": 15.0, "µ": 12.0, "float": 10.0}


def add(dataset: Dataset, name: str, image: Array, labels: Array, particle_voxels: float = 10) -> None:
    create_image(dataset.image(name), image.shape, image.dtype, spacing=0.01, name=name, overwrite=True)[:] = image
    annotate(dataset, name, labels)
    dataset.add_scan(name, 0.01, particle_voxels * 0.01)


def annotate(dataset: Dataset, name: str, labels: Array) -> None:
    dataset.truth(name).remove_tree()
    whole = {"write_empty_chunks": True}
    zarr.create_array(str(dataset.truth(name)), data=labels, config=whole)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset(Location.parse(tmp_path / "data"))
    for name, (image, labels) in SCANS.items():
        add(made, name, image, labels, SIZES[name])
    return made


def job(dataset: Dataset, names: tuple[str, ...] | None = None, **changed: Any) -> PreparationJob:
    resources = changed.pop("resources", Resources(workers=1, memory_gib=2))
    return PreparationJob(dataset, dataset.root.parent / "out", names, PARAMS.model_copy(update=changed), resources)


def stages(of: PreparationJob) -> list[str]:
    """Prepare; return the names of the stages that had something to do."""
    events: list[Event] = []
    prepare_training(of, Progress(events.append))
    return [event.stage for event in events if isinstance(event, StageStarted)]


def voxels(file: Location) -> Array:
    """Voxels of a NIfTI file, axes (z, y, x), as stored."""
    return np.asarray(nib.load(str(file)).dataobj).T


def test_files_are_what_the_definitions_say(dataset: Dataset) -> None:
    of = job(dataset)
    record, folder = prepare_training(of), of.folder
    assert folder.root == of.output / "Dataset500_ParticleSeg3D"
    for name, (image, labels) in SCANS.items():
        case, network = record.cases[name], plan_shape(image.shape, 12 / SIZES[name])
        ids = vote_labels(labels.astype(np.uint32), network, ties="higher")
        grey, classes, instances = (voxels(file) for file in folder.files(name)[:3])
        assert (grey.dtype, classes.dtype, instances.dtype) == (np.float32, np.uint8, np.uint32)
        np.testing.assert_array_equal(grey, Intensity(*ZSCORE).normalise(resample_image(image, network)))
        np.testing.assert_array_equal(classes, border_core(ids, 2))
        np.testing.assert_array_equal(instances, ids)
        header = nib.load(str(folder.image(name))).header
        assert header.get_zooms() == pytest.approx((0.1, 0.1, 0.1))
        assert (case.network_shape, case.particles) == (network, len(np.unique(ids)) - 1)
        assert case.zoom == pytest.approx(12 / SIZES[name])
        assert folder.boxes(name).read_json() == whole_boxes(ids)
    assert 65_540 in voxels(folder.instances("a b"))
    assert folder.dataset_json.read_json() == {
        "name": "ParticleSeg3D",
        "channel_names": {"0": "noNorm"},
        "labels": {"background": 0, "core": 1, "border": 2},
        "numTraining": 4,
        "file_ending": ".nii.gz",
    }
    assert read_preparation(folder.root) == record
    assert (record.target_particle_size, record.border_thickness) == (12, 2)
    assert record.normalisation == ZScore(mean=100, std=25)
    assert {name.partition("/")[0] for name in folder.root.find()} == {
        "imagesTr", "labelsTr", "labelsTr_instance", "boxesTr", "dataset.json", "ps3d.json", ".lease",
    }  # fmt: skip


def plan_shape(shape: tuple[int, ...], zoom: float) -> tuple[int, int, int]:
    z, y, x = (round(n * zoom) for n in shape)
    return z, y, x


def boxes_of(labels: Array) -> dict[str, list[int]]:
    """Box of every label, one after another."""
    places = {label: np.argwhere(labels == label) for label in np.unique(labels[labels > 0]).tolist()}
    return {str(label): [*at.min(axis=0).tolist(), *(at.max(axis=0) + 1).tolist()] for label, at in places.items()}


def whole_boxes(labels: Array) -> dict[str, list[int]]:
    """Of those that no face of the volume cuts."""
    faces = np.ones(labels.shape, bool)
    faces[1:-1, 1:-1, 1:-1] = False
    cut = {str(label) for label in np.unique(labels[faces]).tolist()}
    return {label: box for label, box in boxes_of(labels).items() if label not in cut}


def test_grey_values_measured_per_scan_as_inference_does(dataset: Dataset) -> None:
    of = job(dataset, ("a b",), zscore=None, per_scan=True)
    case = prepare_training(of).cases["a b"]
    view = NetworkView(open_image(dataset.image("a b")), case.network_shape)
    assert case.intensity == PerScan().intensity(sample_blocks(view))
    grey = resample_image(SCANS["a b"][0], case.network_shape)
    np.testing.assert_array_equal(voxels(of.folder.image("a b")), case.intensity.normalise(grey))


def test_blocks_and_workers_change_nothing(tmp_path: Path) -> None:
    results = []
    for workers, runner in ((1, "threads"), (2, "processes")):
        of = large(tmp_path / runner, Resources(workers=workers, memory_gib=4, runner=runner))
        (case,) = plan_preparation(of).cases
        assert len(case.blocks) == workers
        prepare_training(of)
        results.append({name: (of.folder.root / name).read_bytes() for name in of.folder.root.find() if "Tr" in name})
    assert results[0].keys() == results[1].keys()
    assert results[0] == results[1]


def large(place: Path, resources: Resources) -> PreparationJob:
    """A scan of 135 x 54 x 117 voxels on the network grid, which can be cut where 128 ends."""
    dataset = Dataset(Location.parse(place / "data"))
    image = np.random.default_rng(0).normal(100, 25, (150, 60, 130)).astype(np.float32)
    labels = voronoi((15, 6, 13), 60, 1).repeat(10, 0).repeat(10, 1).repeat(10, 2)
    add(dataset, "a", image, labels)
    return job(dataset, target_particle_size=9, border_thickness=3, resources=resources)


@pytest.mark.parametrize("part", ["image", "labels"])
@pytest.mark.parametrize("raised", [False, True])
def test_a_killed_run_goes_on_at_its_finished_blocks(
    tmp_path: Path, part: str, raised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_preparation(large(tmp_path, Resources(workers=2, memory_gib=4)))
    one = plan.job.resources.model_copy(update={"workers": 1})
    plan = replace(plan, job=replace(plan.job, resources=one))
    (case,) = plan.cases
    events: list[Event] = []

    def stop(event: Event) -> None:
        if isinstance(event, StageAdvanced) and event.stage == f"{part} a":
            raise KeyboardInterrupt

    with preparation_claimed(plan):
        with pytest.raises(KeyboardInterrupt):
            prepare_scan(plan, case, Progress(stop))
        if raised:
            raise_version(part, monkeypatch)
        prepare_scan(plan, case, Progress(events.append))
    (started,) = (event for event in events if isinstance(event, StageStarted) and event.stage == f"{part} a")
    assert (started.total, started.already) == (2, 0 if raised else 1)


def raise_version(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = {"image": network_image, "labels": network_labels}[part]
    monkeypatch.setattr(module, "VERSION", module.VERSION + 1)


@pytest.mark.parametrize("part", ["image", "labels"])
def test_a_raised_version_redoes_its_part(dataset: Dataset, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of = job(dataset, ("a b", "µ"))
    prepare_training(of)
    raise_version(part, monkeypatch)
    assert [stage for stage in stages(of) if "write" not in stage] == [f"{part} a b", f"{part} µ"]
    assert stages(of) == []


def test_fingerprints_are_those_of_earlier_releases(dataset: Dataset) -> None:
    """They stand in the ps3d.json of finished folders, which would be made again otherwise."""
    plan = plan_preparation(job(dataset, ("a b",)))
    shape, image, labels = (16, 26, 22), content_identity(dataset.image("a b")), content_identity(dataset.truth("a b"))
    run = CaseRun(plan, plan.cases[0])
    normalisation = {"kind": "zscore", "mean": 100.0, "std": 25.0, "low": None, "high": None}
    assert run.image.fingerprint == fingerprint("image", 1, image, shape, (normalisation, 0.1))
    assert run.labels.fingerprint == fingerprint("labels", 1, labels, shape, (2.0, True, 0.1))


def test_a_dataset_json_that_is_not_as_it_was_written_is_made_again(dataset: Dataset) -> None:
    of = job(dataset, ("µ",))
    prepare_training(of)
    file, whole = of.folder.dataset_json, of.folder.dataset_json.read_bytes()
    file.remove_tree()
    assert stages(of) == []
    assert file.read_bytes() == whole
    file.write_text("{}")
    notes: list[str] = []
    prepare_training(of, Progress(lambda event: notes.append(event.text) if isinstance(event, Noted) else None))
    assert notes == [f"{file}: not as it was written; kept as {of.folder.root}/dataset.json.kept-1, and made again"]
    assert file.read_bytes() == whole
    assert (of.folder.root / "dataset.json.kept-1").read_text() == "{}"


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 14)] * 3), st.tuples(*[st.integers(1, 14)] * 3))
def test_boxes_do_not_depend_on_blocks(seed: int, shape: tuple[int, int, int], block: tuple[int, int, int]) -> None:
    labels = np.random.default_rng(seed).choice(np.array([0, 0, 1, 7, 2**32 - 1], np.uint32), shape)
    blocks = list(BlockGrid(shape, block))
    boxes = joined(block_boxes(np.ascontiguousarray(labels[b.core.slices]), b.core.start) for b in blocks)
    assert boxes.to_json() == boxes_of(labels)
    assert boxes.inside(shape).to_json() == whole_boxes(labels)


def test_a_run_does_only_what_is_new(dataset: Dataset) -> None:
    two = ("a b", "µ")
    everything = stages(job(dataset, two))
    assert len(everything) == 2 * 5
    assert stages(job(dataset, two)) == []

    thicker = stages(job(dataset, two, border_thickness=3))
    assert {stage.partition(" ")[0] for stage in thicker} == {"labels", "write"}
    assert not any("imagesTr" in stage for stage in thicker)
    assert stages(job(dataset, two, border_thickness=3, zscore=(90.0, 20.0))) == [
        f"{what}{name}{end}" for name in two for what, end in (("image ", ""), ("write imagesTr/", "_0000.nii.gz"))
    ]

    assert all(
        "float" in stage for stage in stages(job(dataset, (*two, "float"), border_thickness=3, zscore=(90.0, 20.0)))
    )
    of = job(dataset, ("a b", "float"), border_thickness=3, zscore=(90.0, 20.0))
    assert plan_preparation(of).dropped == ("µ",)
    assert stages(of) == []
    assert not any("µ" in name for name in of.folder.root.find())

    of.folder.classes("float").remove_tree()
    assert [stage for stage in stages(of) if "write" not in stage] == ["labels float"]
    add(dataset, "float", SCANS["float"][0] + 1, SCANS["float"][1])
    assert [stage for stage in stages(of) if "write" not in stage] == ["image float", "labels float"]
    assert len(read_preparation(of.folder.root).cases) == of.folder.dataset_json.read_json()["numTraining"] == 2


def test_files_that_somebody_corrected_are_not_written_over(dataset: Dataset) -> None:
    of = job(dataset, ("µ",))
    prepare_training(of)
    file = of.folder.classes("µ")
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    with pytest.raises(InputError, match=r"labelsTr/µ\.nii\.gz: not as it was written"):
        prepare_training(of)
    assert file.read_bytes() == whole[:-1]
    file.remove_tree()
    prepare_training(of)
    assert file.read_bytes() == whole


def test_a_failed_run_keeps_what_is_finished_and_claims_nothing(dataset: Dataset) -> None:
    of = job(dataset)
    prepare_training(of)
    labels = SCANS["µ"][1].copy()
    labels[3, 4, 5] = -7
    annotate(dataset, "µ", labels)
    with pytest.raises(InputError, match=r"scan 'µ'.*labels -7 to"):
        prepare_training(of)
    assert not of.folder.record.exists()
    assert not of.folder.dataset_json.exists()
    with pytest.raises(InputError, match="no finished training data"):
        read_preparation(of.folder.root)
    annotate(dataset, "µ", SCANS["µ"][1])
    assert {stage for stage in stages(of) if "write" not in stage} == {"labels µ"}


@pytest.mark.parametrize(
    ("image", "labels", "problem"),
    [
        (None, np.full(SHAPE, 2**32, np.uint64), "labels 4294967296 to 4294967296.*limits are 0 and 4294967295"),
        (None, np.zeros(SHAPE, np.uint16), "no particle in"),
        (np.full(SHAPE, np.nan, np.float32), None, "grey values that are infinite, not a number"),
    ],
)
def test_what_only_voxels_know(tmp_path: Path, image: Array | None, labels: Array | None, problem: str) -> None:
    dataset = Dataset(Location.parse(tmp_path / "data"))
    good_image, good_labels = SCANS["Ore2.5um"]
    add(dataset, "bad", good_image if image is None else image, good_labels if labels is None else labels)
    with pytest.raises(InputError, match=f"scan 'bad'.*{problem}"):
        prepare_training(job(dataset))


def test_all_problems_are_said_before_any_work(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    image, labels = SCANS["a b"]
    add(dataset, "unlabelled", image, labels)
    dataset.truth("unlabelled").remove_tree()
    add(dataset, "cropped", image, labels[1:])
    add(dataset, "probabilities", image, labels.astype(np.float32))
    add(dataset, "huge particles", image, labels, 5000)
    add(dataset, "twice", image, labels)
    (dataset.root / "images" / "twice.nii.gz").write_bytes(b"")
    add(dataset, "contradicted", image, labels)
    add(dataset, "unknown", image, labels)
    entries = dataset.metadata.read_json()
    del entries["unknown"]
    entries["contradicted"]["spacing"] = 0.02
    dataset.metadata.write_json(entries)
    command = ["prepare-training", str(dataset.root), str(dataset.root.parent / "out"), "--zscore", "1", "2"]
    assert main([*command, "--target-particle-size", "12"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "7 problems, nothing was done" in line
    for name, problem in {
        "unlabelled": "no labels at",
        "cropped": "labels of (19, 33, 27) voxels on an image of (20, 33, 27)",
        "probabilities": "labels of type float32; must be integers",
        "huge particles": "more than twice the scan",
        "twice": "are both there",
        "contradicted": "must agree to 1 %",
        "unknown": "not in",
    }.items():
        assert problem in line.partition(f"scan '{name}'")[2].partition("scan '")[0]
    assert not (dataset.root.parent / "out").exists()


def test_metadata_that_cannot_be_true(dataset: Dataset) -> None:
    entries = dataset.metadata.read_json()
    entries["µ"]["spacing"] = -1
    dataset.metadata.write_json(entries)
    with pytest.raises(InputError, match=r"metadata.json: µ\.spacing -1: must be above 0"):
        plan_preparation(job(dataset))
    with pytest.raises(InputError, match=r"scan 'nobody': no image at .* give another name"):
        plan_preparation(job(dataset, ("nobody",)))


def test_folders_of_others_are_left_alone(dataset: Dataset) -> None:
    of = job(dataset)
    (of.output / "Dataset500_Other" / "dataset.json").write_text("{}")
    with pytest.raises(InputError, match=r"Dataset500_Other is there.*give another id"):
        plan_preparation(of)
    (of.output / "Dataset500_Other").remove_tree()
    theirs = of.folder.root / "imagesTr" / "liver_0000.nii.gz"
    theirs.write_bytes(b"theirs")
    with pytest.raises(InputError, match=r"liver_0000.*not made by"):
        plan_preparation(of)
    assert theirs.read_bytes() == b"theirs"


@pytest.mark.parametrize(
    "damage",
    [
        {"format": "something else"},
        {"version": 2},
        {"border_thickness": 0},
        {"cases": {}},
        {"extra": 1},
        {"normalisation": {"kind": "zscore", "mean": 1, "std": 0}},
        {"cases": {"../../a": None}},
    ],
)
def test_records_are_checked_when_read(dataset: Dataset, damage: dict[str, Any]) -> None:
    of = job(dataset, ("µ",))
    good = plan_preparation(of)
    record = good.record([CaseRun(good, good.cases[0]).record(Intensity(1, 2), 3, {})]).model_dump(mode="json")
    if None in damage.get("cases", {}).values():
        damage = {"cases": {name: {**record["cases"]["µ"], "scan": name} for name in damage["cases"]}}
    of.folder.record.write_json({**record, **damage})
    with pytest.raises(InputError, match=r"ps3d\.json: .*prepare the training data again"):
        read_preparation(of.folder.root)


def test_command_uses_the_datasets_zscore_and_says_what_is_next(
    dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    out = dataset.root.parent / "out"
    command = ["prepare-training", str(dataset.root), str(out), "--target-particle-size", "12", "--name", "µ"]
    assert main(command) == 2
    assert "zscore.json: no z-score here; make it with ps3d zscore" in capsys.readouterr().err
    dataset.zscore.write_json({"mean": 100.5, "std": 20})
    assert main([*command, "--id", "7", "--dataset-name", "Ore"]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == f"  next    ps3d train {out}/Dataset007_Ore BUNDLE"
    assert "grey values minus 100.5, divided by 20" in shown.err
    assert "million voxels on the network grid" in shown.err
    assert read_preparation(out / "Dataset007_Ore").normalisation == ZScore(mean=100.5, std=20)
    assert main([*command, "--dataset-name", "../x"]) == 2


def test_the_references_command_on_its_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices to NIfTI as its README says, its flags, the folder that nnU-Net 1 reads."""
    for name in ("Ore2.5um", "float"):
        for kind, volume in zip(("images", "instance_seg"), SCANS[name], strict=True):
            slices = tmp_path / "slices" / kind / name
            slices.mkdir(parents=True)
            for z, values in enumerate(volume):
                tifffile.imwrite(slices / f"{z:04d}.tiff", values)
            convert = f"ps3d_tiff2nifti -i {slices} -o {tmp_path}/{kind} -s 0.1 0.1 0.1"
            monkeypatch.setattr("sys.argv", convert.split())
            assert conversions.tiff2nifti() == 0
    metadata = {name: {"spacing": 0.01, "particle_size": SIZES[name] * 0.01} for name in SCANS}
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    flags = f"-i {tmp_path} -o {tmp_path}/out -z 100 25 -n Ore2.5um float -t 42 -target_particle_size 12"
    flags += " -target_spacing 0.2 -p 2 -thickness 2 --disable_gpu"
    monkeypatch.setattr("sys.argv", ["ps3d_train_preprocess", *flags.split()])
    assert train_preprocess.main() == 0
    task = tmp_path / "out" / "Task042_ParticleSeg3D"
    said = json.loads((task / "dataset.json").read_text())
    assert said["modality"] == {"0": "noNorm"}
    assert list(said["labels"]) == ["0", "1", "2"]
    assert [entry["image"] for entry in said["training"]] == ["./imagesTr/Ore2.5um.nii.gz", "./imagesTr/float.nii.gz"]
    assert said["numTraining"] == 2
    for name in ("Ore2.5um", "float"):
        image, labels = SCANS[name]
        network = plan_shape(image.shape, 12 / SIZES[name])
        ids = vote_labels(labels.astype(np.uint32), network, ties="higher")
        grey = nib.load(task / "imagesTr" / f"{name}_0000.nii.gz")
        assert grey.header.get_zooms() == pytest.approx((0.2, 0.2, 0.2))
        expected = Intensity(*ZSCORE).normalise(resample_image(image, network))
        np.testing.assert_array_equal(np.asarray(grey.dataobj).T, expected)
        np.testing.assert_array_equal(voxels(Location.parse(task / "labelsTr" / f"{name}.nii.gz")), border_core(ids, 2))
        np.testing.assert_array_equal(voxels(Location.parse(task / "labelsTr_instance" / f"{name}.nii.gz")), ids)
    assert read_preparation(Location.parse(task)).layout == "nnunet-v1"
