"""What a person says of a source counts, or is refused: nothing of it is left aside without a word."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from ps3d_app.flows.command.cli import main
from ps3d_core.errors import InputError
from ps3d_core.params import SourceParams
from ps3d_core.scan.sources import open_scan

GREY = np.arange(4 * 5 * 6, dtype=np.uint16).reshape(4, 5, 6)


@pytest.mark.parametrize(
    "said", [{"channel": 1}, {"time": 0}, {"series": "a"}, {"inside": "/a"}, {"raw": "4x5x6,uint8"}]
)
@pytest.mark.parametrize("is_open", [False, True])
def test_choices_of_files_are_refused_of_arrays(said, is_open):
    with pytest.raises(InputError, match=f"leave out <?{next(iter(said))}"):
        open_scan(open_scan(GREY) if is_open else GREY, SourceParams(**said))


@pytest.mark.parametrize(("said", "option"), [({"crop": "1:2,,"}, "crop"), ({"every": 4}, "every")])
def test_one_slice_of_many_names_what_asked_for_it(said, option):
    with pytest.raises(InputError, match=f"of its 4 slices one is asked for.*{option}"):
        open_scan(GREY, SourceParams(**said))


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (-1.5, "-1.5"), ("min", "min")])
def test_a_number_is_a_number_for_nan(value, text):
    assert SourceParams(nan=value).nan == text


def test_a_volume_within_a_file_is_a_source_of_every_command(tmp_path, capsys):
    labels = np.zeros((12, 12, 12), np.uint8)
    labels[2:9, 2:9, 2:9] = 2
    with h5py.File(tmp_path / "two.h5", "w") as file:
        file["/a"], file["/b"] = labels // 2, labels
    two = str(tmp_path / "two.h5")
    assert main(["measure", two, str(tmp_path / "none"), "--spacing", "0.01"]) == 2
    assert "two.h5:/a" in capsys.readouterr().err
    assert main(["measure", f"{two}:/a", str(tmp_path / "table"), "--spacing", "0.01", "--any-labels"]) == 0
    assert main(["instances", f"{two}:/b", str(tmp_path / "particles.zarr")]) == 0
    assert main(["evaluate", f"{two}:/a", f"{two}:/a"]) == 0
