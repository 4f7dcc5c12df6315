"""ISQ of Scanco: names, lengths, and what a header of it may say otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ps3d_core.errors import InputError
from ps3d_core.scan.sources import open_scan
from tests.formats.isq_ones import isq_bytes

GREY = np.random.default_rng(0).integers(-3000, 30_000, (5, 10, 20)).astype("int16")
EDGES = (0.02, 0.02, 0.02)
ATTENUATION = "grey values are kept as stored; divided by 4096 they are linear attenuation, 1/cm"


@pytest.mark.parametrize("name", ["C0001234.ISQ;1", "C0001234.ISQ", "scan.isq"])
@pytest.mark.parametrize("blocks", [0, 1, 7])
def test_read(tmp_path: Path, name: str, blocks: int) -> None:
    (tmp_path / name).write_bytes(isq_bytes(GREY, EDGES, blocks))
    with open_scan(str(tmp_path / name)) as reader:
        assert reader.dtype == np.int16
        assert reader.spacing == pytest.approx(EDGES)
        assert reader.notes == (ATTENUATION,)
        assert np.array_equal(reader.read(0, 5), GREY)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"_16": 9}, "a radiograph or projections, not a volume"),
        ({"_64": 0}, "a radiograph or projections, not a volume"),
        ({"_52": 6}, "truncated"),
        ({"_52": 2}, "more bytes than"),
        ({"_52": 0}, "an axis without voxels"),
        ({"_48": -10}, "an axis without voxels"),
        ({"_52": 1}, "one 2-D slice"),
        ({"_508": -2}, "data offset -2; must be 0 or more"),
        ({"_508": 2**31 - 1}, "truncated"),
        ({"_0": 1}, "not an ISQ file"),
    ],
)
def test_what_is_refused(tmp_path: Path, fields: dict[str, int], message: str) -> None:
    (tmp_path / "scan.isq").write_bytes(isq_bytes(GREY, EDGES, **fields))
    with pytest.raises(InputError, match=message):
        open_scan(str(tmp_path / "scan.isq"))


@pytest.mark.parametrize(
    ("fields", "doubt"),
    [
        ({"_72": 40}, "its header also says that slices stand 40 um apart"),
        ({"_56": -400}, "lengths must be above 0"),
    ],
)
def test_lengths_that_are_not_believed(tmp_path: Path, fields: dict[str, int], doubt: str) -> None:
    (tmp_path / "scan.isq").write_bytes(isq_bytes(GREY, EDGES, **fields))
    with open_scan(str(tmp_path / "scan.isq")) as reader:
        assert reader.spacing is None
        assert doubt in (reader.spacing_doubt or "")
        assert reader.notes == (reader.spacing_doubt, ATTENUATION)


def test_lengths_that_are_cut_to_micrometres(tmp_path: Path) -> None:
    (tmp_path / "scan.isq").write_bytes(isq_bytes(GREY, (0.0206, 0.02, 0.02), _72=20, _88=0))
    with open_scan(str(tmp_path / "scan.isq")) as reader:
        assert reader.spacing == pytest.approx((0.0206, 0.02, 0.02))
        assert reader.notes == ()
