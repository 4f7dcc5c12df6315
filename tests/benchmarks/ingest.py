"""Ingest against its two halves: reading the same slices with tifffile, and writing the same voxels with zarr.

    python tests/benchmarks/ingest.py [--slices 512] [--side 512] [--store DIR] [--repeat 3]

Every measurement runs in a process of its own, in turn; the least of the repeats counts, and the peak memory of the
ingest is that of its process. Prints ratios; the limit to hold is 3.0 and 1 GB.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
import zarr

from ps3d_core.params import IngestParams

WRITERS = {"zarr as this project stores it": "write-sharded", "zarr with its defaults": "write-default"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=512)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--store", type=Path, default=None, help="folder to work in; a temporary one when absent")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--one", default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.store)))
        return
    with tempfile.TemporaryDirectory(dir=arguments.store) as folder:
        root = Path(folder)
        write_slices(root / "slices", arguments.slices, arguments.side)
        compare(root, arguments.repeat)


def compare(root: Path, repeat: int) -> None:
    kinds = ["read", *WRITERS.values(), "ingest"]
    runs = {kind: [in_own_process(kind, root) for _ in range(repeat)] for kind in kinds}
    wall = {kind: min(run["wall"] for run in runs[kind]) for kind in kinds}
    cpu = {kind: min(run["cpu"] for run in runs[kind]) for kind in kinds}
    peak = max(run["peak_mb"] for run in runs["ingest"])
    for kind in kinds:
        print(f"{kind:14s} wall {wall[kind]:6.2f} s   cpu {cpu[kind]:6.2f} s")
    for label, kind in WRITERS.items():
        ratio = wall["ingest"] / (wall["read"] + wall[kind])
        of_cpu = cpu["ingest"] / (cpu["read"] + cpu[kind])
        print(f"ingest / (tifffile + {label}): wall {ratio:.2f}, cpu {of_cpu:.2f} (limit 3.00)")
    print(f"peak memory of the ingest: {peak:.0f} MB (limit 1000 MB)")


def in_own_process(kind: str, root: Path) -> dict[str, float]:
    for output in ("dataset", "out.zarr"):
        shutil.rmtree(root / output, ignore_errors=True)
    command = [sys.executable, __file__, "--one", kind, "--store", str(root)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def measure(kind: str, root: Path) -> dict[str, float]:
    paths = sorted((root / "slices").iterdir())
    if kind == "ingest":
        from ps3d_core.scan.ingest import ingest
        from ps3d_core.store.layout import Dataset
        from ps3d_core.store.location import Location

        dataset = Dataset(Location.parse(root / "dataset"))
        work = lambda: ingest(str(root / "slices"), dataset, "scan", IngestParams(spacing=0.01, particle_size=0.2))  # noqa: E731
    elif kind == "read":
        work = lambda: tifffile.imread(paths)  # noqa: E731
    else:
        volume = tifffile.imread(paths)
        work = lambda: write(kind, root / "out.zarr", volume)  # noqa: E731
    started, started_cpu = time.perf_counter(), time.process_time()
    work()
    wall, cpu = time.perf_counter() - started, time.process_time() - started_cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"wall": wall, "cpu": cpu, "peak_mb": peak}


def write(kind: str, path: Path, volume: np.ndarray) -> None:
    if kind == "write-default":
        array = zarr.create_array(path, shape=volume.shape, dtype=volume.dtype)
    else:
        from ps3d_core.store.arrays import create_array
        from ps3d_core.store.location import Location

        array = create_array(Location.parse(path), volume.shape, volume.dtype)
    array[:] = volume


def write_slices(folder: Path, count: int, side: int) -> None:
    """Slices with the noise of a real scan: smooth grains of several grey values, and detector noise."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:side, :side]
    for z in range(count):
        grains = np.sin(x / 9 + z / 11) + np.sin(y / 8 - z / 13) + np.sin((x + y) / 14)
        grey = np.where(grains > 0.4, 26000, 12000) + rng.normal(0, 400, (side, side))
        tifffile.imwrite(folder / f"slice_{z:04d}.tif", grey.astype(np.uint16))


if __name__ == "__main__":
    main()
