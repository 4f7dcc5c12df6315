"""Slices that are pictures: what is read of PNG, BMP and JPEG 2000, what is refused, and which files are slices."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.slice_folder import series_of_slices
from ps3d_core.scan.sources import open_scan
from ps3d_core.store.location import Location

SLICES = np.random.default_rng(0).integers(0, 255, (5, 21, 30)).astype(np.uint8)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def with_table(values: np.ndarray, table: list[int]) -> Image.Image:
    image = Image.fromarray(values)
    image = image.convert("P")
    image.putpalette(table)
    return image


RAMP = [value for grey in range(256) for value in (grey,) * 3]
JPEG2000 = {"reversible": True, "level": 0, "codecformat": "jp2"}


def folder_of(folder: Path, encode: Callable[[np.ndarray], bytes], ending: str, slices: np.ndarray = SLICES) -> Path:
    folder.mkdir(exist_ok=True)
    for index, values in enumerate(slices):
        (folder / f"s{index:03d}{ending}").write_bytes(encode(values))
    return folder


def read(folder: Path, **params: object) -> tuple[np.ndarray, tuple[str, ...]]:
    with open_scan(str(folder), SourceParams(**params)) as reader:
        return reader.read(0, reader.shape[0]), reader.notes


READ = {
    "PNG, RGB": (lambda v: saved(Image.fromarray(v).convert("RGB"), "PNG"), ".png", "stored as RGB"),
    "PNG, greys": (lambda v: saved(with_table(v, RAMP), "PNG"), ".png", None),
    "PNG": (imagecodecs.png_encode, ".PNG", None),
    "BMP": (lambda v: saved(Image.fromarray(v), "BMP"), ".bmp", None),
    "BMP, RGB": (lambda v: saved(Image.fromarray(v).convert("RGB"), "BMP"), ".BMP", "stored as RGB"),
    "BMP, header of 1134 bytes": (lambda v: longer_header(saved(Image.fromarray(v), "BMP"), 56), ".bmp", None),
    "BMP, from the top": (lambda v: from_the_top(saved(Image.fromarray(v[::-1]), "BMP")), ".bmp", None),
    "JPEG 2000, codestream": (
        lambda v: imagecodecs.jpeg2k_encode(v, **{**JPEG2000, "codecformat": "j2k"}),
        ".j2k",
        None,
    ),
    "JPEG 2000, RGB": (
        lambda v: imagecodecs.jpeg2k_encode(np.stack([v] * 3, -1), mct=False, **JPEG2000),
        ".jp2",
        "RGB",
    ),
}


def longer_header(data: bytes, extra: int) -> bytes:
    (start,) = struct.unpack("<I", data[10:14])
    moved = data[:10] + struct.pack("<I", start + extra) + data[14:start] + b"\0" * extra + data[start:]
    return moved[:2] + struct.pack("<I", len(moved)) + moved[6:]


def from_the_top(data: bytes) -> bytes:
    (height,) = struct.unpack("<i", data[22:26])
    return data[:22] + struct.pack("<i", -height) + data[26:]


@pytest.mark.parametrize("kind", READ)
def test_pictures_that_are_grey(tmp_path: Path, kind: str) -> None:
    encode, ending, note = READ[kind]
    values, notes = read(folder_of(tmp_path / "scan", encode, ending))
    assert values.dtype == np.uint8
    assert np.array_equal(values, SLICES)
    assert [note in said for said in notes] == ([True] if note else [])


@pytest.mark.parametrize("bits", [10, 12])
def test_values_of_few_bits_are_not_stretched(tmp_path: Path, bits: int) -> None:
    slices = np.random.default_rng(1).integers(0, 2**bits, (3, 20, 30)).astype(np.uint16)
    folder = folder_of(
        tmp_path / "scan", lambda v: imagecodecs.jpeg2k_encode(v, bitspersample=bits, **JPEG2000), ".jp2", slices
    )
    assert np.array_equal(read(folder)[0], slices)


def test_loss_is_said(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "scan", lambda v: imagecodecs.jpeg2k_encode(v, level=30, reversible=False), ".jp2")
    values, notes = read(folder)
    assert not np.array_equal(values, SLICES)
    assert [note for note in notes if "packed with loss" in note] == list(notes)
    (folder / "s003.jp2").write_bytes(imagecodecs.jpeg2k_encode(SLICES[3], **JPEG2000))
    with pytest.raises(InputError, match=r"s003\.jp2: 21 x 30 uint8; must be 21 x 30 uint8, lossy like s000"):
        read(folder)


REFUSED = {
    "colours, PNG": (
        lambda v: saved(Image.fromarray(np.stack([v, v, 255 - v], -1)), "PNG"),
        ".png",
        "RGB with colours",
    ),
    "colours, BMP": (
        lambda v: saved(Image.fromarray(np.stack([v, v, 255 - v], -1)), "BMP"),
        ".bmp",
        "RGB with colours",
    ),
    "colour table, PNG": (
        lambda v: saved(with_table(v, RAMP[::-1]), "PNG"),
        ".png",
        "a colour table that is not 0 black",
    ),
    "colour table, BMP": (
        lambda v: saved(with_table(v, RAMP[::-1]), "BMP"),
        ".bmp",
        "a colour table that is not 0 black",
    ),
    "transparency": (lambda v: saved(Image.fromarray(v).convert("LA"), "PNG"), ".png", "grey with transparency"),
    "RGBA": (lambda v: saved(Image.fromarray(v).convert("RGBA"), "PNG"), ".png", "colours with transparency"),
    "one bit, PNG": (lambda v: saved(Image.fromarray(v).convert("1"), "PNG"), ".png", "1 bits per value"),
    "one bit, BMP": (lambda v: saved(Image.fromarray(v).convert("1"), "BMP"), ".bmp", "1 bits per pixel"),
    "32 bits, BMP": (lambda v: saved(Image.fromarray(v).convert("RGBA"), "BMP"), ".bmp", "32 bits per pixel"),
    "several, PNG": (
        lambda v: saved(
            Image.fromarray(v), "PNG", save_all=True, append_images=[Image.fromarray(255 - v)], default_image=False
        ),
        ".png",
        "several pictures in one PNG",
    ),
    "packed, BMP": (lambda v: saved(Image.fromarray(v), "BMP")[:30] + b"\1\0\0\0" + b"\0" * 2000, ".bmp", "packed BMP"),
    "JPEG": (
        lambda v: saved(Image.fromarray(v), "JPEG"),
        ".jpg",
        "5 JPEG files, s000.jpg the first; JPEG changes",
    ),
    "PNG in name only": (lambda v: saved(Image.fromarray(v), "JPEG"), ".png", "damaged or not a PNG"),
    "JPEG 2000 in name only": (lambda v: saved(Image.fromarray(v), "PNG"), ".jp2", "not a JPEG 2000"),
    "two channels": (
        lambda v: imagecodecs.jpeg2k_encode(np.stack([v] * 2, -1), **JPEG2000),
        ".jp2",
        "2 values per pixel; must be 1 grey value",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_pictures_are_refused(tmp_path: Path, kind: str) -> None:
    encode, ending, message = REFUSED[kind]
    with pytest.raises(InputError, match=message) as caught:
        read(folder_of(tmp_path / "scan", encode, ending))
    assert "\n" not in str(caught.value)


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_bomb(rows: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", rows, rows, 16, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def jpeg2000_bomb(rows: int) -> bytes:
    data = imagecodecs.jpeg2k_encode(SLICES[0], **{**JPEG2000, "codecformat": "j2k"})
    return data[:8] + struct.pack(">II", rows, rows) + data[16:24] + struct.pack(">II", rows, rows) + data[32:]


def bmp_bomb(rows: int) -> bytes:
    data = saved(Image.fromarray(SLICES[0]), "BMP")
    return data[:18] + struct.pack("<ii", rows, rows) + data[26:]


@pytest.mark.parametrize(
    ("bomb", "ending"),
    [(png_bomb, ".png"), (jpeg2000_bomb, ".jp2"), (bmp_bomb, ".bmp")],
    ids=["PNG", "JPEG 2000", "BMP"],
)
@pytest.mark.parametrize("rows", [20_000, 2**31 - 1])
def test_small_files_of_large_pictures_take_no_memory(
    tmp_path: Path, bomb: Callable[[int], bytes], ending: str, rows: int
) -> None:
    folder = folder_of(tmp_path / "scan", lambda values: bomb(rows), ending)
    tracemalloc.start()
    with pytest.raises(InputError, match="truncated"):
        read(folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * 2**20


def test_tiles_without_number_are_refused(tmp_path: Path) -> None:
    data = imagecodecs.jpeg2k_encode(np.zeros((300, 300), np.uint8), **{**JPEG2000, "codecformat": "j2k"})
    for side in (0, 1):
        spoilt = data[:24] + struct.pack(">II", side, side) + data[32:]
        with pytest.raises(InputError, match=f"tiles of {side} x {side} pixels; damaged"):
            read(folder_of(tmp_path / "scan", lambda values, spoilt=spoilt: spoilt, ".j2k"))


def test_an_empty_slice_is_a_slice(tmp_path: Path) -> None:
    slices = np.zeros((3, 2000, 2000), np.uint16)
    assert not read(folder_of(tmp_path / "png", imagecodecs.png_encode, ".png", slices))[0].any()
    folder = folder_of(tmp_path / "jp2", lambda v: imagecodecs.jpeg2k_encode(v, **JPEG2000), ".jp2", slices)
    assert not read(folder)[0].any()


# --- which files are the slices ---


def png(values: np.ndarray) -> bytes:
    return imagecodecs.png_encode(values)


def test_previews_beside_tiff_slices_are_said(tmp_path: Path) -> None:
    for index, values in enumerate(SLICES):
        tifffile.imwrite(tmp_path / f"s{index:03d}.tif", values)
    folder_of(tmp_path, lambda values: png(255 - values), ".png")
    values, notes = read(tmp_path)
    assert np.array_equal(values, SLICES)
    assert notes == ("5 PNG files beside its TIFF files are not read",)
    assert np.array_equal(read(tmp_path, series="*.png")[0], 255 - SLICES)


def test_more_pictures_than_tiff_files_are_asked_about(tmp_path: Path) -> None:
    folder_of(tmp_path, png, ".png")
    tifffile.imwrite(tmp_path / "overview.tif", SLICES[0])
    with pytest.raises(InputError, match=r"several formats: 1 TIFF, 5 PNG files; choose one with series \"\*\.png\""):
        read(tmp_path)
    values, notes = read(tmp_path, series="*.png")
    assert np.array_equal(values, SLICES)
    assert notes == ()


def test_two_kinds_of_pictures_are_asked_about(tmp_path: Path) -> None:
    folder_of(tmp_path, png, ".png")
    folder_of(tmp_path, lambda values: saved(Image.fromarray(values), "BMP"), ".bmp", SLICES[:3])
    with pytest.raises(InputError, match=r"several formats: 5 PNG, 3 BMP files"):
        read(tmp_path)


def test_the_overview_of_skyscan_is_no_slice(tmp_path: Path) -> None:
    for index, values in enumerate(SLICES):
        (tmp_path / f"ore_rec{index:08d}.bmp").write_bytes(saved(Image.fromarray(values), "BMP"))
    (tmp_path / "ore_rec_spr.bmp").write_bytes(saved(Image.fromarray(SLICES[0, :9]), "BMP"))
    values, notes = read(tmp_path)
    assert np.array_equal(values, SLICES)
    assert notes == ("ore_rec_spr.bmp is taken for an overview, not a slice",)


def test_scans_that_a_folder_offers(tmp_path: Path) -> None:
    folder_of(tmp_path, png, ".png")
    assert series_of_slices(Location.parse(tmp_path), sorted(path.name for path in tmp_path.iterdir())) == {"s#": 5}
    (tmp_path / "s999_spr.png").write_bytes(b"")
    folder_of(tmp_path, png, ".bmp")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert series_of_slices(Location.parse(tmp_path), names) == {"*.png": 5, "*.bmp": 5}
    for index in range(5):
        (tmp_path / f"t{index}.tif").touch()
    assert series_of_slices(Location.parse(tmp_path), [*names, "a1.tif", "a2.tif", "b1.tif", "b2.tif", "b3.tif"]) == {
        "a#": 2,
        "b#": 3,
    }


@pytest.mark.parametrize("params", [{"channel": 1}, {"time": 1}, {"channels_are_slices": True}])
def test_slices_have_no_channels(tmp_path: Path, params: dict[str, object]) -> None:
    folder = folder_of(tmp_path / "scan", png, ".png")
    with pytest.raises(InputError, match=rf"leave out {next(iter(params))}"):
        read(folder, **params)


def test_damaged_values_are_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "scan", png, ".png")
    data = bytearray((folder / "s002.png").read_bytes())
    data[60] ^= 0xFF
    (folder / "s002.png").write_bytes(data)
    with pytest.raises(InputError, match=r"s002\.png: damaged PNG"):
        read(folder)
