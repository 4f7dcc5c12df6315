"""`ps3d measure`: the particle table of any label image."""

from __future__ import annotations

import argparse

from ps3d_app.flows.command.arguments import stated_spacing_mm
from ps3d_app.flows.command.fields import add_fields, given

PURPOSE = "measure the particles of any label image"
EXAMPLES = """\
  ps3d measure results/ore/ore.zarr table --image data/images/ore.zarr
  ps3d measure labels.zarr table --spacing 0.0125

Writes particles.csv and particles.parquet: one row per label with volume, equivalent diameter, centroid, bounding box,
axes, elongation, flatness, surface, sphericity and, with --image, grey values. 0 is background."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import MeasureParams

    parser.add_argument(
        "labels", metavar="LABELS", help="label image of whole numbers (z, y, x), of any format that ps3d ingest reads"
    )
    parser.add_argument("output", metavar="OUTPUT", help="folder or URL for the table")
    parser.add_argument("--image", metavar="IMAGE", help="the scan itself, for the grey values of particles")
    parser.add_argument(
        "--spacing",
        type=stated_spacing_mm,
        metavar="MM",
        help="edge of a voxel, mm, or z,y,x where they differ (default: what LABELS says)",
    )
    add_fields(parser, MeasureParams)
    parser.add_argument(
        "--any-labels",
        action="store_true",
        help="measure labels that hardly are particles, too: a mask, classes, a numbered background",
    )


def run(args: argparse.Namespace) -> None:
    """Measure all labels of a label image and write the particle table."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.engine.step import Context
    from ps3d_core.geometry.spacing import one_if_equal
    from ps3d_core.measuring.measure import Foreign, beside_table, measure_sample
    from ps3d_core.params import MeasureParams
    from ps3d_core.particles.claim import table_claimed
    from ps3d_core.particles.sample import Sample
    from ps3d_core.scan.given import existing, spacing_of, volumes_in
    from ps3d_core.store.location import Location

    source, output = existing(args.labels), Location.parse(args.output)
    grey = None if args.image is None else existing(args.image)
    params = given(MeasureParams, args)
    spacing = args.spacing or spacing_of(args.labels)
    with (
        shown() as progress,
        table_claimed(output, [source, *([grey] if grey else [])], progress.note, beside_table(params)) as work,
        volumes_in(work, progress) as volumes,
    ):
        image = None if args.image is None else volumes.image(args.image)
        summary = measure_sample(
            Sample(volumes.labels(args.labels), image, one_if_equal(spacing)),
            output,
            work=work,
            params=params,
            foreign=Foreign(str(args.labels), args.any_labels),
            context=Context(progress=progress),
        )
    size = summary.by_volume
    sizes = f", D10 {size.d10:.3g}, D50 {size.d50:.3g}, D90 {size.d90:.3g} mm by volume" if size else ""
    touching = f"{summary.touching_border} touch the edge"
    print(f"{source.name}: {summary.particles} particles{sizes}; {touching}")
    print(f"  table   {output / 'particles.csv'} (and .parquet)")
