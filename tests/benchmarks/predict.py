"""Prediction: patches evaluated per unique patch, and the share of wall time that the network takes.

Usage: python tests/benchmarks/predict.py [--side 160] [--quality LEVEL]
"""

import argparse
import tempfile
from pathlib import Path

from ps3d_core.engine.step import Outcomes
from ps3d_core.params import PredictParams, SegmentParams
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.pipeline import run_of
from ps3d_core.plan import SegmentJob, plan_segmentation
from ps3d_core.progress import SILENT
from ps3d_core.quality import LEVELS
from ps3d_core.steps.border_core import BorderCore
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location


def main() -> None:
    """Print the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--quality", choices=LEVELS, default="standard")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Location.parse(Path(folder))
        dataset = Dataset(place / "dataset")
        write_phantom(
            PhantomParams(shape=(options.side,) * 3, particle_size_voxels=24, seed=1, dtype="uint16"),
            dataset.root,
            "scan",
        )
        job = SegmentJob(
            dataset=dataset,
            scan="scan",
            output=place / "output",
            params=SegmentParams(predict=PredictParams(quality=options.quality)),
        )
        plan = plan_segmentation(job)
        print("\n".join(plan.describe()))
        run = run_of(plan)
        done = Outcomes()
        for step in run.steps[:2]:
            done[step.name] = run.engine.run(step, done, run.context(SILENT))
    predicted, seconds = done.of(BorderCore), done[BorderCore.name].seconds
    evaluated, unique, forward = predicted.patches_evaluated, predicted.patches_unique, predicted.forward_seconds
    print(f"patches evaluated / unique     {evaluated / unique:.2f} ({evaluated} / {unique})")
    print(f"network's share of wall time   {forward / seconds:.3f}")
    print(f"                               ({forward:.1f} s of {seconds:.1f} s)")


if __name__ == "__main__":
    main()
