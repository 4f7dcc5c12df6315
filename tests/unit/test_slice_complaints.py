"""What is wrong with a folder of slices is told in one line that names file, value and remedy, in every format."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from pydicom.uid import CTImageStorage

from ps3d_app.flows.command.cli import main
from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.sources import open_scan
from tests.formats.dicom import dataset
from tests.formats.slices import by_pillow, jpeg2000

GREY = np.random.default_rng(0).integers(0, 255, (8, 21, 34)).astype(np.uint8)


def tiff(values: np.ndarray, index: int) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values)
    return file.getvalue()


def dicom(values: np.ndarray, index: int) -> bytes:
    """A slice that says where it lies, but not how large its pixels are."""
    about = {"ImagePositionPatient": [0, 0, index], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
    file = io.BytesIO()
    dataset(values, CTImageStorage, InstanceNumber=index, **about).save_as(file)
    return file.getvalue()


def of_picture(encode: Callable[[np.ndarray], bytes]) -> Callable[[np.ndarray, int], bytes]:
    return lambda values, index: encode(values)


FORMATS = {
    ".tif": tiff,
    ".png": of_picture(by_pillow("PNG")),
    ".bmp": of_picture(by_pillow("BMP")),
    ".jp2": of_picture(jpeg2000),
    ".dcm": dicom,
}


@pytest.fixture(params=FORMATS)
def ending(request: pytest.FixtureRequest) -> str:
    return request.param


def written(folder: Path, ending: str) -> Path:
    folder.mkdir(exist_ok=True)
    for index, values in enumerate(GREY):
        (folder / f"s{index:03d}{ending}").write_bytes(FORMATS[ending](values, index))
    return folder


def complaint(folder: Path) -> str:
    with pytest.raises(InputError) as caught, open_scan(str(folder)) as reader:
        reader.read(0, reader.shape[0])
    text = str(caught.value)
    assert "\n" not in text
    assert str(folder) in text
    assert len(text) < len(str(folder)) * 2 + 260
    return text


def test_no_spacing(tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = written(tmp_path / "scan", ending)
    with open_scan(str(folder)) as reader:
        assert reader.spacing is None
        assert np.array_equal(reader.read(0, 8), GREY)
    assert main(["ingest", str(folder), str(tmp_path / "data"), "--name", "ore", "--particle-size", "1"]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "--spacing" in line
    assert not (tmp_path / "data").exists()


def test_gap(tmp_path: Path, ending: str) -> None:
    folder = written(tmp_path / "scan", ending)
    (folder / f"s004{ending}").unlink()
    text = complaint(folder)
    assert f"s003{ending}" in text
    assert f"s005{ending}" in text
    assert "allow_gaps" in text
    with open_scan(str(folder), SourceParams(allow_gaps=True)) as reader:
        assert np.array_equal(reader.read(0, 7), np.delete(GREY, 4, axis=0))


def test_wrong_order(tmp_path: Path, ending: str) -> None:
    """Names whose order is not that of the numbers in them; DICOM slices say themselves where they lie."""
    folder = written(tmp_path / "scan", ending)
    for index in range(8):
        (folder / f"s{index:03d}{ending}").rename(folder / f"s{(index * 5) % 8}_z{index:03d}{ending}")
    if ending == ".dcm":
        with open_scan(str(folder)) as reader:
            assert np.array_equal(reader.read(0, 8), GREY)
        return
    text = complaint(folder)
    assert "rename" in text


def test_two_slices_for_one_place(tmp_path: Path, ending: str) -> None:
    folder = written(tmp_path / "scan", ending)
    (folder / f"s3{ending}").write_bytes((folder / f"s003{ending}").read_bytes())
    text = complaint(folder)
    assert f"s003{ending}" in text
    assert f"s3{ending}" in text
    assert "remove one of them" in text


def test_mixed_sizes(tmp_path: Path, ending: str) -> None:
    folder = written(tmp_path / "scan", ending)
    (folder / f"s005{ending}").write_bytes(FORMATS[ending](GREY[5, :, :30], 5))
    text = complaint(folder)
    assert f"s005{ending}: 21 x 30 uint8; must be 21 x 34 uint8 like" in text
    assert "export all slices alike" in text


def test_mixed_types(tmp_path: Path, ending: str) -> None:
    folder = written(tmp_path / "scan", ending)
    other = by_pillow("BMP", "RGB")(GREY[5]) if ending == ".bmp" else FORMATS[ending](GREY[5].astype(np.uint16), 5)
    (folder / f"s005{ending}").write_bytes(other)
    text = complaint(folder)
    says = "uint8, stored as RGB" if ending == ".bmp" else "uint16"
    assert f"s005{ending}: 21 x 34 {says}; must be 21 x 34 uint8 like" in text


def test_truncated(tmp_path: Path, ending: str) -> None:
    folder = written(tmp_path / "scan", ending)
    path = folder / f"s005{ending}"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    assert f"s005{ending}" in complaint(folder)


def test_something_else_in_place_of_a_slice(tmp_path: Path, ending: str) -> None:
    folder = written(tmp_path / "scan", ending)
    (folder / f"s005{ending}").unlink()
    (folder / f"s005{ending}").mkdir()
    assert "a folder where a file is expected" in complaint(folder)
    (folder / f"s005{ending}").rmdir()
    (folder / f"s005{ending}").write_text("no picture")
    assert f"s005{ending}" in complaint(folder)
