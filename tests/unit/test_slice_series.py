"""Which slices of a folder are one scan: one is read, of several the user is asked."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tifffile import imwrite

from ps3d_app.flows.command.cli import main
from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.name_patterns import matches
from ps3d_core.scan.slice_names import natural_order, one_series
from ps3d_core.scan.sources import open_scan

N = range(12)
TWO_SCANS = {
    "one after the other": [f"ore{s}_{i:04d}.tif" for s in (1, 2) for i in N],
    "interleaved": [f"s{i:03d}_c{c}.tif" for i in N for c in (0, 1)],
    "voltages": [f"s{i:03d}_{kv}kV.tif" for kv in (80, 140) for i in N],
    "words": [f"ore_{s}_{i:04d}.tif" for s in ("left", "right") for i in N],
    "folded case": [f"{s}_{i}.TIF" for s in ("Ore", "tin") for i in N],
    "days": [f"{day}_{i}.tif" for day in (20260131, 20260201) for i in N],
    "stamps": [f"ore{s}_{i:04d}_{101500 + 13 * i + 9999 * s}.tif" for s in (1, 2) for i in N],
    "stamps only": [f"ore{s}_{101500 + 17 * i + 9999 * s}.tif" for s in (1, 2) for i in N],
    "gaps in both": [f"ore{s}_{i}.tif" for s in (1, 2) for i in N if i != 3 * s],
    "far apart": [f"ore{s}_{i + 100 * s}.tif" for s in (1, 2) for i in N],
    "one counter goes on": [f"ore{1 + i // 6}_{i:04d}.tif" for i in N],
    "one counter alternates": [f"s{i:04d}_c{i % 2}.tif" for i in N],
    "letters": [f"{s}_{letter}.tif" for s in ("ore", "tin") for letter in "abcdef"],
    "a copy": [*(f"s{i:03d}.tif" for i in N), "s003 (1).tif"],
    "a preview": [*(f"s_rec{i:03d}.tif" for i in N), "s_rec_spr.tif"],
    "a stray voltage": [*(f"s_{i:03d}_80kV.tif" for i in N), "s_010_140kV.tif"],
    "a stray word and number": [*(f"{i:03d}_e100.tif" for i in N), "007_e200.tif"],
    "a stray beside a gap": [*(f"ore1_{i:03d}.tif" for i in N if i != 9), "ore2_000.tif"],
    "a stray at the end, beside a gap": [*(f"ore1_{i:03d}.tif" for i in N if i != 9), "ore2_011.tif"],
    "a stray beyond the end": [*(f"ore1_{i:03d}.tif" for i in N), "ore2_015.tif"],
    "a stray with its time": [*(f"a1_{i:03d}_{101500 + 13 * i}.tif" for i in N), "a2_003_191500.tif"],
    "an overview": [*(f"s{i}.tif" for i in N), "overview.tif"],
}


@pytest.mark.parametrize("kind", TWO_SCANS)
@pytest.mark.parametrize("allow_gaps", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_two_scans_are_refused_and_the_one_advised_is_one(kind: str, allow_gaps: bool, seed: int) -> None:
    names = TWO_SCANS[kind]
    random.Random(seed).shuffle(names)
    with pytest.raises(InputError, match="these are slices of 2 scans: ") as caught:
        one_series(names, "folder", allow_gaps=allow_gaps)
    counts = [int(count) for count in re.findall(r"([0-9]+) of ", str(caught.value))]
    assert sum(counts[:2]) == len(names)
    advised = re.findall(r'series "([^"]+)"', str(caught.value))[0]
    chosen = one_series(names, "folder", series=advised, allow_gaps=True)
    assert len(chosen) == max(counts[:2])
    assert list(chosen) == [name for name in natural_order(names) if name in chosen]


@pytest.mark.parametrize("numbers", [(3, 5, 7), (3, 3, 3)])
def test_strays_of_several_scans(numbers: tuple[int, ...]) -> None:
    names = [*(f"ore1_{i:03d}.tif" for i in N), *(f"ore{s}_{i:03d}.tif" for s, i in enumerate(numbers, 2))]
    with pytest.raises(InputError, match=r"slices of 4 scans: 12 of ore1_#, 1 of ore2_003,.*series \"ore1_#\""):
        one_series(names, "folder", allow_gaps=True)


UNUSUAL = {
    "decimals": [f"z{i // 10}.{i % 10}.tif" for i in range(24)],
    "signs": [f"z{i}.tif" for i in range(-12, 12)],
    "signs and zeros": [f"z{i:+04d}.tif" for i in range(-12, 12)],
    "hexadecimal": [f"s{i:02x}.tif" for i in range(24)],
    "hexadecimal and a word": [f"s{i:03x}_rec.tif" for i in range(200)],
}


@pytest.mark.parametrize("kind", UNUSUAL)
@pytest.mark.parametrize("series", [None, "*"])
def test_numbers_that_are_not_read_are_named_and_no_part_is_advised(kind: str, series: str | None) -> None:
    with pytest.raises(InputError, match="rename the slices with one plain number each, like 0000") as caught:
        one_series(UNUSUAL[kind], "folder", series=series)
    assert kind.split()[0] in str(caught.value)
    assert "series" not in str(caught.value)


ONE_SCAN = {
    "counter beside a time": [f"s{i:03d}_{101500 + 13 * i}.tif" for i in N],
    "counter beside a falling position": [f"s{i:03d}_z{900 - i}.tif" for i in N],
    "over midnight": [f"scan_{20260131 if i < 5 else 20260201}_{i:04d}.tif" for i in N],
    "over the hour": [
        f"s{i}_{12 + (3580 + 7 * i) // 3600}-{(59 + (40 + 7 * i) // 60) % 60:02d}-{(40 + 7 * i) % 60:02d}.tif"
        for i in N
    ],
    "temperatures": [f"s{i:03d}_{t}.tif" for i, t in enumerate([21, 22, 21, 23, 22, 22, 21, 23, 21, 22, 23, 21])],
    "one other temperature": [f"s{i:03d}_{21 + (i == 7)}.tif" for i in N],
    "no zero padding": [f"z{i}.tif" for i in range(5, 120)],
    "constant number": [f"Ore2.5um_{i:04d}.tif" for i in N],
    "a constant number and letters": [f"Ore2.5um_{letter}.tif" for letter in "abcdef"],
    "no numbers": ["left.tif", "middle.tif", "right.tif"],
    "two endings": [f"s{i}.{'tif' if i % 2 else 'TIFF'}" for i in N],
    "dots": [f"scan.{i:04d}.tif" for i in N],
    "one": ["only.tif"],
}


@pytest.mark.parametrize("kind", ONE_SCAN)
def test_one_scan_is_read(kind: str) -> None:
    assert one_series(reversed(ONE_SCAN[kind]), "folder") == tuple(natural_order(ONE_SCAN[kind]))


@given(
    st.integers(2, 4),
    st.integers(2, 9),
    st.integers(0, 20),
    st.sampled_from(["a{s}_{i}", "{i:05d}-{s}", "x{s}y{i:03d}z"]),
)
def test_scans_side_by_side_are_never_one(scans: int, slices: int, first: int, form: str) -> None:
    names = [form.format(s=s, i=i) + ".tif" for s in range(1, scans + 1) for i in range(first, first + slices)]
    with pytest.raises(InputError, match="these are slices of"):
        one_series(names, "folder", allow_gaps=True)
    with pytest.raises(InputError, match="these are slices of"):
        one_series(names, "folder", series="*", allow_gaps=True)


@pytest.mark.parametrize(
    ("series", "count"),
    [("ore1", 12), ("ore1_#", 12), ("ORE1_*", 12), ("ore10_????.tif", 12), ("ore1_000#", 10), ("ore1_0003", 1)],
)
def test_patterns(series: str, count: int) -> None:
    names = [f"ore{s}_{i:04d}.tif" for s in (1, 10) for i in N]
    assert len(one_series(names, "folder", series=series)) == count


@pytest.mark.parametrize("series", ["tin", "ore", "", "80", "ore1_[0-9]*"])
def test_patterns_that_choose_none_or_two(series: str) -> None:
    names = [f"ore{s}_{i:04d}.tif" for s in (1, 10) for i in N]
    with pytest.raises(InputError, match=r"none of 24 slices|slices of 2 scans"):
        one_series(names, "folder", series=series)


@pytest.mark.parametrize("series", ["*" * 40 + "x", "*?" * 12 + "x", "*#" * 12 + "x", "*a" * 30 + "x"])
def test_no_pattern_takes_long(series: str) -> None:
    names = [f"{'a1' * 30}_{i:04d}.tif" for i in N]
    with pytest.raises(InputError, match="none of 12 slices is called"):
        one_series(names, "folder", series=series)


@given(st.text("a1#*?", max_size=6), st.text("a1#2", max_size=6))
def test_patterns_match_as_regular_expressions_do(pattern: str, text: str) -> None:
    words = {"*": ".*", "?": ".", "#": "[0-9#]+"}
    assert matches(pattern, text) == bool(re.fullmatch("".join(words.get(c, c) for c in pattern), text))


def test_what_can_be_read_both_ways_is_one_when_the_user_says_so() -> None:
    for kind in ("one counter goes on", "one counter alternates", "letters"):
        names = TWO_SCANS[kind]
        with pytest.raises(InputError, match="say that they are one scan of 12 slices") as caught:
            one_series(names, "folder")
        advised = re.findall(r'one scan of 12 slices with series "([^"]+)"', str(caught.value))[0]
        assert len(one_series(names, "folder", series=advised)) == 12


@pytest.mark.parametrize("first", [lambda i: 7 * i % 12, lambda i: 7 * i % 12 * 31 + i % 5])
def test_numbers_that_count_but_do_not_sort(first: Callable[[int], int]) -> None:
    names = [f"t{first(i)}_{i:04d}.tif" for i in N]
    with pytest.raises(InputError, match="the number that counts them comes first"):
        one_series(names, "folder")


GREY = np.random.default_rng(0).integers(0, 900, (12, 9, 8)).astype(np.uint16)


def test_series_of_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "both").mkdir()
    for index, values in enumerate(GREY):
        imwrite(tmp_path / "both" / f"s{index:03d}_80kV.tif", values)
        imwrite(tmp_path / "both" / f"s{index:03d}_140kV.tif", values + 1)
    ingest = ["ingest", f"{tmp_path}/both", f"{tmp_path}/data", "--name", "a", "--spacing", "0.01"]
    assert main([*ingest, "--particle-size", "0.03"]) == 2
    error = capsys.readouterr().err
    assert '--series "s#_80kV"' in error
    assert error.count("\n") == 1
    assert not (tmp_path / "data").exists()
    assert main([*ingest, "--particle-size", "0.03", "--series", "140kV"]) == 0
    export = ["export", f"{tmp_path}/both", f"{tmp_path}/one.tif", "--format", "tiff"]
    assert main(export) == 2
    assert main([*export, "--series", "s#_140kV"]) == 0
    for place in (tmp_path / "data" / "images" / "a.zarr", tmp_path / "one.tif"):
        with open_scan(str(place)) as reader:
            assert np.array_equal(reader.read(0, 12), GREY + 1)
        with pytest.raises(InputError, match="not a folder of slices"):
            open_scan(str(place), SourceParams(series="a"))


def test_a_scan_in_several_files_is_not_halved(tmp_path: Path) -> None:
    for name, part in (("part1.tif", GREY[:6]), ("part2.tif", GREY[6:])):
        imwrite(tmp_path / name, part, photometric="minisblack")
    with open_scan(str(tmp_path)) as reader:
        assert np.array_equal(reader.read(0, 12), GREY)
    (tmp_path / "part1.tif").unlink()
    imwrite(tmp_path / "part1.tif", GREY[0])
    with pytest.raises(InputError, match=r"part2\.tif: 6 pages in one slice; must be 1; move it elsewhere"):
        open_scan(str(tmp_path))


def test_slices_of_another_kind_are_said(tmp_path: Path) -> None:
    for index, values in enumerate(GREY[:8]):
        imwrite(tmp_path / f"s{index:03d}.tif", values)
        (tmp_path / f"s{index:03d}.txt").touch()
    (tmp_path / "about-2026.txt").touch()
    with open_scan(str(tmp_path)) as reader:
        assert reader.notes == ()
    for index in range(8, 12):
        (tmp_path / f"s{index:03d}.bmp").touch()
    with open_scan(str(tmp_path)) as reader:
        (note,) = reader.notes
    assert note.startswith("4 files named like its slices are no TIFF files and not read, s008.bmp the first")
