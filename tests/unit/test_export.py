from __future__ import annotations

import uuid

import fsspec
import nibabel as nib
import numpy as np
import ome_zarr_models
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from ome_zarr_models.v05.image_label import ImageLabel

from ps3d_app.flows.command.cli import main
from ps3d_core.errors import CorruptDataError, InputError
from ps3d_core.invalid import made
from ps3d_core.memory_model import SLABS_BYTES
from ps3d_core.params import ExportParams
from ps3d_core.progress import Progress, StageAdvanced
from ps3d_core.scan.authorship import nifti_is_marked, tiff_is_marked, zarr_is_exported
from ps3d_core.scan.export import export
from ps3d_core.scan.placed import Placed
from ps3d_core.scan.slabs import OVERHEAD
from ps3d_core.scan.sources import open_scan
from ps3d_core.scan.tiff_writer import write_tiff
from ps3d_core.store.arrays import open_array
from ps3d_core.store.halving import halve
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, image_spacing, is_label_image, open_image
from ps3d_core.store.ownership import mark_own

IDS = np.random.default_rng(0).integers(0, 70_000, (13, 20, 31)).astype(np.uint32)


@pytest.fixture(params=["folder", "memory"])
def root(request, tmp_path):
    return Location.parse(tmp_path if request.param == "folder" else f"memory://{uuid.uuid4().hex}")


def image(location, values, **options):
    options = {"spacing": 0.0125, "name": "scan", "label": values.dtype.kind in "iu", **options}
    create_image(location, values.shape, values.dtype, **options)[:] = values
    return location


def read(location):
    with open_scan(location) as reader:
        return reader.read(0, reader.shape[0])


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "int64", "uint64", "float32", "float64"])
@pytest.mark.parametrize(
    ("name", "form"), [("out", "tiff"), ("out.nii", "nifti"), ("out.nii.gz", "nifti"), ("out.zarr", "zarr")]
)
def test_every_format_and_dtype_comes_back(root, dtype, name, form):
    values = (IDS % 100).astype(dtype)
    summary = export(image(root / "scan.zarr", values), root / name, ExportParams(format=form))
    back = read(root / name)
    assert back.dtype == dtype
    assert np.array_equal(back, values)
    assert (summary.shape, summary.dtype, summary.format) == (values.shape, dtype, form)
    assert summary.spacing == (0.0125, 0.0125, 0.0125)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "int32", "float32", "float64", "float16"])
def test_one_tiff(tmp_path, dtype):
    values = (IDS % 100).astype(dtype)
    source = image(Location.parse(tmp_path / "scan.zarr"), values)
    export(source, tmp_path / "out.tif", ExportParams(format="tiff"))
    assert np.array_equal(tifffile.imread(tmp_path / "out.tif"), values)
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        assert tif.series[0].dtype == dtype
        assert tif.series[0].axes == "ZYX"
        assert tif.series[0].dataoffset is not None
        assert tif.is_imagej == (dtype in ("uint8", "uint16", "float32"))
    with open_scan(str(tmp_path / "out.tif")) as reader:
        assert reader.spacing == pytest.approx((0.0125,) * 3)
        assert np.array_equal(reader.read(0, len(values)), values)


@settings(max_examples=20)
@given(
    values=hnp.arrays(
        st.sampled_from(["u1", "u2", "u4", "i4"]),
        st.tuples(st.integers(2, 6), st.integers(1, 9), st.integers(1, 9)),
    )
)
def test_one_tiff_of_any_shape(tmp_path, values):
    folder = Location.parse(tmp_path / uuid.uuid4().hex)
    export(image(folder / "scan.zarr", values), folder / "out.tif", ExportParams(format="tiff"))
    back = read(folder / "out.tif")
    assert back.dtype == values.dtype
    assert np.array_equal(back, values)


def test_large_files_are_big_tiffs(tmp_path, monkeypatch):
    monkeypatch.setattr("ps3d_core.scan.tiff_writer.CLASSIC_LIMIT", 1000)
    location = Location.parse(tmp_path / "out.tif")
    write_tiff(location, iter([IDS[:8], IDS[8:]]), IDS.shape, IDS.dtype, Placed(None), "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as tif:
        assert tif.is_bigtiff
    assert np.array_equal(read(location), IDS)


@pytest.mark.parametrize("name", ["out.ome.tif", "OUT.OME.TIFF", "out.ome.btf"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "uint32", "int32", "float32", "float64"])
def test_ome_tiff(tmp_path, dtype, name):
    values, spacing = (IDS % 100).astype(dtype), (0.0201, 0.0125, 0.0003)
    source = image(Location.parse(tmp_path / "scan.zarr"), values, spacing=spacing)
    export(source, tmp_path / name, ExportParams(format="tiff"))
    with tifffile.TiffFile(tmp_path / name) as tif:
        assert tif.is_ome
        assert (tif.is_bigtiff, tif.series[0].axes) == (name.endswith("btf"), "ZYX")
        assert np.array_equal(tif.series[0].asarray(), values)
        assert tif.series[0].dataoffset is not None
        pixels = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]["Pixels"]
    sizes = [(pixels[f"PhysicalSize{axis}"], pixels[f"PhysicalSize{axis}Unit"]) for axis in "ZYX"]
    assert sizes == [(20.1, "µm"), (12.5, "µm"), (0.3, "µm")]
    assert tiff_is_marked(Location.parse(tmp_path / name))
    with open_scan(tmp_path / name) as reader:
        assert (reader.dtype, reader.notes) == (dtype, ())
        assert reader.spacing == pytest.approx(spacing)
        assert np.array_equal(reader.read(0, len(values)), values)


@pytest.mark.parametrize("shape", [(2, 1, 1), (4, 3, 1), (3, 5, 3), (3, 1, 7), (3, 4, 4)])
def test_ome_tiff_of_odd_shapes_and_without_spacing(tmp_path, shape):
    values = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    source = image(Location.parse(tmp_path / "scan.zarr"), values, spacing=None)
    export(source, tmp_path / "out.ome.tif", ExportParams(format="tiff"))
    with open_scan(tmp_path / "out.ome.tif") as reader:
        assert (reader.shape, reader.spacing, reader.notes) == (shape, None, ())
        assert np.array_equal(reader.read(0, len(values)), values)


def test_ome_tiff_has_not_all_types(tmp_path):
    source = image(Location.parse(tmp_path / "scan.zarr"), IDS.astype(np.uint64))
    with pytest.raises(InputError, match=r"out\.ome\.tif: OME-TIFF has no voxels of type uint64; call the file \.tif"):
        export(source, tmp_path / "out.ome.tif", ExportParams(format="tiff"))
    assert not (tmp_path / "out.ome.tif").exists()


def test_tiff_slices_tell_their_resolution(tmp_path):
    export(image(Location.parse(tmp_path / "scan.zarr"), IDS), tmp_path / "out", ExportParams(format="tiff"))
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"slice_{z:04d}.tif" for z in range(len(IDS))]
    with tifffile.TiffFile(tmp_path / "out" / "slice_0007.tif") as tif:
        page = tif.pages.first
        assert np.array_equal(page.asarray(), IDS[7])
        assert page.tags["XResolution"].value == (800, 1)  # 0.0125 mm are 800 pixels per centimetre
        assert page.tags["ResolutionUnit"].value.name == "CENTIMETER"


@pytest.mark.parametrize("dtype", ["uint16", "uint32"])
def test_what_is_written_bears_a_mark(root, dtype):
    source = image(root / "scan.zarr", (IDS % 100).astype(dtype))
    assert not zarr_is_exported(source)
    for name, form in (("out", "tiff"), ("out.nii", "nifti"), ("out.nii.gz", "nifti"), ("out.zarr", "zarr")):
        export(source, root / name, ExportParams(format=form))
    assert tiff_is_marked(root / "out" / "slice_0000.tif")
    assert nifti_is_marked(root / "out.nii")
    assert nifti_is_marked(root / "out.nii.gz")
    assert zarr_is_exported(root / "out.zarr")
    if root.local_path is not None:
        export(source, root / "out.tif", ExportParams(format="tiff"))
        assert tiff_is_marked(root / "out.tif")


@pytest.mark.parametrize("name", ["out.nii", "out.nii.gz"])
def test_nifti_as_nibabel_reads_it(tmp_path, name):
    export(
        image(Location.parse(tmp_path / "scan.zarr"), IDS), tmp_path / name, ExportParams(format="nifti", spacing=0.02)
    )
    back = nib.load(tmp_path / name)
    assert np.array_equal(np.asarray(back.dataobj), IDS.T)
    assert back.get_data_dtype() == np.uint32
    assert back.header.get_zooms() == pytest.approx((0.02, 0.02, 0.02))
    assert back.header.get_xyzt_units()[0] == "mm"
    assert np.allclose(back.affine, np.diag([0.02, 0.02, 0.02, 1]))


def test_sides_beyond_nifti_1(tmp_path):
    values = np.arange(2 * 33_000, dtype=np.uint8).reshape(2, 1, 33_000)
    export(image(Location.parse(tmp_path / "scan.zarr"), values), tmp_path / "out.nii", ExportParams(format="nifti"))
    assert isinstance(nib.load(tmp_path / "out.nii"), nib.Nifti2Image)
    assert nifti_is_marked(Location.parse(tmp_path / "out.nii"))
    assert np.array_equal(read(tmp_path / "out.nii"), values)


def test_zarr_keeps_labels_labels(root):
    values = np.repeat(IDS[:, :, :1], 300, axis=2)
    export(image(root / "scan.zarr", values), root / "out.zarr", ExportParams(format="zarr"))
    assert is_label_image(root / "out.zarr")
    assert image_spacing(root / "out.zarr") == (0.0125, 0.0125, 0.0125)
    assert np.array_equal(open_array(root / "out.zarr" / "1")[:], halve(values, "mode"))
    model = ome_zarr_models.open_ome_zarr((root / "out.zarr").zarr_store(read_only=True))
    assert isinstance(model, ImageLabel)


def test_bare_labels_can_be_called_labels(tmp_path):
    zarr.create_array(tmp_path / "bare.zarr", shape=IDS.shape, dtype=IDS.dtype, zarr_format=2)[:] = IDS
    export(tmp_path / "bare.zarr", tmp_path / "grey.zarr", ExportParams(format="zarr"))
    export(tmp_path / "bare.zarr", tmp_path / "ids.zarr", ExportParams(format="zarr", labels=True))
    assert not is_label_image(Location.parse(tmp_path / "grey.zarr"))
    assert is_label_image(Location.parse(tmp_path / "ids.zarr"))
    assert image_spacing(Location.parse(tmp_path / "ids.zarr")) is None


def test_unknown_spacing_is_not_invented(tmp_path):
    zarr.create_array(tmp_path / "bare.zarr", shape=IDS.shape, dtype=IDS.dtype)[:] = IDS
    for name, form in (("out.tif", "tiff"), ("out.nii", "nifti")):
        assert export(tmp_path / "bare.zarr", tmp_path / name, ExportParams(format=form)).spacing is None
        with open_scan(tmp_path / name) as reader:
            assert reader.spacing is None


@pytest.mark.parametrize("depth", [2, 4, 128])
@pytest.mark.parametrize(("name", "form"), [("out.tif", "tiff"), ("out.nii.gz", "nifti")])
def test_file_does_not_depend_on_the_slab(tmp_path, depth, name, form):
    source = image(Location.parse(tmp_path / "scan.zarr"), IDS)
    export(source, tmp_path / f"whole_{name}", ExportParams(format=form))
    events = []
    export(
        source,
        tmp_path / name,
        ExportParams(format=form),
        memory_bytes=OVERHEAD + 3 * depth * IDS[0].nbytes,
        progress=Progress(events.append),
    )
    done = [event.done for event in events if isinstance(event, StageAdvanced)]
    assert done == [min(z + depth, 13) for z in range(0, 13, depth)]
    whole, sliced = (tmp_path / f"whole_{name}").read_bytes(), (tmp_path / name).read_bytes()
    if form == "nifti":
        assert sliced == whole
    assert np.array_equal(read(tmp_path / name), IDS)


# --- refusals ---


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("out.img", {"format": "nifti"}, r"must end in \.nii or \.nii\.gz"),
        ("there", {"format": "tiff"}, "is there already"),
        ("out", {"format": "tiff", "spacing": -1.0}, "spacing.* -1"),
        ("out", {"format": "tiff", "memory_bytes": 1000}, "raise memory"),
        ("out.nii", {"format": "nifti"}, "NIfTI cannot hold them"),
        ("out.zarr", {"format": "zarr", "labels": True}, "must be integers"),
    ],
)
def test_refused_exports_leave_nothing(root, name, options, message):
    source = image(root / "scan.zarr", (IDS % 9).astype(np.float16))
    (root / "there" / "file").write_bytes(b"kept")
    params = {name: value for name, value in options.items() if name != "memory_bytes"}
    memory_bytes = options.get("memory_bytes", SLABS_BYTES)
    with pytest.raises(InputError, match=message) as caught:
        export(source, root / name, made(ExportParams, **params), memory_bytes=memory_bytes)
    assert "\n" not in str(caught.value)
    assert root.children() == ["scan.zarr", "there"]
    assert (root / "there" / "file").read_bytes() == b"kept"


def test_source_is_never_its_own_destination(root):
    source = image(root / "scan.zarr", IDS)
    for destination in (source, root):
        with pytest.raises(InputError, match="the input"):
            export(source, destination, ExportParams(format="zarr", overwrite=True))
    assert np.array_equal(open_image(source)[:], IDS)


def test_the_source_is_known_by_any_of_its_names(tmp_path, monkeypatch):
    slices = tmp_path / "sl"
    export(image(Location.parse(tmp_path / "scan.zarr"), IDS), slices, ExportParams(format="tiff"))
    (tmp_path / "cwd").mkdir()
    (tmp_path / "link").symlink_to(slices)
    monkeypatch.chdir(tmp_path / "cwd")
    for source, destination, form in (
        (slices, "../sl", "tiff"),
        ("../sl", slices, "tiff"),
        (slices, tmp_path / "link", "tiff"),
        (tmp_path / "link", slices, "tiff"),
        (tmp_path / "scan.zarr" / "0", "../scan.zarr", "zarr"),
    ):
        with pytest.raises(InputError, match="the input"):
            export(source, destination, ExportParams(format=form, overwrite=True))
    assert np.array_equal(read(slices), IDS)


def test_a_part_of_the_source_is_no_destination(root):
    source = image(root / "scan.zarr", IDS)
    export(source, root / "slices", ExportParams(format="tiff"))
    for whole, part in ((source, source / "0"), (root / "slices", root / "slices" / "slice_0003.tif")):
        with pytest.raises(InputError, match=r"the input|needs a local folder"):
            export(whole, part, ExportParams(format="tiff", overwrite=True))
    assert np.array_equal(open_image(source)[:], IDS)
    assert np.array_equal(read(root / "slices"), IDS)
    with pytest.raises(InputError, match="lies inside the input"):
        export(root / "slices", root / "slices" / "out.zarr", ExportParams(format="zarr"))
    assert np.array_equal(read(root / "slices"), IDS)


@pytest.mark.parametrize("kept", ["docs/thesis.txt", "0001.tif/thesis.txt", "1/thesis.txt", ".zattrs"])
@pytest.mark.parametrize("form", ["tiff", "zarr"])
def test_overwrite_spares_what_was_never_exported(root, kept, form):
    source = image(root / "scan.zarr", IDS)
    place = root / "home"
    for name in kept.split("/"):
        place = place / name
    place.write_bytes(b"years of work")
    with pytest.raises(InputError, match="holds what ps3d did not make") as caught:
        export(source, root / "home", ExportParams(format=form, overwrite=True))
    assert "\n" not in str(caught.value)
    assert place.read_bytes() == b"years of work"


def test_overwrite_spares_files_of_other_kinds(root):
    source = image(root / "scan.zarr", IDS)
    (root / "thesis.txt").write_bytes(b"years of work")
    with pytest.raises(InputError, match="holds what ps3d did not make"):
        export(source, root / "thesis.txt", ExportParams(format="zarr", overwrite=True))
    assert (root / "thesis.txt").read_bytes() == b"years of work"


def test_overwrite_fills_an_empty_folder(tmp_path):
    (tmp_path / "out").mkdir()
    export(
        image(Location.parse(tmp_path / "scan.zarr"), IDS),
        tmp_path / "out",
        ExportParams(format="tiff", overwrite=True),
    )
    assert np.array_equal(read(tmp_path / "out"), IDS)


def test_overwrite_replaces_an_export_that_broke_off_on_a_store():
    root = Location.parse(f"memory://{uuid.uuid4().hex}")
    source = image(root / "scan.zarr", IDS)
    export(source, root / "out.zarr", ExportParams(format="zarr"))
    (root / "out.zarr").remove_files(["zarr.json"])  # written last
    mark_own(root / "out.zarr")  # and the mark that says so goes at the end
    export(source, root / "out.zarr", ExportParams(format="zarr", overwrite=True))
    assert np.array_equal(read(root / "out.zarr"), IDS)


def test_one_tiff_needs_a_local_folder():
    root = Location.parse(f"memory://{uuid.uuid4().hex}")
    with pytest.raises(InputError, match="needs a local folder"):
        export(image(root / "scan.zarr", IDS), root / "out.tif", ExportParams(format="tiff"))


@pytest.mark.parametrize(("name", "form"), [("out", "tiff"), ("out.nii", "nifti"), ("out.zarr", "zarr")])
def test_overwrite_replaces_the_whole(root, name, form):
    export(image(root / "one.zarr", IDS), root / name, ExportParams(format=form))
    export(image(root / "two.zarr", IDS[:5]), root / name, ExportParams(format=form, overwrite=True))
    assert np.array_equal(read(root / name), IDS[:5])


@pytest.mark.parametrize(
    ("name", "form"), [("out", "tiff"), ("out.tif", "tiff"), ("out.nii", "nifti"), ("out.zarr", "zarr")]
)
def test_a_corrupt_source_leaves_nothing(tmp_path, name, form):
    values = np.random.default_rng(0).integers(0, 255, (140, 5, 6)).astype(np.uint8)
    source = image(Location.parse(tmp_path / "scan.zarr"), values)
    chunk = tmp_path / "scan.zarr" / "0" / "c" / "1" / "0" / "0"
    data = bytearray(chunk.read_bytes())
    data[50] ^= 255
    chunk.write_bytes(data)
    with pytest.raises(CorruptDataError):
        export(source, tmp_path / name, ExportParams(format=form))
    assert [path.name for path in tmp_path.iterdir()] == ["scan.zarr"]


def test_a_corrupt_source_leaves_nothing_on_a_store():
    root = Location.parse(f"memory://{uuid.uuid4().hex}")
    source = image(root / "scan.zarr", np.ones((140, 5, 6), np.uint8))
    (source / "0" / "c" / "1" / "0" / "0").write_bytes(b"\xff" * 300)
    for name, form in (("out", "tiff"), ("out.nii", "nifti"), ("out.zarr", "zarr")):
        with pytest.raises(CorruptDataError):
            export(source, root / name, ExportParams(format=form))
        assert not any("out" in path for path in fsspec.filesystem("memory").find(str(root)))


@pytest.mark.parametrize(
    ("form", "name", "says"),
    [
        ("zarr", "x.tif", "named like tiff, to be written as zarr; correct format, or name it otherwise"),
        ("zarr", "x.nii.gz", "named like nifti, to be written as zarr"),
        ("tiff", "x.nii", "named like nifti, to be written as tiff"),
        ("tiff", "x.zarr", "named like zarr, to be written as tiff"),
        ("nifti", "x.zarr", "named like zarr, to be written as nifti"),
        ("tiff", "x.jpg", "named like a picture"),
    ],
)
def test_a_name_that_contradicts_its_format_is_refused(tmp_path, form, name, says):
    tifffile.imwrite(tmp_path / "scan.tif", np.zeros((3, 9, 8), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match=says):
        export(tmp_path / "scan.tif", tmp_path / name, ExportParams(format=form))
    assert [path.name for path in tmp_path.iterdir()] == ["scan.tif"]


@pytest.mark.parametrize("name", ["a.mha", "a.nrrd", "a.nii", "a.nii.gz", "a.h5", "a.zarr"])
@pytest.mark.parametrize("spacing", [(0.02, 0.0125, 0.005), (0.01, 0.01, 0.01)])
def test_a_part_stays_where_it_was(tmp_path, name, spacing):
    form = {"h5": "hdf5", "gz": "nifti", "nii": "nifti"}.get(name.rpartition(".")[2], name.rpartition(".")[2])
    write_tiff(Location.parse(tmp_path / "s.tif"), iter([IDS]), IDS.shape, IDS.dtype, Placed(spacing), "s.tif")
    export(tmp_path / "s.tif", tmp_path / name, ExportParams(format=form, crop="2:,3:,1:"))
    with open_scan(tmp_path / name) as reader:
        assert reader.origin == pytest.approx((2 * spacing[0], 3 * spacing[1], spacing[2]), rel=1e-6)
        assert reader.spacing == pytest.approx(spacing, rel=1e-6)
        assert np.array_equal(reader.read(0, reader.shape[0]), IDS[2:, 3:, 1:])


def test_that_tiff_keeps_no_place_is_said(tmp_path, capsys):
    write_tiff(Location.parse(tmp_path / "s.tif"), iter([IDS]), IDS.shape, IDS.dtype, Placed(None), "s.tif")
    assert main(["export", str(tmp_path / "s.tif"), str(tmp_path / "o.tif"), "--format", "tiff", "--roi", "2:,,"]) == 0
    assert "TIFF does not keep" in capsys.readouterr().err
