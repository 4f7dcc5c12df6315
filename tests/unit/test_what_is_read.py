"""A part of a source, every Nth voxel of it, and values in the place of what is no number."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from ps3d_app.flows.command.cli import main
from ps3d_core.errors import InputError
from ps3d_core.params import ExportParams, IngestParams, SourceParams
from ps3d_core.scan.export import export
from ps3d_core.scan.ingest import ingest
from ps3d_core.scan.sources import open_scan
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

GREY = np.random.default_rng(0).integers(0, 60000, (20, 31, 42)).astype(np.uint16)


def opened(array=GREY, spacing=None, **said):
    return open_scan(array, SourceParams(**said), spacing=spacing)


def spans(side):
    return st.tuples(st.integers(0, side - 3), st.integers(3, side)).filter(lambda ends: ends[0] + 2 < ends[1])


@settings(max_examples=60)
@given(spans(20), spans(31), spans(42), st.integers(1, 3), st.sampled_from([None, 4, 7]))
def test_a_part_is_what_slicing_gives(z, y, x, every, chunk):
    source = GREY
    if chunk:
        source = zarr.create_array({}, data=GREY, chunks=(chunk, 31, 42))
    wanted = GREY[z[0] : z[1] : every, y[0] : y[1] : every, x[0] : x[1] : every]
    if len(wanted) < 2:
        return
    text = ",".join(f"{a}:{b}" for a, b in (z, y, x))
    with opened(source, (0.3, 0.2, 0.1), crop=text, every=every) as reader:
        assert reader.shape == wanted.shape
        assert np.array_equal(reader.read(0, len(wanted)), wanted)
        assert np.array_equal(reader.read(1, len(wanted)), wanted[1:])
        assert reader.spacing == pytest.approx((0.3 * every, 0.2 * every, 0.1 * every))
        assert reader.origin == pytest.approx((0.3 * z[0], 0.2 * y[0], 0.1 * x[0]))


def test_lengths_are_those_from_the_edge_of_the_scan():
    with opened(spacing=(0.1, 0.2, 0.01), crop="0.5mm:1.5mm,,100um:"):
        pass
    with opened(spacing=(0.1, 0.2, 0.01), crop="0.5mm:1.5mm,,100um:") as reader:
        assert np.array_equal(reader.read(0, 10), GREY[5:15, :, 10:])


@pytest.mark.parametrize(
    ("crop", "problem"),
    [
        ("0:5,0:5", "must be Z0:Z1,Y0:Y1,X0:X1"),
        ("0:5,0:5,0:5,0:5", "must be Z0:Z1,Y0:Y1,X0:X1"),
        ("5,,", "two ends with a colon"),
        ("1.5:3,,", "voxels are whole numbers"),
        ("-1:3,,", "number of voxels"),
        ("1km:3,,", "number of voxels"),
        ("nan:3,,", "number of voxels"),
    ],
)
def test_texts_that_say_no_part(crop, problem):
    with pytest.raises(ValueError, match=problem):
        SourceParams(crop=crop)


@pytest.mark.parametrize("crop", ["0:21,,", "5:5,,", "7:3,,", ",,0:1000", "99999999999999:,,"])
def test_parts_outside_of_the_scan(crop):
    with pytest.raises(InputError, match=r"must lie in the scan of 20 x 31 x 42 voxels"):
        opened(crop=crop)


def test_lengths_need_a_spacing():
    with pytest.raises(InputError, match="needs a spacing"):
        opened(crop="1mm:2mm,,")


def test_one_slice_is_no_scan():
    with pytest.raises(InputError, match="at least 2 slices"):
        opened(crop="3:4,,")


def test_a_dataset_keeps_the_coordinates_of_the_scanner(tmp_path):
    dataset = Dataset(Location.parse(tmp_path))
    params = IngestParams(spacing=0.1, particle_size=1.0, crop="4:,10:30,", every=2)
    summary = ingest(GREY, dataset, "part", params)
    assert summary.spacing == pytest.approx(0.2)
    image = dataset.image("part")
    assert np.array_equal(open_image(image)[:], GREY[4::2, 10:30:2, ::2])
    attributes = zarr.open_group(image.url, mode="r").attrs["ome"]["multiscales"][0]["datasets"][0]
    scale, shift = attributes["coordinateTransformations"]
    assert scale["scale"] == pytest.approx([0.2] * 3)
    assert shift["translation"] == pytest.approx([0.4, 1.0, 0])


# --- values that are no numbers ---

HOLES = np.random.default_rng(1).normal(10, 1, (9, 20, 30)).astype(np.float32)
HOLES[:, :10] += 50
HOLES[2, 0, 0], HOLES[2, 3, 4], HOLES[7, 5, 5] = np.nan, np.inf, -np.inf
LEAST = HOLES[np.isfinite(HOLES)].min()


@pytest.mark.parametrize("said", ["0.5", "-3", "min", "background"])
def test_values_in_the_place_of_what_is_no_number(said):
    with opened(HOLES, nan=said) as reader:
        values = reader.read(0, 9)
        findings = reader.findings
    put = values[~np.isfinite(HOLES)]
    assert np.array_equal(values[np.isfinite(HOLES)], HOLES[np.isfinite(HOLES)])
    if said == "min":
        assert (put == LEAST).all()
    elif said == "background":
        assert put == pytest.approx(10, abs=0.3)  # the darker half, not the middle of both
    else:
        assert (put == float(said)).all()
    assert len(findings) == 1
    assert findings[0].startswith("3 voxels (0.06%) in 2 slices, 2 to 7, were no finite numbers")


def test_counts_do_not_grow_when_slices_are_read_twice():
    with opened(HOLES, nan="0") as reader:
        for start in (0, 2, 5, 0):
            reader.read(start, 9)
        assert reader.findings[0].startswith("3 voxels")


def test_whole_numbers_have_nothing_to_replace():
    with opened(nan="min") as reader:
        assert np.array_equal(reader.read(0, 20), GREY)
        assert reader.findings == ()


def test_nothing_but_nan_has_no_least_value():
    for said in ("min", "background"):
        with pytest.raises(InputError, match="no grey value is a finite number"):
            opened(np.full((3, 4, 5), np.nan), nan=said)


@pytest.mark.parametrize("said", ["inf", "nan", "", "air", "1e999"])
def test_texts_that_say_no_value(said):
    with pytest.raises(ValueError, match=r"must be a number or one of|at least 1 character"):
        SourceParams(nan=said)


def test_values_that_the_type_does_not_hold():
    with pytest.raises(InputError, match="more than float32 holds"):
        opened(HOLES, nan="1e300")


def test_a_refusal_says_how_to_replace(tmp_path, capsys):
    tifffile.imwrite(tmp_path / "scan.tif", HOLES, metadata={"axes": "ZYX"})
    order = ["ingest", str(tmp_path / "scan.tif"), str(tmp_path / "data"), "--name", "a", "--spacing", "0.1"]
    order += ["--particle-size", "1"]
    assert main(order) == 2
    assert "say with --nan which value stands for them" in capsys.readouterr().err
    assert main([*order, "--nan", "background", "--roi", "1:,,"]) == 0
    said = capsys.readouterr()
    assert "3 voxels" in said.err + said.out


def test_export_takes_a_part(tmp_path):
    target = str(tmp_path / "part.tif")
    tifffile.imwrite(tmp_path / "scan.tif", GREY, metadata={"axes": "ZYX"})
    export(str(tmp_path / "scan.tif"), target, ExportParams(format="tiff", spacing=0.5, crop="2:9,,", every=3))
    assert np.array_equal(tifffile.imread(target), GREY[2:9:3, ::3, ::3])
    with open_scan(target) as reader:
        assert reader.spacing == pytest.approx((1.5,) * 3)


@pytest.mark.parametrize(
    ("said", "option"),
    [({"channel": 0}, "channel"), ({"inside": "/a"}, "inside"), ({"series": "a"}, "series"), ({"time": 1}, "time")],
)
def test_choices_where_there_is_nothing_to_choose(tmp_path, said, option):
    tifffile.imwrite(tmp_path / "scan.nii", GREY)
    with pytest.raises(InputError, match=rf"not a .*leave out {option}"):
        open_scan(str(tmp_path / "scan.nii"), SourceParams(**said))


def test_what_is_open_is_a_source_too(tmp_path):
    reader = opened(spacing=(0.1, 0.1, 0.1), crop="5:15,,", every=2)
    ingest(reader, Dataset(Location.parse(tmp_path)), "part", IngestParams(particle_size=1.0))
    assert np.array_equal(open_image(Dataset(Location.parse(tmp_path)).image("part"))[:], GREY[5:15:2, ::2, ::2])


def test_labels_and_table_of_a_part_lie_where_the_scanner_had_it(tmp_path):
    from ps3d_core.params import CopyParams
    from ps3d_core.particles.measure import measure_particles
    from ps3d_core.particles.table import read_columns
    from ps3d_core.scan.ingest import ingest_labels
    from ps3d_core.store.ome import image_origin

    labels = np.zeros((20, 31, 42), np.uint16)
    labels[8:14, 12:20, 6:12], labels[15:19, 22:29, 30:40] = 1, 2
    dataset = Dataset(Location.parse(tmp_path / "data"))
    said = {"crop": "4:20,10:,2:"}
    ingest(GREY, dataset, "part", IngestParams(spacing=(0.2, 0.1, 0.1), particle_size=0.8, **said))
    ingest_labels(labels, dataset, "part", CopyParams(**said))
    truth = dataset.truth("part")
    assert image_origin(truth) == image_origin(dataset.image("part")) == pytest.approx((0.8, 1.0, 0.2))
    table, work = Location.parse(tmp_path / "table"), Location.parse(tmp_path / "work")
    measure_particles(truth, table, spacing=(0.2, 0.1, 0.1), work=work)
    columns = read_columns(table / "particles.parquet", ["centroid_z_mm", "centroid_x_mm"])
    assert columns["centroid_z_mm"] == pytest.approx([10.5 * 0.2, 16.5 * 0.2])
    assert columns["centroid_x_mm"] == pytest.approx([8.5 * 0.1, 34.5 * 0.1])
