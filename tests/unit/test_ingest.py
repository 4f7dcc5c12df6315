from __future__ import annotations

import hashlib
import resource
import signal
import uuid

import fsspec
import nibabel as nib
import numpy as np
import ome_zarr_models
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ome_zarr_models.v05.image import Image
from tifffile import imwrite

from ps3d_core.errors import InputError, NoSpaceError
from ps3d_core.invalid import made
from ps3d_core.params import IngestParams
from ps3d_core.progress import Noted, Progress, StageAdvanced
from ps3d_core.scan.image_writer import write_levels
from ps3d_core.scan.ingest import ingest
from ps3d_core.scan.reader import ScanReader
from ps3d_core.scan.slabs import OVERHEAD, deepest_slab, read_ahead
from ps3d_core.store import staging
from ps3d_core.store.arrays import open_array
from ps3d_core.store.halving import halve
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, image_spacing, open_image
from ps3d_core.store.ownership import mark_own

GREY = np.random.default_rng(0).integers(0, 60000, (12, 40, 50)).astype(np.uint16)
SIZES = {"spacing": 0.01, "particle_size": 0.1}


@pytest.fixture(params=["folder", "memory"])
def root(request, tmp_path):
    return Location.parse(tmp_path / "data" if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def dataset(root):
    return Dataset(root)


def slices(folder, volume=GREY, **options):
    folder.mkdir()
    for index, values in enumerate(volume):
        imwrite(folder / f"slice_{index}.tif", values, **options)
    return folder


def everything(location: Location) -> dict[str, bytes]:
    """All that lies below, hidden files too."""
    if (path := location.local_path) is not None:
        return {str(p.relative_to(path)): p.read_bytes() if p.is_file() else b"" for p in sorted(path.rglob("*"))}
    filesystem = fsspec.filesystem("memory")
    return {path: filesystem.cat_file(path) for path in filesystem.find(str(location))}


def test_ingest_leaves_image_levels_and_metadata(tmp_path, dataset):
    volume = np.random.default_rng(1).integers(0, 900, (20, 30, 300)).astype(np.uint16)
    summary = ingest(str(slices(tmp_path / "scan", volume)), dataset, "Ore2.5um", IngestParams(**SIZES))
    image = dataset.image("Ore2.5um")
    assert np.array_equal(open_image(image)[:], volume)
    assert open_image(image).dtype == np.uint16
    assert np.array_equal(open_array(image / "1")[:], halve(volume, "mean"))
    assert image.children() == ["0", "1", "zarr.json"]
    assert image_spacing(image) == (0.01, 0.01, 0.01)
    assert isinstance(ome_zarr_models.open_ome_zarr(image.zarr_store(read_only=True)), Image)
    info = dataset.scan_info("Ore2.5um")
    assert (info.spacing, info.particle_size) == (0.01, 0.1)
    about = (image / "zarr.json").read_json()["attributes"]["ps3d"]
    assert about["source"] == "20 TIFF slices, slice_0.tif to slice_19.tif"
    assert str(tmp_path) not in str(about)
    assert about["sha256"] == summary.sha256 == hashlib.sha256(volume.tobytes()).hexdigest()
    assert (about["minimum"], about["maximum"]) == (volume.min(), volume.max())
    assert (summary.shape, summary.dtype, summary.levels) == ((20, 30, 300), "uint16", 2)
    assert dataset.root.children() == ["images", "metadata.json"]
    assert (dataset.root / "images").children() == ["Ore2.5um.zarr"]


@settings(max_examples=25)
@given(
    volume=hnp.arrays(
        st.sampled_from(["u1", "u2", "i2", "u4", "i4"]),
        st.tuples(st.integers(2, 9), st.integers(1, 20), st.integers(1, 20)),
    )
)
def test_round_trip_of_any_shape_and_dtype(tmp_path, volume):
    path = tmp_path / f"{uuid.uuid4().hex}.tif"
    imwrite(path, volume, photometric="minisblack", metadata={"axes": "ZYX"})
    dataset = Dataset(Location.parse(f"memory://{uuid.uuid4().hex}"))
    ingest(str(path), dataset, "scan", IngestParams(spacing=1.0, particle_size=2.0))
    back = open_image(dataset.image("scan"))[:]
    assert back.dtype == volume.dtype
    assert np.array_equal(back, volume)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_dtype_is_kept(tmp_path, dataset, dtype):
    ingest(str(slices(tmp_path / "scan", GREY.astype(dtype))), dataset, "scan", IngestParams(**SIZES))
    back = open_image(dataset.image("scan"))
    assert back.dtype == dtype
    assert np.array_equal(back[:], GREY)


def test_ingest_from_a_store(tmp_path, dataset):
    url = f"memory://{uuid.uuid4().hex}"
    for path in slices(tmp_path / "scan").iterdir():
        fsspec.filesystem("memory").pipe_file(f"{url}/{path.name}", path.read_bytes())
    ingest(url, dataset, "scan", IngestParams(**SIZES))
    assert np.array_equal(open_image(dataset.image("scan"))[:], GREY)


def test_ingest_of_a_zarr_in_fortran_order(tmp_path, dataset):
    zarr.create_array(tmp_path / "foreign.zarr", data=GREY, chunks=GREY.shape, zarr_format=2, order="F")
    summary = ingest(str(tmp_path / "foreign.zarr"), dataset, "foreign", IngestParams(**SIZES))
    assert np.array_equal(open_image(dataset.image("foreign"))[:], GREY)
    assert summary.sha256 == hashlib.sha256(GREY.tobytes()).hexdigest()


def test_progress_counts_slices(tmp_path, dataset):
    events = []
    ingest(str(slices(tmp_path / "scan")), dataset, "scan", IngestParams(**SIZES), progress=Progress(events.append))
    assert [event.done for event in events if isinstance(event, StageAdvanced)][-1] == len(GREY)


def test_spacing_of_the_source(tmp_path, dataset):
    meta = {"axes": "ZYX", "spacing": 0.02, "unit": "mm"}
    imwrite(tmp_path / "scan.tif", GREY, imagej=True, resolution=(50, 50), metadata=meta)
    assert (
        ingest(str(tmp_path / "scan.tif"), dataset, "own", IngestParams(spacing=None, particle_size=0.2)).spacing
        == 0.02
    )
    events = []
    ingest(str(tmp_path / "scan.tif"), dataset, "given", IngestParams(**SIZES), progress=Progress(events.append))
    assert any(isinstance(event, Noted) and "spacing 0.01 mm is used" in event.text for event in events)
    imwrite(tmp_path / "flat.tif", GREY, imagej=True, resolution=(50, 25), metadata=meta)
    flat = ingest(str(tmp_path / "flat.tif"), dataset, "flat", IngestParams(spacing=None, particle_size=0.2))
    assert flat.spacing == dataset.scan_info("flat").spacing == (0.02, 0.04, 0.02)


# --- memory ---


class Generated(ScanReader):
    """A scan that is computed, and remembers how it was read."""

    dtype = np.dtype(np.uint8)
    description = "generated"

    def __init__(self, shape):
        self.shape = shape
        self.ranges = []
        self.values = np.random.default_rng(2).integers(0, 200, shape).astype(np.uint8)

    def read(self, start, stop):
        self.ranges.append((start, stop))
        return self.values[start:stop].copy()

    def close(self):
        pass


@pytest.mark.parametrize("depth", [2, 4, 8, 16])
def test_result_does_not_depend_on_the_slab(root, depth):
    reader = Generated((37, 70, 260))
    budget = int(OVERHEAD + 3.0 * depth * 70 * 260)
    with Progress().stage("ingest", 37, "slices") as stage:
        shapes = write_levels(reader, root / "x.zarr", method="mean", memory_bytes=budget, stage=stage)
    assert reader.ranges == [(z, min(z + depth, 37)) for z in range(0, 37, depth)]
    assert shapes == [(37, 70, 260), (19, 35, 130)]
    assert np.array_equal(open_array(root / "x.zarr" / "0")[:], reader.values)
    assert np.array_equal(open_array(root / "x.zarr" / "1")[:], halve(reader.values, "mean"))
    assert open_array(root / "x.zarr" / "0").shards[0] == depth


def test_memory_that_cannot_hold_two_slices():
    assert deepest_slab((500, 1000, 1000), "u2", 4 * 2**30, most=128) == 67  # a share of the budget
    assert deepest_slab((500, 1000, 1000), "u2", 8 * 2**30, most=128) == 128
    assert deepest_slab((500, 4000, 4000), "u2", 4 * 2**30, most=128) == 32  # no flatter than that where it fits
    assert deepest_slab((500, 1000, 1000), "u2", OVERHEAD + 180 * 10**6, most=128) == 30
    assert deepest_slab((500, 1000, 1000), "u2", OVERHEAD + 180 * 10**6, most=128, chunk_depth=16) == 16
    assert deepest_slab((500, 1000, 1000), "u2", OVERHEAD + 180 * 10**6, most=128, chunk_depth=64) == 30
    assert deepest_slab((500, 10, 10), "u2", 4 * 2**30, most=128, chunk_depth=48) == 96
    with pytest.raises(InputError, match="slices of 1000 x 1000 uint16 need at least"):
        deepest_slab((500, 1000, 1000), "u2", OVERHEAD, most=128)


def test_reading_ahead_is_one_slab_ahead():
    reader = Generated((10, 2, 2))
    slabs = read_ahead(reader, 4)
    assert next(slabs)[0] == 0
    assert next(slabs)[0] == 4
    slabs.close()
    assert reader.ranges == [(0, 4), (4, 8), (8, 10)]


def test_error_of_the_reader_reaches_the_caller():
    class Broken(Generated):
        def read(self, start, stop):
            if start >= 8:
                raise InputError("slice 8: damaged; restore it")
            return super().read(start, stop)

    with pytest.raises(InputError, match="slice 8"):
        list(read_ahead(Broken((10, 2, 2)), 4))


# --- refusals leave nothing ---


def cut(path):
    path.write_bytes(path.read_bytes()[:-300])


def scramble(path):
    path.write_bytes(path.read_bytes()[:200] + b"\xff" * (path.stat().st_size - 200))


FAULTS = {
    "mixed shapes": lambda folder: imwrite(folder / "slice_7.tif", GREY[0, :9]),
    "mixed dtypes": lambda folder: imwrite(folder / "slice_7.tif", GREY[0].astype("u1")),
    "truncated": lambda folder: cut(folder / "slice_7.tif"),
    "scrambled": lambda folder: scramble(folder / "slice_7.tif"),
    "gap": lambda folder: (folder / "slice_7.tif").unlink(),
    "rgb": lambda folder: imwrite(folder / "slice_7.tif", np.zeros((40, 50, 3), "u1"), photometric="rgb"),
    "empty folder": lambda folder: [path.unlink() for path in folder.iterdir()],
    "one slice": lambda folder: [path.unlink() for path in folder.iterdir() if path.name != "slice_7.tif"],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_source_leaves_nothing(tmp_path, dataset, fault):
    folder = slices(tmp_path / "scan", compression="lzw")
    FAULTS[fault](folder)
    with pytest.raises(InputError) as caught:
        ingest(str(folder), dataset, "scan", IngestParams(**SIZES))
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)
    assert everything(dataset.root) == {}
    assert not dataset.root.exists()


@pytest.mark.parametrize("fault", ["truncated", "scrambled", "gap"])
def test_a_faulty_source_leaves_the_others_alone(tmp_path, dataset, fault):
    ingest(str(slices(tmp_path / "good")), dataset, "good", IngestParams(**SIZES))
    before = everything(dataset.root)
    folder = slices(tmp_path / "scan", compression="lzw")
    FAULTS[fault](folder)
    for name, overwrite in (("other", False), ("good", True)):
        with pytest.raises(InputError):
            ingest(str(folder), dataset, name, IngestParams(**SIZES, overwrite=overwrite))
        assert everything(dataset.root) == before


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"spacing": 0, "particle_size": 0.1}, "spacing 0.*must be above 0"),
        ({"spacing": -0.01, "particle_size": 0.1}, "must be above 0"),
        ({"spacing": float("nan"), "particle_size": 0.1}, "spacing nan"),
        ({"spacing": None, "particle_size": 0.1}, "does not say its spacing"),
        ({"spacing": 0.01, "particle_size": 0}, "particle_size 0"),
        ({"spacing": 0.01, "particle_size": 0.015}, r"must be 0\.02 mm \(2 voxels\) to 0\.5 mm"),
        ({"spacing": 0.01, "particle_size": 0.6}, "particle size 0.6 mm"),
        ({"spacing": 0.01, "particle_size": float("inf")}, "particle_size inf"),
    ],
)
def test_impossible_sizes(tmp_path, dataset, sizes, message):
    with pytest.raises(InputError, match=message):
        ingest(str(slices(tmp_path / "scan")), dataset, "scan", made(IngestParams, **sizes))
    assert not dataset.root.exists()


def nifti_with_pixdim(path, pixdim):
    image = nib.Nifti1Image(GREY.T.astype(np.float32), None)
    image.header["pixdim"][1:4] = pixdim
    image.header["xyzt_units"] = 2
    nib.save(image, path)


def ome_with(path, **metadata):
    imwrite(path, GREY, photometric="minisblack", ome=True, metadata={"axes": "ZYX", **metadata})


def ome_zarr_with_nan(path):
    create_image(Location.parse(path), GREY.shape, GREY.dtype, spacing=0.01, name="scan")[:] = GREY
    text = (path / "zarr.json").read_text()
    (path / "zarr.json").write_text(text.replace("0.01", "NaN"))


UNBELIEVED = {
    "no z.ome.tif": (lambda path: ome_with(path, PhysicalSizeX=0.5, PhysicalSizeY=0.5), "not three lengths"),
    "pixels.ome.tif": (
        lambda path: ome_with(
            path, **{f"PhysicalSize{a}{u}": v for a in "XYZ" for u, v in (("", 1), ("Unit", "pixel"))}
        ),
        "not a unit of length",
    ),
    "pixdim.nii": (lambda path: nifti_with_pixdim(path, (0.01, 0.01, -1)), "lengths must be above 0"),
    "nan.zarr": (ome_zarr_with_nan, "must be finite and above 0"),
}


@pytest.mark.parametrize("name", UNBELIEVED)
def test_why_a_spacing_is_not_believed_is_said(tmp_path, dataset, name):
    write, reason = UNBELIEVED[name]
    write(tmp_path / name)
    with pytest.raises(InputError, match=f"{reason}.*; give spacing") as caught:
        ingest(str(tmp_path / name), dataset, "scan", IngestParams(spacing=None, particle_size=0.1))
    assert "does not say" not in str(caught.value)


@pytest.mark.parametrize("name", ["a/b", "", "..", ".hidden", "a\\b", "x" * 200])
def test_impossible_names(tmp_path, dataset, name):
    with pytest.raises(InputError, match="scan name"):
        ingest(str(slices(tmp_path / "scan")), dataset, name, IngestParams(**SIZES))
    assert not dataset.root.exists()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers(tmp_path, dataset, value):
    volume = GREY.astype(np.float32)
    volume[5, 6, 7] = value
    with pytest.raises(InputError, match=r"/scan: grey values that are infinite or not a number in slices 0 to 11"):
        ingest(str(slices(tmp_path / "scan", volume)), dataset, "scan", IngestParams(**SIZES))
    assert not dataset.root.exists()


def test_too_little_memory(tmp_path, dataset):
    with pytest.raises(InputError, match=r"need at least .* MiB; raise memory"):
        ingest(str(slices(tmp_path / "scan")), dataset, "scan", IngestParams(**SIZES), memory_bytes=1000)
    assert not dataset.root.exists()


def test_existing_scan_is_replaced_only_on_request(tmp_path, dataset):
    ingest(str(slices(tmp_path / "one")), dataset, "scan", IngestParams(**SIZES))
    before = everything(dataset.root)
    other = slices(tmp_path / "two", GREY[:5, ::2])
    with pytest.raises(InputError, match="already in"):
        ingest(str(other), dataset, "scan", IngestParams(**SIZES))
    assert everything(dataset.root) == before
    ingest(str(other), dataset, "scan", IngestParams(spacing=0.02, particle_size=0.2, overwrite=True))
    assert np.array_equal(open_image(dataset.image("scan"))[:], GREY[:5, ::2])
    assert dataset.scan_info("scan").spacing == 0.02
    assert (dataset.root / "images").children() == ["scan.zarr"]


@pytest.mark.parametrize("error", [OSError(5, "the store fails"), KeyboardInterrupt()])
def test_a_replaced_scan_is_kept_when_its_entry_cannot_be_written(tmp_path, dataset, monkeypatch, error):
    ingest(str(slices(tmp_path / "one")), dataset, "scan", IngestParams(**SIZES))
    other = str(slices(tmp_path / "two", GREY[:5, ::2]))

    def fail(self, *args, **kwargs):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Dataset, "add_scan", fail)
        with pytest.raises(type(error)):
            ingest(other, dataset, "scan", IngestParams(**SIZES, overwrite=True))
        with pytest.raises(type(error)):
            ingest(other, dataset, "new", IngestParams(**SIZES, overwrite=True))
    assert dataset.names() == ["scan"], "what is listed is there, and what is not listed is not"
    # Where nothing can be renamed the earlier one is gone, and the new one is there to be finished.
    left = GREY if dataset.root.local_path is not None else GREY[:5, ::2]
    assert np.array_equal(open_image(dataset.image("scan"))[:], left)
    ingest(other, dataset, "scan", IngestParams(spacing=0.02, particle_size=0.2, overwrite=True))
    assert dataset.scan_info("scan").spacing == 0.02


def test_debris_of_a_killed_ingest_is_no_scan(tmp_path, dataset):
    neighbour = dataset.root / "images" / f".scan.zarr.{'0' * 32}.ps3d"
    for place in (dataset.image("scan"), neighbour):
        (place / "0" / "c" / "0").write_bytes(b"half of a shard")
        mark_own(place)
    ingest(str(slices(tmp_path / "scan")), dataset, "scan", IngestParams(**SIZES))
    assert np.array_equal(open_image(dataset.image("scan"))[:], GREY)
    assert not any(neighbour.name in name for name in everything(dataset.root))


def test_damaged_metadata_is_found_before_the_work(tmp_path, dataset):
    dataset.metadata.write_text("{not json")
    before = everything(dataset.root)
    with pytest.raises(InputError, match="not valid JSON"):
        ingest(str(slices(tmp_path / "scan")), dataset, "scan", IngestParams(**SIZES))
    assert everything(dataset.root) == before


def test_full_disk_leaves_nothing(tmp_path):
    dataset = Dataset(Location.parse(tmp_path / "data"))
    folder = slices(tmp_path / "scan")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        with pytest.raises(NoSpaceError, match="file too large; make room"):
            ingest(str(folder), dataset, "scan", IngestParams(**SIZES))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert not (tmp_path / "data").exists()


def test_an_ingest_that_was_killed_before_its_entry_is_finished_by_the_next(tmp_path, dataset, monkeypatch):
    class Killed(BaseException):
        """Nothing is cleared up after it."""

    def killed(*_args):
        raise Killed

    folder = str(slices(tmp_path / "scan"))
    with monkeypatch.context() as patched:
        patched.setattr(Dataset, "add_scan", killed)
        patched.setattr(staging, "_take_back", killed)
        patched.setattr(staging, "remove_own", killed)
        with pytest.raises(Killed):
            ingest(folder, dataset, "scan", IngestParams(**SIZES))
    assert (dataset.image("scan") / "zarr.json").exists()
    with pytest.raises(InputError, match="its ingest has not ended, or was interrupted"):
        dataset.require_image("scan")
    ingest(folder, dataset, "scan", IngestParams(**SIZES))
    assert np.array_equal(open_image(dataset.require_image("scan"))[:], GREY)
    assert dataset.scan_info("scan").spacing == SIZES["spacing"]
    assert (dataset.root / "images").children() == ["scan.zarr"]


def test_a_source_that_changes_while_it_is_read_is_refused_and_nothing_stays(tmp_path):
    source, dataset = tmp_path / "slices", Dataset(Location.parse(tmp_path / "data"))
    slices(source)

    def changes(event):
        if isinstance(event, StageAdvanced):
            imwrite(source / "slice_3.tif", GREY[0])

    with pytest.raises(InputError, match="was changed while it was read; give the same command again"):
        ingest(str(source), dataset, "ore", IngestParams(**SIZES), progress=Progress(changes))
    assert not (tmp_path / "data").exists()
