"""Every command that writes, on inputs small enough to run it hundreds of times.

`prepare` makes the inputs of all of them in one folder; a command works on a copy of it, below `out` or in the dataset.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import tifffile
import zarr

from ps3d_app.flows.command.cli import main as ps3d
from ps3d_app.flows.command.cli import run_alone
from ps3d_app.flows.command.reference import conversions, train_preprocess

ROUNDS = int(os.environ.get("PS3D_ROUNDS", "1"))
"""How often tests of races and kills try; more find rarer ones."""
SIZES = "--spacing 0.01 --particle-size 0.1"
TINY = "--model tiny --no-tta --direct --workers 1 --memory 4 --device cpu"

COMMANDS = {
    "ingest": f"ingest slices data --name new {SIZES}",
    "ingest over": f"ingest slices data --name ore --overwrite {SIZES}",
    "ingest labels": "ingest labels.zarr data --name bare --labels",
    "export slices": "export scan.zarr out/slices --format tiff",
    "export tiff": "export scan.zarr out/scan.tif --format tiff --overwrite",
    "export nifti": "export scan.zarr out/scan.nii.gz --format nifti --overwrite",
    "export zarr": "export slices out/scan.zarr --format zarr --overwrite",
    "zscore": "zscore data --workers 1",
    "zscore sampled": "zscore data --samples 1000 --workers 1",
    "instances": "instances classes.zarr out/particles.zarr --workers 1",
    "measure": "measure labels.zarr out/table --spacing 0.01",
    "phantom": "phantom data --name new --shape 16 16 16 --particle-size-voxels 6 --seed 1",
    "segment": f"segment data out/results --name ore {TINY}",
    "segment kept": f"segment data out/results --name ore --keep-work {TINY}",
    "prepare-training": "prepare-training data out/training --name ore --per-scan --target-particle-size 10 "
    "--border-thickness 1 --workers 1",
    "model import": "model import model out/bundle",
    "ps3d_tiff2zarr": "ps3d_tiff2zarr -i slices -o out/converted",
    "ps3d_zarr2tiff": "ps3d_zarr2tiff -i scan.zarr -o out/converted",
    "ps3d_train_preprocess": "ps3d_train_preprocess -i data -o out/raw -n ore -z 100 50 -target_particle_size 10 "
    "-thickness 1 -p 1",
}


def run(command: str) -> int:
    """Exit status of the command in this process and this working directory."""
    name, *rest = command.split()
    alone = {**conversions.CONVERSIONS, train_preprocess.NAME: train_preprocess}
    try:
        return run_alone(name, alone[name], rest) if name in alone else ps3d([name, *rest])
    except SystemExit as end:
        return int(str(end.code))


def prepare(place: Path) -> None:
    """Write all inputs below `place`."""
    from ps3d_core.phantom.params import PhantomParams
    from ps3d_core.phantom.write import write_phantom
    from ps3d_core.store.location import Location
    from tests.tiny_network import save_untrained
    from tests.unit.nnunet_models import V1_NAME, v1_folder

    root = Location.parse(place)
    grey = np.random.default_rng(1).integers(1, 900, (12, 14, 16)).astype(np.uint16)
    (place / "slices").mkdir(parents=True)
    for index, values in enumerate(grey):
        tifffile.imwrite(place / "slices" / f"s_{index:03d}.tif", values)
    z, y, x = np.indices((24, 24, 24))
    labels = (((z // 12) * 2 + y // 12) * 2 + x // 12 + 1).astype(np.uint32)
    labels[(z % 12 > 9) | (y % 12 > 9) | (x % 12 > 9)] = 0
    classes = np.where(labels > 0, 2, 0).astype(np.uint8)
    classes[(labels > 0) & (z % 12 % 9 > 1) & (y % 12 % 9 > 1) & (x % 12 % 9 > 1)] = 1
    arrays = {"scan": grey, "labels": labels, "classes": classes}
    turned = {f"{name}-turned": np.ascontiguousarray(values[::-1]) for name, values in arrays.items()}
    for name, values in (arrays | turned).items():
        zarr.create_array(place / f"{name}.zarr", data=values, chunks=(8, 8, 8))
    data = root / "data"
    for name in ("ore", "bare"):
        params = PhantomParams(shape=(24, 24, 24), particle_size_voxels=10, seed=3, dtype="uint16")
        write_phantom(params, data, name, spacing=0.01)
    (data / "instance_seg" / "bare.zarr").remove_tree()
    save_untrained(root / "tiny", target_particle_size=10)
    v1_folder(place / "model" / "Task310_particle_seg" / V1_NAME)


def _changed(event: str, args: tuple[object, ...]) -> str | None:
    """The file or folder that an audit event is about to make, change or remove."""
    if event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
        return None
    if event not in {"open", "os.mkdir", "os.rmdir", "os.remove", "os.rename", "os.link"}:
        return None
    path = args[1] if event in {"os.rename", "os.link"} else args[0]
    return os.path.abspath(path) if isinstance(path, str) or hasattr(path, "__fspath__") else None


class Recorder:
    """Paths below a folder that this process makes or opens for writing."""

    _installed = False
    _current: Recorder | None = None
    _lock = threading.Lock()

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder) + os.sep
        self._paths: dict[str, None] = {}

    @classmethod
    @contextmanager
    def of(cls, folder: Path) -> Iterator[Recorder]:
        """Record while the body runs."""
        if not cls._installed:
            sys.addaudithook(cls._heard)
            cls._installed = True
        cls._current = recorder = cls(folder)
        try:
            yield recorder
        finally:
            cls._current = None

    @property
    def paths(self) -> list[str]:
        """Relative to the folder, parents too, without names that no two runs share; sorted."""
        found = set()
        for path in self._paths:
            relative = Path(path.removeprefix(self._folder))
            found |= {str(one) for one in (relative, *relative.parents) if str(one) != "."}
        return sorted(path for path in found if not re.search(r"[0-9a-f]{32}", path))

    @classmethod
    def _heard(cls, event: str, args: tuple[object, ...]) -> None:
        recorder = cls._current
        if recorder is None:
            return
        path = _changed(event, args)
        if path is not None and path.startswith(recorder._folder):
            recorder._paths[path] = None


def contents(folder: Path) -> dict[str, bytes | None]:
    """Every file below the folder with its bytes, every folder with None."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def kill_at(write: int) -> None:
    """Let this process kill itself at its n-th change of something below the working directory."""
    here, left, lock = os.getcwd() + os.sep, [write], threading.Lock()

    def heard(event: str, args: tuple[object, ...]) -> None:
        path = _changed(event, args)
        if path is not None and path.startswith(here):
            with lock:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(heard)


def serve() -> None:
    """Run one command per line of standard input, FOLDER<tab>COMMAND; answer each with its exit status."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    print("ready", file=answers)
    for line in sys.stdin:
        folder, command = line.rstrip("\n").split("\t")
        os.chdir(folder)
        print(run(command), file=answers)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
        sys.exit()
    if deadly := int(sys.argv[1]):
        kill_at(deadly)
    sys.exit(run(sys.argv[2]))
