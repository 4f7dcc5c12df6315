"""Readers of other packages: found when they are installed, asked after ours, and named when they are broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PACKAGE = """
import numpy as np
from ps3d_core.scan.reader import ScanReader, scan_dtype, scan_shape

class NpyVolume(ScanReader):
    suffixes = (".npy", ".nii")

    def __init__(self, location):
        self._array = np.load(location.local_path, mmap_mode="r", allow_pickle=False)
        self.shape, self.dtype = scan_shape(self._array.shape, str(location)), scan_dtype(self._array.dtype, "npy")
        self.description = "NumPy file"

    def read(self, start, stop):
        return np.array(self._array[start:stop], self.dtype)

    def close(self):
        pass

class NoReader:
    pass
"""
LOOK = """
import sys, ps3d_core as ps3d
try:
    with ps3d.open_scan(sys.argv[1]) as scan:
        print(type(scan).__name__, scan.shape, int(scan.read(0, scan.shape[0]).sum()))
except ps3d.InputError as error:
    print(error)
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder like site-packages, with a package that declares a reader."""
    place = tmp_path / "site"
    (place / "our_lab-1.0.dist-info").mkdir(parents=True)
    (place / "our_lab.py").write_text(PACKAGE)
    (place / "our_lab-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: our-lab\nVersion: 1.0\n")
    declare(place, "our_lab:NpyVolume")
    np.save(tmp_path / "scan.npy", np.ones((2, 3, 4), np.uint16))
    return place


def declare(site: Path, value: str) -> None:
    text = f"[ps3d.readers]\nnpy = {value}\n"
    (site / "our_lab-1.0.dist-info" / "entry_points.txt").write_text(text)


def look(site: Path, source: Path) -> str:
    """What somebody with this package installed sees of a source."""
    code = f"import sys; sys.path.append({str(site)!r})\n{LOOK}"
    done = subprocess.run([sys.executable, "-c", code, str(source)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_package_adds_a_format(site: Path, tmp_path: Path) -> None:
    assert look(site, tmp_path / "scan.npy") == "NpyVolume (2, 3, 4) 24"


def test_nobody_takes_over_a_format_of_ours(site: Path, tmp_path: Path) -> None:
    (tmp_path / "scan.nii").write_bytes((tmp_path / "scan.npy").read_bytes())
    assert "scan.nii: " in look(site, tmp_path / "scan.nii")  # refused by our reader of NIfTI


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("our_lab:Missing", "AttributeError: module 'our_lab' has no attribute 'Missing'"),
        ("our_lab:NoReader", "it is no ScanReader"),
        ("absent_lab:NpyVolume", "ModuleNotFoundError: No module named 'absent_lab'"),
    ],
)
def test_a_broken_one_is_named_where_it_might_be_the_one(value: str, reason: str, site: Path, tmp_path: Path) -> None:
    declare(site, value)
    said = look(site, tmp_path / "scan.npy")
    assert said == f"reader 'npy' of package our-lab cannot be used ({reason}); update or uninstall it"


def test_a_broken_one_is_no_matter_elsewhere(site: Path, tmp_path: Path) -> None:
    declare(site, "absent_lab:NpyVolume")
    import tifffile

    tifffile.imwrite(tmp_path / "scan.tif", np.ones((3, 4, 5), np.uint8), photometric="minisblack")
    assert look(site, tmp_path / "scan.tif") == "TiffStack (3, 4, 5) 60"
