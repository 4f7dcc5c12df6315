"""`ps3d evaluate`: how well labels agree with the truth."""

from __future__ import annotations

import argparse
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ps3d_core.evaluation.metrics import Evaluation

PURPOSE = "compare a label image with the truth"
EXAMPLES = """\
  ps3d evaluate results/ore/ore.zarr data/instance_seg/ore.zarr
  ps3d evaluate prediction.zarr truth.zarr --json > agreement.json

Particles match when their intersection over union exceeds a threshold: 0.5 unless a figure says otherwise."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "prediction", metavar="PREDICTION", help="label image: OME-Zarr, Zarr array, TIFF or NIfTI (z, y, x)"
    )
    parser.add_argument("truth", metavar="TRUTH", help="true labels of the same shape")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")


def run(args: argparse.Namespace) -> None:
    """Evaluate one pair of label images."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.evaluation.evaluate import evaluate
    from ps3d_core.scan.given import volumes_in
    from ps3d_core.store.location import Location

    with shown() as progress, TemporaryDirectory(prefix="ps3d-evaluate-") as folder:
        work = Location.parse(folder)
        with volumes_in(work, progress) as volumes:
            prediction, truth = volumes.labels(args.prediction), volumes.labels(args.truth)
            evaluation = evaluate(prediction, truth, work=work, progress=progress)
    if args.json:
        print(evaluation.model_dump_json(indent=2))
    else:
        print("\n".join(lines_of(evaluation)))


def lines_of(evaluation: Evaluation) -> list[str]:
    """Return the figures of an evaluation as lines of text for a person."""
    e = evaluation
    return [
        f"particles            {e.predicted} found, {e.true} true ({_percent(e.count_error)})",
        f"F1 at IoU 0.5        {e.f1:.3f}   precision {e.precision:.3f}, recall {e.recall:.3f}",
        f"F1 at IoU 0.75       {e.f1_by_threshold['0.75']:.3f}",
        f"F1 over 0.5 to 0.95  {e.f1_mean:.3f}",
        f"panoptic quality     {e.panoptic_quality:.3f}   mean IoU of matches {e.mean_matched_iou:.3f}",
        f"errors               {e.missed} missed, {e.spurious} spurious, {e.splits} split, {e.merges} merged",
        f"D50 by volume        {_percent(e.d50_error)}",
    ]


def _percent(error: float | None) -> str:
    return "no error defined" if error is None else f"{100 * error:+.1f} %"
