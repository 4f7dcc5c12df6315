"""The predict stage as it was and as it is: seconds, ratios, and the share of wall time that the network takes.

    python tests/benchmarks/predict.py [--side 192] [--particle-size 20] [--runs LEVEL:ENGINE ...]

One phantom, predicted in turn by every one of the runs. The first is the peer that the others are compared with:
reference with PyTorch is what releases did before there was a choice. With 20 voxels per particle the network grid of
the bundled model is the scan's own.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from ps3d_core.engine.step import Outcomes
from ps3d_core.params import PredictParams, Resources, SegmentParams
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.pipeline import run_of
from ps3d_core.plan import SegmentJob, SegmentPlan, plan_segmentation
from ps3d_core.progress import SILENT
from ps3d_core.quality import LEVELS
from ps3d_core.steps.border_core import BorderCore
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location

RUNS = ("reference:torch", "standard:torch", "standard:openvino", "fast:openvino")


def predicted(plan: SegmentPlan) -> tuple[float, float, int]:
    """Seconds of the stage, seconds of forward passes in it, and patches."""
    run = run_of(plan)
    done = Outcomes()
    for step in run.steps:
        done[step.name] = run.engine.run(step, done, run.context(SILENT))
        if isinstance(step, BorderCore):
            break
    found = done.of(BorderCore)
    return done[BorderCore.name].seconds, found.forward_seconds, found.patches_evaluated


def main() -> None:
    """Print a line for each run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--side", type=int, default=192)
    parser.add_argument("--particle-size", type=float, default=20.0, metavar="VOXELS")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", nargs="+", default=RUNS, metavar="LEVEL:ENGINE", help=f"levels: {', '.join(LEVELS)}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Location.parse(Path(folder))
        shape = (options.side,) * 3
        dataset = Dataset(place / "dataset")
        write_phantom(
            PhantomParams(shape=shape, particle_size_voxels=options.particle_size, seed=1, dtype="uint16"),
            dataset.root,
            "scan",
        )
        base = SegmentJob(dataset, "scan", place / "output", resources=Resources(workers=options.workers))
        print(f"{'':24}{'seconds':>10}{'times faster':>14}{'patches':>10}{'network / wall':>16}")
        first = None
        for run in options.runs:
            quality, _, engine = run.partition(":")
            params = SegmentParams(predict=PredictParams(quality=quality, engine=engine, device="cpu"))
            plan = plan_segmentation(replace(base, output=place / run.replace(":", "-"), params=params))
            seconds, forward, patches = predicted(plan)
            first = first or seconds
            print(f"{run:24}{seconds:10.1f}{first / seconds:14.1f}{patches:10}{forward / seconds:16.2f}", flush=True)


if __name__ == "__main__":
    main()
