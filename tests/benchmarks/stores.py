"""The whole pipeline on an S3 server and on a folder: wall times, their ratio, and whether the results are the same.

Usage: python tests/benchmarks/stores.py [--side 256] [--particle-size 32]
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ps3d_core.geometry.boxes import Box
from ps3d_core.params import PredictParams, SegmentParams
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.pipeline import segment
from ps3d_core.plan import SegmentJob
from ps3d_core.progress import Progress, StageFinished
from ps3d_core.store.arrays import read_box
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from tests.integration.s3_server import BUCKET, seaweedfs

SCAN = "scan"


def measure(place: Location) -> tuple[float, tuple[bytes, bytes]]:
    """Seconds to segment the scan at `place`, and the labels and the table."""
    stages = []
    params = SegmentParams(predict=PredictParams(mirror=False))
    job = SegmentJob(Dataset(place / "dataset"), SCAN, place / "output", params=params)
    started = time.perf_counter()
    segment(job, Progress(stages.append))
    seconds = time.perf_counter() - started
    parts = ", ".join(f"{e.stage} {e.seconds:.1f}" for e in stages if isinstance(e, StageFinished))
    print(f"{place.scheme:5s} {seconds:6.1f} s   ({parts})")
    array = open_image(job.result.labels)
    return seconds, (read_box(array, Box.of(array.shape)).tobytes(), job.result.table_parquet.read_bytes())


def main() -> None:
    """Print both times and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--particle-size", type=float, default=32.0, help="voxels")
    options = parser.parse_args()
    shape = (options.side,) * 3
    phantom = PhantomParams(shape=shape, particle_size_voxels=options.particle_size, seed=3, dtype="uint16")
    small = PhantomParams(shape=(64, 64, 64), particle_size_voxels=20, seed=1, dtype="uint16")
    with tempfile.TemporaryDirectory() as folder, seaweedfs(_made(Path(folder) / "s3" / "data")) as server:
        os.environ.update(server.environment)
        warm_up = Location.parse(Path(folder) / "warm-up")
        write_phantom(small, warm_up / "dataset", SCAN, spacing=0.01)
        print("kernels are compiled or loaded:")
        measure(warm_up)
        print("measured:")
        places = [Location.parse(Path(folder) / "results"), Location.parse(f"s3://{BUCKET}/results")]
        for place in places:
            write_phantom(phantom, place / "dataset", SCAN, spacing=0.01)
        (on_folder, expected), (on_s3, found) = map(measure, places)
    print(f"S3 / folder: {on_s3 / on_folder:.2f}; labels and table {'equal' if found == expected else 'DIFFER'}")


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


if __name__ == "__main__":
    main()
