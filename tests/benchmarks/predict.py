"""Prediction: patches evaluated per unique patch, and the share of wall time that the network takes.

Usage: python tests/benchmarks/predict.py [--side 160] [--mirror]
"""

import argparse
import tempfile
from pathlib import Path

from ps3d_core.params import PredictParams, SegmentParams
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.plan import SegmentJob, plan_segmentation
from ps3d_core.stages import find_intensity, predict_border_core
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location


def main() -> None:
    """Print the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--mirror", action="store_true")
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
            params=SegmentParams(predict=PredictParams(mirror=options.mirror)),
        )
        plan = plan_segmentation(job)
        print("\n".join(plan.describe()))
        summary = predict_border_core(plan, find_intensity(plan))
    evaluated, unique = summary["patches_evaluated"], summary["patches_unique"]
    print(f"patches evaluated / unique     {evaluated / unique:.2f} ({evaluated} / {unique})")
    print(f"network's share of wall time   {summary['forward_seconds'] / summary['seconds']:.3f}")
    print(f"                               ({summary['forward_seconds']:.1f} s of {summary['seconds']:.1f} s)")


if __name__ == "__main__":
    main()
