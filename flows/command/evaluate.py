"""`ps3d evaluate`: how well labels agree with the truth."""

from __future__ import annotations

import argparse
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ps3d_core.evaluation.metrics import Evaluation
    from ps3d_core.evaluation.reliability import Reliability

PURPOSE = "compare a label image with the truth"
EXAMPLES = """\
  ps3d evaluate results/ore/ore.zarr data/instance_seg/ore.zarr
  ps3d evaluate results/ore/ore.zarr truth.zarr --table results/ore/particles.parquet --diagram reliability.svg
  ps3d evaluate prediction.zarr truth.zarr --json > agreement.json

Particles match when their intersection over union exceeds a threshold: 0.5 unless a figure says otherwise. With the
table of the prediction it is said whether its column `confidence` can be relied on."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "prediction", metavar="PREDICTION", help="label image (z, y, x) of any format that ps3d ingest reads"
    )
    parser.add_argument("truth", metavar="TRUTH", help="true labels of the same shape")
    parser.add_argument("--table", metavar="FILE", help="particles.parquet of the prediction: are confidences right?")
    parser.add_argument("--diagram", metavar="FILE", help="write the reliability diagram as SVG; with --table")
    parser.add_argument("--json", action="store_true", help="all figures as JSON")


def run(args: argparse.Namespace) -> None:
    """Evaluate one pair of label images."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.engine.step import Context
    from ps3d_core.errors import InputError
    from ps3d_core.evaluation.diagram import reliability_diagram
    from ps3d_core.evaluation.evaluate import evaluate
    from ps3d_core.scan.given import volumes_in
    from ps3d_core.store.location import Location
    from ps3d_core.store.publishing import publish_text

    if args.diagram and not args.table:
        raise InputError("--diagram without --table: there are no confidences; give the table of the prediction")
    table = Location.parse(args.table) if args.table else None
    with shown() as progress, TemporaryDirectory(prefix="ps3d-evaluate-") as folder:
        work = Location.parse(folder)
        with volumes_in(work, progress) as volumes:
            prediction, truth = volumes.labels(args.prediction), volumes.labels(args.truth)
            evaluation = evaluate(prediction, truth, table=table, work=work, context=Context(progress=progress))
    if args.diagram:
        if evaluation.reliability is None:
            raise InputError(f"{args.table}: no particle has a confidence; calibrate its model, segment again")
        publish_text(Location.parse(args.diagram), str(reliability_diagram(evaluation.reliability)))
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
        *([] if e.reliability is None else _confidence_lines(e.reliability)),
    ]


def _confidence_lines(r: Reliability) -> list[str]:
    auc = "all particles alike" if r.auc is None else f"AUC {r.auc:.3f}"
    return [
        f"confidence           {auc}, calibration error {r.calibration_error:.3f}",
        f"  right particles    {100 * r.expected:.1f} % expected, {100 * r.right:.1f} % found, "
        f"{100 * r.right_without_tenth:.1f} % without the tenth of lowest confidence",
    ]


def _percent(error: float | None) -> str:
    return "no error defined" if error is None else f"{100 * error:+.1f} %"
