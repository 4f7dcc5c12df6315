"""`ps3d zscore`: mean and standard deviation of a dataset's grey values."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from ps3d_app.flows.command.fields import add_fields, given

if TYPE_CHECKING:
    from ps3d_core.scan.zscore import ZScoreRecord

PURPOSE = "mean and standard deviation of a dataset's grey values"
EXAMPLES = """\
  ps3d zscore data                            every voxel of every scan, each chunk read once
  ps3d zscore data --samples 1000000          an estimate with its 95 % interval, in a fraction of the time
  ps3d zscore data --name ore-1 ore-2         some scans only

Writes DATASET/zscore.json, and prints the two numbers as --zscore of other commands takes them. Exact results do not
depend on memory, workers or interruptions; the same command continues a killed run, and reads only new scans when a
dataset has grown.
Samples are drawn chunk by chunk; the interval takes into account that voxels of one chunk are alike."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import Resources, ZScoreParams

    parser.add_argument("dataset", metavar="DATASET", help="dataset that ps3d ingest made")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--exact", action="store_true", help="read every voxel (default)")
    add_fields(how, ZScoreParams, "samples")
    parser.add_argument("--name", nargs="+", metavar="NAME", help="scans to read (default: all)")
    add_fields(parser, ZScoreParams, "seed")
    add_fields(parser, Resources, "workers", "memory_gib")


def run(args: argparse.Namespace) -> None:
    """Find mean and standard deviation of a dataset's grey values and print them."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.params import Resources, ZScoreParams
    from ps3d_core.scan.zscore import estimate_zscore
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    dataset = Dataset(Location.parse(args.dataset))
    params, resources = given(ZScoreParams, args), given(Resources, args)
    with shown() as progress:
        record = estimate_zscore(dataset, args.name, params, resources, progress)
    for line in lines_of(record):
        print(line)
    print(f"  z-score {dataset.zscore}")
    print(f"  use     ps3d segment {shlex.quote(args.dataset)} RESULTS --zscore {record.mean:.10g} {record.std:.10g}")


def lines_of(record: ZScoreRecord) -> list[str]:
    """Return mean and standard deviation of grey values as lines of text for a person."""
    scans = f"{len(record.scans)} scan{'s' if len(record.scans) > 1 else ''}"
    if record.confidence is None:
        return [f"mean {record.mean:.10g}, std {record.std:.10g}: all {record.voxels} voxels of {scans}"]
    (low, high), (std_low, std_high) = record.confidence.mean, record.confidence.std
    return [
        f"mean {record.mean:.6g} ({low:.6g} to {high:.6g}), std {record.std:.6g} ({std_low:.6g} to {std_high:.6g}), "
        f"{record.confidence.level:.0%} intervals",
        f"  from    {record.voxels} of {record.dataset_voxels} voxels of {scans}, {record.confidence.draws} draws of "
        f"{record.confidence.voxels_per_draw}, seed {record.seed}",
    ]
