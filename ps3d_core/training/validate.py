"""Measure a bundle on held-out phantoms: `python -m ps3d_core.training.validate --model DIR`.

The phantoms have other seeds than the training ones and their parameters come from other ranges: the family "held-out",
and "dem", close packings alone, which have a mean of their own. Each goes through the whole pipeline, from scan to
label image on the scan grid, and is compared with its exact truth; so is the watershed of `watershed.py` on the same
scan.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Final

import torch

from ps3d_core.evaluation.metrics import Evaluation, evaluate_arrays
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.network import BUNDLED
from ps3d_core.network.bundle import Fact, load_bundle, record_accuracy
from ps3d_core.network.measured import IOU_LEVELS, level_row, rows_of_levels, rows_of_scans, with_level
from ps3d_core.params import PredictParams, Resources, SegmentParams
from ps3d_core.phantom.params import Family
from ps3d_core.phantom.variety import random_params
from ps3d_core.phantom.write import write_phantom
from ps3d_core.pipeline import segment
from ps3d_core.plan import SegmentJob, plan_segmentation
from ps3d_core.quality import LEVELS, LevelName
from ps3d_core.store.arrays import read_box
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.training.as_command import as_command, at_least_one
from ps3d_core.training.watershed import watershed_particles

SPACING: Final = 0.01  # mm; any value will do, phantoms are made in voxels

Row = dict[str, Fact]


@dataclass(frozen=True, slots=True)
class PhantomScan:
    """Phantom for validation; lengths in voxels."""

    seed: int
    shape: Shape
    particle_size: float
    family: Family = "held-out"

    @property
    def name(self) -> str:
        """Unique name of the scan."""
        return f"{self.family}-{self.seed}"


HELD_OUT: Final = (
    PhantomScan(9001, (128, 128, 128), 16.0),
    PhantomScan(9002, (128, 128, 128), 17.0),
    PhantomScan(9003, (128, 128, 128), 18.0),
    PhantomScan(9004, (128, 128, 128), 19.0),
    PhantomScan(9005, (128, 160, 160), 20.0),
    PhantomScan(9006, (128, 160, 160), 22.0),
    PhantomScan(9007, (128, 192, 192), 24.0),
    PhantomScan(9008, (128, 192, 192), 26.0),
    PhantomScan(9009, (160, 192, 192), 28.0),
    PhantomScan(9010, (160, 192, 192), 30.0),
    PhantomScan(9011, (192, 192, 192), 34.0),
    PhantomScan(9012, (192, 224, 224), 38.0),
)
DEM: Final = (
    PhantomScan(9101, (128, 128, 128), 16.0, "dem"),
    PhantomScan(9103, (128, 144, 144), 20.0, "dem"),
    PhantomScan(9102, (160, 160, 160), 26.0, "dem"),
    PhantomScan(9104, (192, 192, 192), 34.0, "dem"),
)


def main(arguments: list[str] | None = None) -> None:
    """Print the table, and write it where asked."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.sweep:
        _sweep(options)
        return
    rows = _family_rows(HELD_OUT[: options.scans], "mean", options)
    rows += _family_rows(DEM[: options.scans], "mean of dem", options)
    print(table(rows))
    if options.record:
        _record(options.model, options.quality, rows)


def _family_rows(scans: Sequence[PhantomScan], mean: str, options: argparse.Namespace) -> list[Row]:
    """The rows of one family, printed as they come, and their mean."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for scan in scans:
            row = validate_scan(
                scan,
                Location.parse(folder),
                model=options.model,
                quality=options.quality,
                threads=options.threads,
                claimed=options.claimed,
            )
            rows.append(row)
            print(json.dumps(row), flush=True)
    return [*rows, mean_row(rows, mean)]


def validate_scan(
    scan: PhantomScan, folder: Location, *, model: str, quality: LevelName, threads: int, claimed: float = 1.0
) -> Row:
    """Return the accuracy of the model and of the watershed on one held-out phantom.

    `claimed` is the particle size that the pipeline is told, relative to the true one.
    """
    job = phantom_job(scan, folder, model=model, quality=quality, threads=threads, claimed=claimed)
    segment(job)

    dataset, whole = job.dataset, Box.of(scan.shape)
    truth = read_box(open_image(dataset.truth(scan.name)), whole)
    grey = read_box(open_image(dataset.image(scan.name)), whole)
    ours = evaluate_arrays(read_box(open_image(job.result.labels), whole), truth)
    peer = evaluate_arrays(watershed_particles(grey, scan.particle_size), truth)
    return {
        "scan": scan.name,
        "shape": "x".join(map(str, scan.shape)),
        "particle_size_voxels": scan.particle_size,
        "particles": ours.true,
        **_scores("model", ours),
        **_scores("watershed", peer),
    }


def phantom_job(
    scan: PhantomScan,
    folder: Location,
    *,
    model: str,
    quality: LevelName = "standard",
    threads: int = 2,
    claimed: float = 1.0,
) -> SegmentJob:
    """Render a phantom into `folder`, unless it is there; return the job of segmenting it."""
    params = random_params(scan.seed, scan.shape, scan.particle_size, scan.family)
    dataset = Dataset(folder / "dataset")
    write_phantom(params, dataset.root, scan.name, spacing=SPACING)
    dataset.add_scan(scan.name, SPACING, SPACING * scan.particle_size * claimed)
    return SegmentJob(
        dataset=dataset,
        scan=scan.name,
        output=folder / "results",
        model=model,
        params=SegmentParams(predict=PredictParams(quality=quality)),
        resources=Resources(workers=threads),
    )


def mean_row(rows: Sequence[Row], name: str = "mean") -> Row:
    """Return the mean over scans of every score, as a row of this name."""
    mean: Row = {"scan": name, "shape": None, "particle_size_voxels": None}
    mean["particles"] = round(fmean(float(row["particles"] or 0) for row in rows))
    for key in rows[0]:
        if key not in mean:
            mean[key] = round(fmean(float(row[key] or 0) for row in rows), 3)
    return mean


def table(rows: Sequence[Mapping[str, Fact]]) -> str:
    """Return the rows as a Markdown table."""
    head = list(rows[0])
    lines = [" | ".join(key.replace("_", " ") for key in head), " | ".join("---" for _ in head)]
    lines += [" | ".join("" if row[key] is None else str(row[key]) for key in head) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _sweep(options: argparse.Namespace) -> None:
    """Try stride, weights and mirrorings on held-out phantoms; print the means so far after every scan."""
    from ps3d_core.training import sweep  # which is made of the pipeline's steps, as this module is of the whole

    folder = Location.parse(options.sweep)
    for scan in HELD_OUT[: options.scans]:
        job = phantom_job(scan, folder, model=options.model, threads=options.threads, claimed=options.claimed)
        sweep.sweep_scan(plan_segmentation(job), Path(options.sweep) / "sweep.jsonl")
        print(table(sweep.means(sweep.read_rows(Path(options.sweep) / "sweep.jsonl"))), flush=True)


def _record(model: str, quality: LevelName, rows: Sequence[Row]) -> None:
    """Write what was measured into the bundle: the mean of the level, and if that is the default the rows of scans."""
    bundle = load_bundle(model)
    known = bundle.info.accuracy
    mean = next(row for row in rows if row["scan"] == "mean")
    f1 = {iou: float(mean[f"model_f1_at_{iou:g}"] or 0) for iou in IOU_LEVELS}
    scans = rows if quality == PredictParams().quality else rows_of_scans(known)
    accuracy = with_level([*scans, *rows_of_levels(known)], level_row(quality, LEVELS[quality], f1))
    record_accuracy(bundle, accuracy)
    print(table(rows_of_levels(accuracy)))


def _scores(who: str, evaluation: Evaluation) -> Row:
    scores: Row = {f"{who}_f1_at_{level:g}": round(_f1(evaluation, level), 3) for level in IOU_LEVELS}
    if who == "model":
        scores |= {"splits": evaluation.splits, "merges": evaluation.merges}
    return scores


def _f1(evaluation: Evaluation, level: float) -> float:
    return evaluation.f1_by_threshold[f"{level:.2f}"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ps3d_core.training.validate", description=__doc__)
    parser.add_argument("--model", default=BUNDLED, help="a bundle's folder, or `bundled`")
    parser.add_argument("--scans", type=at_least_one, default=len(HELD_OUT), help="how many phantoms of each family")
    parser.add_argument("--quality", choices=LEVELS, default="standard", help="how thoroughly the network is applied")
    parser.add_argument("--sweep", metavar="FOLDER", help="try many strides, weights and mirrorings; goes on in FOLDER")
    parser.add_argument("--claimed", type=float, default=1.0, help="given particle size / true one")
    parser.add_argument("--threads", type=at_least_one, default=2)
    parser.add_argument("--record", action="store_true", help="write the table into the bundle")
    return parser


if __name__ == "__main__":
    sys.exit(as_command(main))
