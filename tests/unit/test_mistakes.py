"""What somebody new to ps3d does wrong, and what it says: one line that names what is wrong and what to do."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import tifffile

from ps3d_app.flows.command.cli import main
from tests.unit.workspace import change_metadata, grey_values, listing, make_workspace, write_slices

INGEST = "--spacing 0.01 --particle-size 0.08"
S3 = {"AWS_EC2_METADATA_DISABLED": "true"}
ACCOUNT = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_PROFILE")

# The command, and the words of its answer that count; {here} is the folder it is given in.
MISTAKES = (
    ("", "COMMAND: missing; see ps3d --help"),
    ("segmnt data results", "segmnt: no command; did you mean segment?"),
    ("frobnicate", "no command; there are demo, look, ingest, inspect, segment"),
    ("model infos", "did you mean info? see ps3d model --help"),
    ("segment data", "OUTPUT: missing; see ps3d segment --help"),
    ("segment data results --nmae ore", "--nmae ore: not understood; did you mean --name?"),
    ("ingest slices new", "--name: missing"),
    (f"ingest slices new --name my ore {INGEST}", "ore: not understood; put quotes around what has spaces"),
    ("ingest slices new --name ore", "--particle-size is missing; give the mean diameter of the particles in mm"),
    ("ingest slices new --name ore --particle-size 0.08", "does not say its spacing; give --spacing, the edge of a vo"),
    (f"ingest slcies new --name ore {INGEST}", "{here}/slcies: no such file or folder; check the path"),
    (
        f"ingest empty new --name ore {INGEST}",
        "{here}/empty: an empty folder; check the path, or give a label image or a scan",
    ),
    (f"ingest slice.tif new --name ore {INGEST}", "one 2-D slice of 40 x 32; a scan needs at least 2 slices"),
    (f"ingest notes.txt new --name ore {INGEST}", "unknown kind of file; give a folder of slices"),
    (f"ingest colour.tif new --name ore {INGEST}", "RGB, 3 values per pixel; must be 1 grey value"),
    (f"ingest gap new --name ore {INGEST}", "slice 7 is missing between ore_0006.tif and ore_0008.tif; restore it"),
    (f"ingest slices new --name ore/1 {INGEST}", "scan name 'ore/1': must be 1 to 128 bytes of printable characters"),
    ("ingest slices new --name ore --spacing 0.01 --particle-size 80", "particle size 80 mm: must be"),
    ("ingest slices new --name ore --spacing 0,01 --particle-size 0.08", "--spacing 0,01: must be one length or three"),
    ("ingest slices new --name ore --spacing 0.01 --particle-size 0.08cm", "0.08cm: must be a length in mm"),
    (f"ingest slices data --name ore {INGEST}", "already in {here}/data; replace it with --overwrite, or give another"),
    (f"ingest slices notes.txt --name ore {INGEST}", "{here}/notes.txt: a file, where a folder is needed"),
    (f"ingest slices s3://bucket/data --name ore {INGEST}", "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET"),
    ("segment data/images/ore.zarr results", "a scan, not a dataset; bring it into one with ps3d ingest"),
    ("segment slices results", "{here}/slices: no dataset, there is no images/ in it; make one with ps3d ingest"),
    ("segment nowhere results", "{here}/nowhere: nothing there; check the path"),
    ("segment results data", "{here}/results: nothing there; check the path"),
    ("segment data results --name Ore", "scan 'Ore': not in {here}/data/metadata.json (did you mean 'ore'?)"),
    ("segment data results --name ore.zarr", "(did you mean 'ore'?); ingest it first, or give another --name"),
    ("segment data results --name copper", "no image at {here}/data/images/copper.zarr; ingest it first"),
    ("segment data results --name ore --model data", "no bundle.json in it; give a bundle's folder"),
    ("segment data results --name ore --model mine", "model {here}/mine: nothing there; give a bundle's folder"),
    ("segment data results --name ore --device gpu", "--device gpu: must be one of auto, cuda, mps, cpu"),
    ("segment data results --name ore --memory 0.2", "needs at least"),
    ("segment data results --name ore --memory 500MB", "--memory 500MB: must be a number"),
    ("segment data results --name ore --fold 7", "fold 7: model 'ps3d bundled phantom model' has folds [0]; choose"),
    ("model import notes.txt mine --sha256 abc", "--sha256 'abc': must be 64 hexadecimal digits, as sha256sum prints"),
    ("segment data results --name ore --batch-size 9999", "--batch-size 9999: must be at most 256; give less"),
    ("segment data results --name ore --zscore 1 0", "--zscore 0: must be above 0; give more"),
    ("segment data results --name ore --zscore 1e300 1e-300", "--zscore 1e+300: must be at most 1e+30; give less"),
    ("segment data ftp://host/results --name ore", "ftp://: this store is not supported; give a folder, s3://"),
    ("segment data results --name slag", "did you mean"),
    (
        "measure data table",
        "{here}/data: a dataset, not one volume; give one of its scans, like {here}/data/images/NAME.zarr",
    ),
    ("measure labels.zarr notes.txt", "{here}/notes.txt: a file, where a folder is needed"),
    ("evaluate labels.zarr other.zarr", "labels.zarr of (24, 40, 32) voxels, {here}/other.zarr of (23, 40, 32): the"),
    ("export labels.zarr out --format jpeg", "--format jpeg: must be one of tiff, nifti, mha"),
    ("export labels.zarr out --format nifti", "a file of format nifti must end in .nii or .nii.gz; name it so"),
    ("export labels.zarr one.tif --format tiff", "is there already, and holds what ps3d did not make; move it away"),
    ("instances nowhere out.zarr", "{here}/nowhere: nothing there; check the path"),
    ("zscore empty", "{here}/empty: no scans in images/; bring one in with ps3d ingest"),
    ("zscore data --name or", "(did you mean 'ore'?)"),
    ("prepare-training data training", "no z-score here; make it with ps3d zscore, or give mean and standard"),
    ("train data mine", "{here}/data: no training data there; make it with ps3d prepare-training"),
    ("model import data mine", "no model of nnU-Net in it; give a folder with plans.json or plans.pkl and fold_0"),
    ("model info nowhere", "model {here}/nowhere: nothing there"),
    ("phantom new --name p --shape 64 --particle-size-voxels 12 --seed 0", "--shape: expected 3 arguments"),
    ("phantom new --name p --shape 64 64 64 --particle-size-voxels 0 --seed 0", "-voxels 0: must be at least 3"),
    ("inbox notes.txt --direct", "{here}/notes.txt: a file, where a folder is needed"),
)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("newcomer")
    make_workspace(folder)
    write_slices(folder / "gap", grey_values())
    (folder / "gap" / "ore_0007.tif").unlink()
    tifffile.imwrite(folder / "colour.tif", np.zeros((4, 8, 8, 3), np.uint8), photometric="rgb")
    change_metadata(
        folder / "data",
        copper={"spacing": 0.01, "particle_size": 0.1},
        slag2={"spacing": 0.01, "particle_size": 0.1},
    )
    return folder


@pytest.mark.parametrize(("command", "words"), MISTAKES, ids=[command or "nothing" for command, _ in MISTAKES])
def test_a_mistake_reads_well_and_leaves_nothing(
    command: str, words: str, here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(here)
    for name in ACCOUNT:
        monkeypatch.delenv(name, raising=False)
    for name, value in S3.items():
        monkeypatch.setenv(name, value)
    before = listing(here)
    status = main(shlex.split(command))
    out, err = capfd.readouterr()
    assert (status, out) == (2, "")
    assert err.startswith("ps3d: error: ")
    assert err.count("\n") == 1
    assert words.format(here=here) in err
    assert listing(here) == before
