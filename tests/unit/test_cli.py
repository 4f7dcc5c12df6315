"""The command line: it explains itself, and it fails in one line with the right status."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tifffile import imwrite

from ps3d_app.flows.command.arguments import length_mm, spacing_mm
from ps3d_app.flows.command.cli import main
from ps3d_app.flows.command.commands import COMMANDS
from ps3d_app.flows.command.outcome import run_to_exit_status
from ps3d_core.errors import CorruptDataError, InputError, MissingDataError, StoreError
from ps3d_core.network.bundle import load_bundle
from ps3d_core.scan.sources import open_scan
from ps3d_core.store.arrays import write_box
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image, image_spacing, is_label_image, open_image
from ps3d_core.store.publishing import RECEIPT

ROOT = Path(__file__).parents[2]


def ps3d(*arguments: str) -> int:
    """Exit status of the command, as a shell sees it."""
    try:
        return main(arguments)
    except SystemExit as stop:
        return int(stop.code or 0)


def ends_with(error: BaseException | None, *, debug: bool = False) -> int:
    """Exit status of a command that raises `error`."""

    def run(_args: Namespace) -> None:
        if error is not None:
            raise error

    command = SimpleNamespace(PURPOSE="", EXAMPLES="", configure=lambda parser: None, run=run)
    return run_to_exit_status("test", command, Namespace(debug=debug, options={}))


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ps3d: error: ")
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    return captured.err.removeprefix("ps3d: error: ").strip()


def labels_at(location: Location, labels: np.ndarray[Any, Any], spacing: float | None = 0.01) -> None:
    array = create_image(location, labels.shape, labels.dtype, spacing=spacing, name="labels", label=True)
    from ps3d_core.geometry.boxes import Box

    write_box(array, Box.of(labels.shape), labels)


def two_cubes() -> np.ndarray[Any, Any]:
    labels = np.zeros((24, 24, 24), np.uint32)
    labels[2:10, 2:10, 2:10] = 1
    labels[12:22, 12:22, 12:22] = 2
    return labels


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_explains(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ps3d(*name.split(), "--help") == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Usage: ps3d {name}".strip())
    assert "Example" in text or not name
    for command in () if name else COMMANDS:
        assert f"  {command.split()[0]} " in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_is_explained(name: str) -> None:
    parser = ArgumentParser()
    COMMANDS[name].configure(parser)
    assert not [action.dest for action in parser._actions if not action.help]


@pytest.mark.parametrize("name", COMMANDS)
def test_purposes_fit_one_line_of_the_help(name: str) -> None:
    assert len(COMMANDS[name].PURPOSE) <= 80 - len("    instances   ")
    assert not COMMANDS[name].PURPOSE.endswith(".")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["segmnt"], "segmnt"),
        (["segment"], "DATASET, OUTPUT"),
        (["segment", "d", "o", "--frobnicate"], "--frobnicate"),
        (["segment", "d", "o", "--workers", "0"], "0: must be a whole number from 1"),
        (["ingest", "s", "d", "--name", "n", "--particle-size", "-1"], "-1: must be a length in mm"),
        (["ingest", "s", "d", "--name", "n", "--particle-size", "nan"], "nan: must be a length in mm"),
        (["ingest", "s", "d", "--name", "n", "--particle-size", "3m"], "3m: must be a length in mm"),
        (["export", "s", "d", "--format", "jpeg"], "jpeg"),
        (["export", "s", "d", "--format", "tiff", "--spacing", "1,2"], "1,2: must be one length or three"),
        (["export", "s", "d", "--format", "tiff", "--spacing", "1,-2,1"], "-2: must be a length in mm"),
        (["zscore", "d", "--exact", "--samples", "5000"], "not allowed with"),
        (["model"], "COMMAND"),
    ],
)
def test_usage_errors(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ps3d(*arguments) == 2
    line = one_line(capsys)
    assert says in line
    assert "--help" in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["segment", "{here}", "{here}/out"], "no scans"),
        (["segment", "{here}", "{here}/out", "--name", "ore"], "scan ore: "),
        (["segment", "{here}", "{here}/out", "--name", "a", "b"], "scans a, b: "),
        (["segment", "{here}", "{here}/out", "--name", "a", "--memory", "0"], "--memory 0"),
        (["segment", "{here}", "{here}/out", "--name", "a", "--dask-scheduler", "tcp://x:1"], "choose runner dask"),
        (["segment", "{here}", "{here}/out", "--name", "a", "--batch-size", "9999"], "--batch-size 9999"),
        (
            ["segment", "{here}", "{here}/out", "--name", "a", "--min-rel-particle-size", "2"],
            "--min-rel-particle-size 2",
        ),
        (["segment", "{here}", "{here}/out", "--name", "a", "--zscore", "100", "0"], "--zscore"),
        (["segment", "{here}", "{here}/out", "--name", "a", "--zscore", "nan", "1"], "--zscore"),
        (["segment", "nostore://x", "{here}/out", "--name", "a"], "nostore://: this store is not supported"),
        (["ingest", "{here}/no.tif", "{here}/d", "--name", "n", "--particle-size", "1"], "no such file"),
        (["export", "{here}/no.zarr", "{here}/x", "--format", "tiff"], "no such file"),
        (["measure", "{here}/no.zarr", "{here}/x"], "nothing there"),
        (["evaluate", "{here}/no.zarr", "{here}/no.zarr"], "nothing there"),
        (["instances", "{here}/no.zarr", "{here}/x.zarr"], "nothing there"),
        (["instances", "{here}", "{here}/x.zarr", "--workers", "5000"], "--workers 5000"),
        (["zscore", "{here}"], "no scans in images/"),
        (["zscore", "{here}", "--name", "a"], "scan 'a': not in"),
        (["model", "info", "{here}"], "no bundle.json"),
        (["model", "import", "{here}", "{here}-bundle"], "no model of nnU-Net"),
        (["model", "import", "{here}/model.zip", "{here}/bundle"], "no such file or folder"),
        (
            [
                "phantom",
                "{here}",
                "--name",
                "n",
                *["--seed", "0", "--shape", "8", "8", "8", "--particle-size-voxels", "1"],
            ],
            "-voxels 1",
        ),
        (
            [
                *["phantom", "{here}", "--name", "n", "--seed", "0", "--shape", "8", "8", "8"],
                *["--particle-size-voxels", "8", "--family", "training", "--dtype", "uint8"],
            ],
            "--dtype uint8",
        ),
    ],
)
def test_input_errors(arguments: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ps3d(*(argument.format(here=tmp_path) for argument in arguments)) == 2
    assert says in one_line(capsys)
    assert not list(tmp_path.iterdir())


def test_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(None) == 0
    assert capsys.readouterr().err == ""
    assert ends_with(InputError("size 3: at most 2; give 2")) == 2
    assert one_line(capsys) == "size 3: at most 2; give 2"
    assert ends_with(KeyboardInterrupt()) == 130
    assert "continues where it stopped" in one_line(capsys)


def test_other_errors_say_where_the_traceback_is(capsys: pytest.CaptureFixture[str], own_home: Path) -> None:
    assert ends_with(RuntimeError("odd\nthing")) == 1
    line = one_line(capsys)
    assert line.startswith("RuntimeError: odd thing; traceback in ")
    log = Path(line.rpartition(" ")[2])
    assert log.is_relative_to(own_home)
    assert "Traceback" in log.read_text()
    assert ends_with(StoreError("s3://b: no answer", "wait for it")) == 1
    assert one_line(capsys) == "s3://b: no answer; wait for it"


@pytest.mark.parametrize("kind", [MissingDataError, CorruptDataError])
def test_data_that_are_damaged_or_absent_are_bad_input(
    kind: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends_with(kind("chunk c/0: not there")) == 2
    assert one_line(capsys) == "chunk c/0: not there"


def test_too_little_memory_is_said_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(MemoryError("Unable to allocate 3.4 GiB")) == 1
    assert one_line(capsys) == "not enough memory (Unable to allocate 3.4 GiB); close other programs"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(13, "Permission denied", "/data/out"), "/data/out: permission denied"),
        (NotADirectoryError(20, "Not a directory", "/data/file/out"), "/data/file/out: not a directory"),
        (IsADirectoryError(21, "Is a directory", "/data/out.csv"), "/data/out.csv: is a directory"),
    ],
)
def test_a_place_that_cannot_be_used_is_bad_input(
    error: OSError, says: str, capsys: pytest.CaptureFixture[str], own_home: Path
) -> None:
    assert ends_with(error) == 2
    assert one_line(capsys) == f"{says}; give another place or mend its permissions"
    logs = "".join(log.read_text() for log in (own_home / "logs").glob("*-test-*.log"))
    assert "Traceback" in logs
    assert f"{type(error).__name__}: {error}" in logs


@pytest.mark.parametrize(
    "error",
    [PermissionError("of another origin"), FileNotFoundError(2, "No such file", "/x"), OSError(5, "I/O", "/x")],
)
def test_other_errors_of_the_system_are_none(error: OSError, capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(error) == 1
    assert "traceback in" in one_line(capsys)


SMALL = ["--seed", "0", "--shape", "20", "20", "20", "--particle-size-voxels", "8"]


@pytest.mark.parametrize("place", ["file", "file/below"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["ingest", "{here}/labels.zarr", "{place}", "--name", "n", "--particle-size", "0.05"],
        ["export", "{here}/labels.zarr", "{place}/out", "--format", "tiff"],
        ["export", "{here}/labels.zarr", "{place}/out.tif", "--format", "tiff"],
        ["export", "{here}/labels.zarr", "{place}/out.nii", "--format", "nifti"],
        ["export", "{here}/labels.zarr", "{place}/out.zarr", "--format", "zarr"],
        ["measure", "{here}/labels.zarr", "{place}"],
        ["phantom", "{place}", "--name", "n", *SMALL],
        ["inbox", "{place}", "--direct"],
        ["segment", "{here}/data", "{place}", "--direct", "--workers", "1", "--memory", "2"],
    ],
)
def test_a_file_where_a_folder_is_needed_is_bad_input(
    arguments: list[str], place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels_at(Location.parse(tmp_path / "labels.zarr"), two_cubes())
    (tmp_path / "file").write_text("kept")
    if arguments[0] == "segment":
        given = ["--name", "n", "--particle-size", "0.15"]
        assert ps3d("ingest", f"{tmp_path}/labels.zarr", f"{tmp_path}/data", *given) == 0
    capsys.readouterr()
    assert ps3d(*(part.format(here=tmp_path, place=tmp_path / place) for part in arguments)) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("ps3d: error: ")
    assert f"{tmp_path}/file" in line
    assert "a file, where a folder is needed; give another place" in line
    assert (tmp_path / "file").read_text() == "kept"


def test_text_of_others_does_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(InputError("\x1b[2Jname\x07\x9b31m\u202e.tif: not\na slice")) == 2
    assert one_line(capsys) == r"\x1b[2Jname\x07\x9b31m\u202e.tif: not a slice"
    assert ends_with(RuntimeError("\x1b[2J"), debug=True) == 1
    assert "\x1b" not in capsys.readouterr().err
    assert ps3d("export", "a", "b", "--format", "\x1b[2J") == 2
    assert r"\x1b[2J" in one_line(capsys)


def test_names_that_are_no_text_are_logged() -> None:
    code = (
        "import sys\n"
        "from types import SimpleNamespace as N\n"
        "from ps3d_app.flows.command.outcome import run_to_exit_status\n"
        "from ps3d_core.errors import InputError\n"
        "def run(args): raise InputError('a' + chr(0xdc80) + '.tif: no slice')\n"
        "sys.exit(run_to_exit_status('odd', N(run=run), N(debug=False, options={})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "ps3d: error: a\\udc80.tif: no slice\n")
    (log,) = (Path(os.environ["PS3D_HOME"]) / "logs").glob("*-odd-*.log")
    assert r"a\udc80.tif" in log.read_text()


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert ends_with(RuntimeError("odd"), debug=True) == 1
    assert "Traceback" in capsys.readouterr().err


def test_warnings_go_to_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import warnings, sys\n"
        "from types import SimpleNamespace as N\n"
        "from ps3d_app.flows.command.outcome import run_to_exit_status\n"
        "warnings.simplefilter('always')\n"
        "run = lambda args: warnings.warn('something is old', DeprecationWarning)\n"
        "sys.exit(run_to_exit_status('test', N(run=run), N(debug=False, options={})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    logs = (Path(os.environ["PS3D_HOME"]) / "logs").glob("*-test-*.log")
    assert sum("something is old" in log.read_text() for log in logs) == 1


def test_logs_hold_no_keys(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], own_home: Path) -> None:
    model = "https://user:pass-word@host.org/model?X-Amz-Signature=0a1b2c"
    monkeypatch.setattr(sys, "argv", ["ps3d", "segment", f"--model={model}", "--model", model])
    assert ends_with(RuntimeError(f"{model}: odd")) == 1
    log = Path(one_line(capsys).rpartition(" ")[2])
    assert log.is_relative_to(own_home)
    text = log.read_text()
    assert "pass-word" not in text
    assert "0a1b2c" not in text
    assert "ps3d segment --model=https://***@host.org/model?*** --model https://***@host.org/model?***" in text
    assert "RuntimeError: https://***@host.org/model?***: odd" in text


def test_termination_is_an_orderly_interrupt(tmp_path: Path) -> None:
    code = (
        "import signal, sys\n"
        "from types import SimpleNamespace as N\n"
        "from ps3d_app.flows.command.outcome import run_to_exit_status\n"
        "def run(args):\n"
        "    try:\n"
        "        print('ready', flush=True); signal.pause()\n"
        "    finally:\n"
        "        print('put away', flush=True)\n"
        "sys.exit(run_to_exit_status('test', N(run=run), N(debug=False, options={})))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate()
    assert process.returncode == 130
    assert out == "put away\n"
    assert err.startswith("ps3d: error: interrupted")


def test_home_that_cannot_be_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PS3D_HOME", str(tmp_path / "file" / "home"))
    assert ps3d("status") == 2
    assert "set PS3D_HOME to a writable folder" in one_line(capsys)


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    shell = f"{sys.executable} -m ps3d_app.flows.command.cli model info --json | head -c 1"
    done = subprocess.run(shell, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert done.stderr == ""


def test_measure_and_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = Location.parse(tmp_path)
    truth, found = two_cubes(), two_cubes()
    found[found == 1] = 0
    labels_at(place / "truth.zarr", truth)
    labels_at(place / "found.zarr", found)

    assert ps3d("measure", f"{place}/truth.zarr", f"{place}/table") == 0
    assert "2 particles" in capsys.readouterr().out
    assert (tmp_path / "table" / "particles.csv").read_text().count("\n") == 3
    assert sorted(path.name for path in (tmp_path / "table").iterdir()) == [
        RECEIPT,
        "particles.csv",
        "particles.parquet",
    ]

    assert ps3d("evaluate", f"{place}/found.zarr", f"{place}/truth.zarr", "--json") == 0
    figures = json.loads(capsys.readouterr().out)
    assert (figures["predicted"], figures["true"], figures["matched"]) == (1, 2, 1)
    assert ps3d("evaluate", f"{place}/found.zarr", f"{place}/truth.zarr") == 0
    assert "1 found, 2 true" in capsys.readouterr().out


def test_measure_asks_for_a_spacing_that_nobody_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels_at(Location.parse(tmp_path) / "labels.zarr", two_cubes(), spacing=None)
    assert ps3d("measure", f"{tmp_path}/labels.zarr", f"{tmp_path}/table") == 2
    assert "give --spacing" in one_line(capsys)


def test_instances(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    border_core = np.where(two_cubes() > 0, 2, 0).astype(np.uint8)
    border_core[4:8, 4:8, 4:8] = 1
    border_core[14:20, 14:20, 14:20] = 1
    place = Location.parse(tmp_path)
    labels_at(place / "bc.zarr", border_core)
    assert ps3d("instances", f"{place}/bc.zarr", f"{place}/particles.zarr", "--workers", "1", "--memory", "1") == 0
    assert capsys.readouterr().out.startswith("2 particles from 2 cores")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bc.zarr", "particles.zarr"]
    # Again: an own result may be there, another one may not.
    assert ps3d("instances", f"{place}/bc.zarr", f"{place}/particles.zarr", "--workers", "1", "--memory", "1") == 0
    capsys.readouterr()
    labels_at(place / "mine.zarr", two_cubes())
    for output, says in (("mine.zarr", "something other"), ("mine.zarr/0", "lies inside the Zarr")):
        assert ps3d("instances", f"{place}/bc.zarr", f"{place}/{output}", "--workers", "1", "--memory", "1") == 2
        assert says in one_line(capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bc.zarr", "mine.zarr", "particles.zarr"]


def test_phantom_export_ingest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--shape", "40", "36", "32", "--particle-size-voxels", "12", "--seed", "3"]
    assert ps3d("phantom", f"{tmp_path}/made", "--name", "Ore 2.5um", *size) == 0
    made = Dataset(Location.parse(tmp_path / "made"))
    assert ps3d("export", str(made.image("Ore 2.5um")), f"{tmp_path}/slices", "--format", "tiff") == 0
    assert len(list((tmp_path / "slices").iterdir())) == 40
    arguments = ["--name", "Ore 2.5um", "--spacing", "0.01", "--particle-size", "0.12"]
    assert ps3d("ingest", f"{tmp_path}/slices", f"{tmp_path}/data", *arguments) == 0
    assert "40 x 36 x 32 voxels" in capsys.readouterr().out
    assert Dataset(Location.parse(tmp_path / "data")).names() == ["Ore 2.5um"]
    assert ps3d("ingest", f"{tmp_path}/slices", f"{tmp_path}/data", *arguments) == 2
    assert "already in" in capsys.readouterr().err


def test_export_of_slices_with_gaps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels_at(Location.parse(tmp_path) / "labels.zarr", two_cubes())
    assert ps3d("export", f"{tmp_path}/labels.zarr", f"{tmp_path}/slices", "--format", "tiff") == 0
    (tmp_path / "slices" / "slice_0007.tif").unlink()
    capsys.readouterr()
    arguments = ("export", f"{tmp_path}/slices", f"{tmp_path}/out.zarr", "--format", "zarr")
    assert ps3d(*arguments) == 2
    line = one_line(capsys)
    assert "slice 7 is missing" in line
    assert "accept that with --allow-gaps" in line
    assert ps3d(*arguments, "--allow-gaps") == 0
    closed_up = np.delete(two_cubes(), 7, axis=0)
    assert np.array_equal(open_image(Location.parse(tmp_path) / "out.zarr")[:], closed_up)


@pytest.mark.parametrize(
    ("text", "spacing"),
    [
        ("0.0125", (0.0125,) * 3),
        ("12.5um", (0.0125,) * 3),
        ("12.5 µm", (0.0125,) * 3),
        ("0.0125mm", (0.0125,) * 3),
        ("0.03,20um,1e-2", (0.03, 0.02, 0.01)),
        ("20,10,10um", (0.02, 0.01, 0.01)),
        ("10um,10,20", (0.01, 0.01, 0.02)),
        (" 500 nm ", (0.0005,) * 3),
        ("12.5mm", (12.5,) * 3),
        ("1e-5mm", (1e-5,) * 3),
    ],
)
def test_lengths(text: str, spacing: tuple[float, float, float]) -> None:
    assert spacing_mm(text) == spacing


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("12.5", "12.5um or 12.5mm"),
        ("20,10,10", "20um or 20mm"),
        ("1e-5", "is 10um meant"),
        ("5000", "below 1000 mm"),
        ("10mm,10um,10um", "write one unit"),
        ("0,0125", r"decimals are written 0\.0125"),
        ("1,2,3,4", "one length or three"),
        *(
            (text, "must be a length in mm above 0")
            for text in ("", "0", "-1", "nan", "inf", "1e400", "1_0", "3m", "10 UM")
        ),
    ],
)
def test_lengths_that_are_none_or_hardly_meant(text: str, says: str) -> None:
    with pytest.raises(ArgumentTypeError, match=says):
        spacing_mm(text)


def test_a_comma_is_no_decimal_point() -> None:
    with pytest.raises(ArgumentTypeError, match=r"decimals are written 12\.5um"):
        length_mm("12,5um")


def test_micrometres_taken_for_mm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imwrite(tmp_path / "scan.tif", two_cubes().astype(np.uint16), photometric="minisblack")
    arguments = ("ingest", f"{tmp_path}/scan.tif", f"{tmp_path}/data", "--name", "ore", "--particle-size", "50")
    assert ps3d(*arguments, "--spacing", "12.5") == 2
    assert "is 12.5um meant" in one_line(capsys)
    assert ps3d(*arguments, "--spacing", "12.5mm") == 0
    assert "are micrometres meant?" in capsys.readouterr().err


def test_the_next_command_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imwrite(tmp_path / "scan.tif", two_cubes().astype(np.uint16), photometric="minisblack")
    lengths = ("--spacing", "0.01", "--particle-size", "0.1")
    assert ps3d("ingest", f"{tmp_path}/scan.tif", f"{tmp_path}/my data", "--name", "ore $a", *lengths) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert shlex.split(line)[1:] == ["ps3d", "segment", f"{tmp_path}/my data", "RESULTS", "--name", "ore $a"]


def test_another_spacing_for_the_same_voxels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels_at(Location.parse(tmp_path) / "labels.zarr", two_cubes(), spacing=12.5)  # micrometres taken for mm
    source, mended = f"{tmp_path}/labels.zarr", f"{tmp_path}/mended.nii.gz"
    assert ps3d("export", source, mended, "--format", "nifti", "--spacing", "12.5um") == 0
    with open_scan(mended) as reader:
        assert reader.spacing == (0.0125, 0.0125, 0.0125)
        assert np.array_equal(reader.read(0, 24), two_cubes())
    back = Location.parse(tmp_path) / "back.zarr"
    assert ps3d("export", mended, str(back), "--format", "zarr", "--labels", "--spacing", "0.03,0.02,0.01") == 0
    assert is_label_image(back)
    assert image_spacing(back) == (0.03, 0.02, 0.01)
    assert np.array_equal(open_image(back)[:], two_cubes())
    capsys.readouterr()
    assert ps3d("export", mended, f"{tmp_path}/x.nii", "--format", "nifti", "--spacing", "5000") == 2
    assert "below 1000 mm" in one_line(capsys)


def test_model_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert ps3d("model", "info") == 0
    text = capsys.readouterr().out
    assert "digest" in text
    # The record of its training names no folder of the machine it was made on.
    assert "/tmp" not in text.replace(str(load_bundle().location), "")
    assert ps3d("model", "info", "--json") == 0
    assert json.loads(capsys.readouterr().out)["format"] == "ps3d-bundle"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_strangers_model_does_not_steer_the_terminal(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    about = json.loads((Path(str(load_bundle().location)) / "bundle.json").read_text())
    name = "\x1b]0;mine\x07\x9b2J\x7f\u202e\nx"
    steer = f"{name}\ud800"
    about |= {"name": name, "training": {name: steer}, "accuracy": [{f"f1_{name}": name}]}
    (tmp_path / "bundle.json").write_text(json.dumps(about))
    assert ps3d("model", "info", str(tmp_path), *options) == 0
    text = capsys.readouterr().out
    assert all(char.isprintable() for char in text.replace("\n", ""))
    if options:
        assert json.loads(text)["training"] == {name: steer}
    else:
        assert r"\x1b]0;mine\x07" in text.splitlines()[0]


def test_status_starts_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Other tests of this process may have a server running: this one looks at a home that nobody has used.
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PS3D_HOME", str(tmp_path))
    assert ps3d("status") == 0
    assert "none runs" in capsys.readouterr().out
    assert not (tmp_path / "prefect" / "prefect.db").exists()
