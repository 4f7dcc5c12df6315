"""Ingest of every format that is read slab by slab: its peak memory, and its time against that of two libraries.

    python tests/benchmarks/formats.py [--gb 2.0] [--side 1024] [--only NAME ...] [--store DIR] [--repeat 1]

For each format a scan of that size is written by another program. Then the time of the ingest is compared with that
of reading the file with the format's own library and writing the voxels with zarr, in the same chunks, shards and
codecs as ours. Every measurement runs in a process of its own, in turn; the least of the repeats counts. Prints a
table, and ends with status 1 when an ingest takes 1000 MB or more, or more than 3 times as long.
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
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ps3d_core.geometry.boxes import Shape
from tests.formats.file_format import SPACING, FileFormat, Volume, all_formats, format_named

MOST_MB = 1000
MOST_TIMES = 3.0
NOISE = 16  # slices of noise that are repeated


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=2.0, help="size of the voxels, 10^9 bytes")
    parser.add_argument("--side", type=int, default=1024, help="rows and columns of a slice")
    parser.add_argument("--only", nargs="+", default=None, help="names of formats, or parts of them")
    parser.add_argument("--store", type=Path, default=None, help="folder to work in; a temporary one when absent")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--one", nargs=2, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        kind, name = arguments.one
        form = format_named(name)
        print(json.dumps(measured(kind, form, arguments.store, shape_of(form, arguments))))
        return 0
    chosen = [form for form in all_formats() if form.is_slabwise and wanted(form.name, arguments.only)]
    print(f"{'format':<48} {'MB on disk':>10} {'ingest s':>9} {'others s':>9} {'ratio':>6} {'peak MB':>8}")
    return int(sum(table_row(form, arguments) for form in chosen) > 0)


def wanted(name: str, parts: list[str] | None) -> bool:
    return parts is None or any(part.lower() in name.lower() for part in parts)


def table_row(form: FileFormat, arguments: argparse.Namespace) -> bool:
    """Print a line on a format; return whether it breaks a limit."""
    with tempfile.TemporaryDirectory(dir=arguments.store) as folder:
        root = Path(folder)
        in_own_process("write", form, root, arguments)
        size = sum(path.stat().st_size for path in (root / "scan").rglob("*") if path.is_file())
        runs = {
            kind: [in_own_process(kind, form, root, arguments) for _ in range(arguments.repeat)]
            for kind in ("others", "ingest")
        }
    wall = {kind: min(run["wall"] for run in each) for kind, each in runs.items()}
    peak, ratio = max(run["peak_mb"] for run in runs["ingest"]), wall["ingest"] / wall["others"]
    is_over = peak >= MOST_MB or ratio > MOST_TIMES
    numbers = f"{size / 1e6:10.0f} {wall['ingest']:9.2f} {wall['others']:9.2f} {ratio:6.2f} {peak:8.0f}"
    print(f"{form.name:<48} {numbers}{'  over the limit' if is_over else ''}", flush=True)
    return is_over


def in_own_process(kind: str, form: FileFormat, root: Path, arguments: argparse.Namespace) -> dict[str, float]:
    for output in ("dataset", "out.zarr"):
        shutil.rmtree(root / output, ignore_errors=True)
    size = ["--gb", str(arguments.gb), "--side", str(arguments.side)]
    command = [sys.executable, __file__, "--one", kind, form.name, "--store", str(root), *size]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{form.name}: {kind} failed: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def measured(kind: str, form: FileFormat, root: Path, shape: Shape) -> dict[str, float]:
    """Wall time and peak memory of one kind of work."""
    work = {"write": written, "others": by_others, "ingest": by_us}[kind](form, root, shape)
    started = time.perf_counter()
    work()
    wall = time.perf_counter() - started
    unit = 1 if sys.platform == "darwin" else 1024
    return {"wall": wall, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}


def written(form: FileFormat, root: Path, shape: Shape) -> Callable[[], object]:
    def work() -> None:
        (root / "scan").mkdir()
        source = form.write(root / "scan", noise(dtype_of(form), shape), SPACING)
        (root / "source.txt").write_text(str(source))

    return work


def by_others(form: FileFormat, root: Path, shape: Shape) -> Callable[[], object]:
    from ps3d_core.store.arrays import create_array
    from ps3d_core.store.location import Location

    source = Path((root / "source.txt").read_text())
    array = create_array(Location.parse(root / "out.zarr"), shape, dtype_of(form))

    def work() -> None:
        array[...] = form.read(source)

    return work


def by_us(form: FileFormat, root: Path, shape: Shape) -> Callable[[], object]:
    from ps3d_core.params import IngestParams
    from ps3d_core.scan.ingest import ingest
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    source, dataset = (root / "source.txt").read_text(), Dataset(Location.parse(root / "dataset"))
    like = np.broadcast_to(np.zeros((), dtype_of(form)), shape)
    params = IngestParams(spacing=SPACING[0], particle_size=1.0, **form.params(like))
    return lambda: ingest(source, dataset, "scan", params)


def dtype_of(form: FileFormat) -> np.dtype:
    return np.dtype("uint16" if "uint16" in form.dtypes else form.dtypes[0])


def shape_of(form: FileFormat, arguments: argparse.Namespace) -> Shape:
    side = arguments.side
    return max(NOISE, int(arguments.gb * 1e9) // (side * side * dtype_of(form).itemsize)), side, side


def noise(dtype: np.dtype, shape: Shape) -> Volume:
    """Grains of two grey values and the noise of a detector, in a few slices that are repeated."""
    count, side, _ = shape
    rng = np.random.default_rng(1)
    z, y, x = np.ogrid[:NOISE, :side, :side]
    grains = np.sin(x / 9 + z / 11) + np.sin(y / 8 - z / 13) + np.sin((x + y) / 14)
    top = 250 if dtype.itemsize == 1 else 26_000
    grey = (np.where(grains > 0.4, top, top / 2) * rng.normal(1, 0.02, grains.shape)).clip(0, None)
    if dtype.kind != "f":
        grey = grey.clip(0, np.iinfo(dtype).max)
    few, volume = grey.astype(dtype), np.empty(shape, dtype)
    for index in range(count):
        volume[index] = few[index % NOISE]
    return volume


if __name__ == "__main__":
    sys.exit(main())
