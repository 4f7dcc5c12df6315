"""`ps3d ingest`: a scan from files into a dataset."""

from __future__ import annotations

import argparse
import shlex

from ps3d_app.flows.command.fields import add_field, add_fields, add_slab_memory, given, memory_bytes
from ps3d_app.flows.command.sample import add_sample, sample_given

PURPOSE = "bring a scan of any format into a dataset"
EXAMPLES = """\
  ps3d ingest slices/ data --name ore --spacing 0.0125 --particle-size 0.3
  ps3d ingest scan.tif s3://bucket/data --name ore-2.5um --spacing 0.0025 --particle-size 0.08
  ps3d ingest scan.nii.gz data --name tablet --particle-size 0.5       spacing from the file
  ps3d ingest slices/ data --name coarse --spacing 20,10,10um --particle-size 0.3        slices further apart (z,y,x)
  ps3d ingest both/ data --name ore-80 --spacing 12.5um --particle-size 0.3 --series "*_80kV"       one scan of two
  ps3d ingest scan.tif data --name ore --particle-size 0.3 --sample-id A-17 --field operator="J. Doe"
  ps3d ingest labels/ data --name ore --labels                         its particles, numbered, for training

SOURCE is read slice by slice and never held in memory as a whole. Slices are taken in natural order (2 before 10);
a gap in their numbering, slices of two scans, mixed shapes or a truncated file is an error, and then nothing is left in
the dataset. A voxel above 1 mm must be written with its unit (12.5mm), since 12.5um is more likely meant.
The scanner's own grey values and type are kept."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import CopyParams, IngestParams, SourceParams

    parser.add_argument("source", metavar="SOURCE", help="a file or folder of any format; see ps3d look")
    parser.add_argument("dataset", metavar="DATASET", help="folder or URL of the dataset; made when it is not there")
    parser.add_argument("--name", required=True, metavar="NAME", help="name of the scan in the dataset")
    add_fields(parser, IngestParams, "spacing")
    add_field(parser, IngestParams, "particle_size", required=False)  # of labels the scan's
    add_field(parser, IngestParams, "particles", default=None)
    parser.add_argument(
        "--labels",
        action="store_true",
        help="SOURCE holds the particles of the scan NAME in DATASET: 0 is background, each number one particle",
    )
    add_fields(parser, CopyParams, "overwrite")
    add_slab_memory(parser)
    add_fields(parser.add_argument_group("what is read"), SourceParams)
    add_sample(parser.add_argument_group("sample data, which reports show"))


def run(args: argparse.Namespace) -> None:
    """Ingest one scan, or its labels."""
    from ps3d_core.errors import InputError

    if args.labels:
        if args.spacing or args.particle_size or args.particles:
            raise InputError("--labels: spacing and particles are those of the scan; leave out what says them")
        if sample_given(args) is not None:
            raise InputError("--labels: sample data are those of the scan; leave them out")
        _ingest_labels(args)
    elif args.particle_size is None:
        raise InputError(
            "--particle-size is missing; give the mean diameter of the particles in mm, within 30 % or so, or "
            "auto, for ps3d inspect to find it"
        )
    else:
        _ingest_scan(args)


def _ingest_labels(args: argparse.Namespace) -> None:
    from ps3d_app.flows.command.terminal import duration, shown
    from ps3d_core.geometry.boxes import shape_text
    from ps3d_core.params import CopyParams
    from ps3d_core.scan.ingest import ingest_labels
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    with shown() as progress:
        summary = ingest_labels(
            args.source,
            Dataset(Location.parse(args.dataset)),
            args.name,
            given(CopyParams, args),
            memory_bytes=memory_bytes(args),
            progress=progress,
        )
    shape = shape_text(summary.shape)
    print(f"{summary.name}: labels up to {summary.highest}, {shape} voxels, in {duration(summary.seconds)}")
    print(f"  labels  {summary.labels}")
    print(f"  next    {shlex.join(('ps3d', 'prepare-training', args.dataset, 'TRAINING'))}")


def _ingest_scan(args: argparse.Namespace) -> None:
    from ps3d_app.flows.command.terminal import duration, shown
    from ps3d_core.geometry.boxes import shape_text
    from ps3d_core.geometry.spacing import per_axis_text
    from ps3d_core.params import IngestParams
    from ps3d_core.scan.ingest import ingest
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    with shown() as progress:
        summary = ingest(
            args.source,
            Dataset(Location.parse(args.dataset)),
            args.name,
            given(IngestParams, args, sample=sample_given(args)),
            memory_bytes=memory_bytes(args),
            progress=progress,
        )
    shape = shape_text(summary.shape)
    edges = per_axis_text(summary.spacing)
    print(f"{summary.name}: {shape} voxels of {edges} mm, {summary.dtype}, in {duration(summary.seconds)}")
    print(f"  image   {summary.image}")
    print(f"  next    {shlex.join(('ps3d', 'segment', args.dataset, 'RESULTS', '--name', summary.name))}")
