"""`ps3d measure`: the particle table of any label image."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ps3d_app.flows.command.arguments import stated_spacing_mm
from ps3d_app.flows.command.fields import add_fields, given
from ps3d_app.flows.command.measure_options import add_measure_options, is_named_image, measure_params

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ps3d_core.measuring.measure import ParticleSummary
    from ps3d_core.store.location import Location

PURPOSE = "measure the particles of any label image"
EXAMPLES = """\
  ps3d measure results/ore/ore.zarr table --image data/images/ore.zarr
  ps3d measure labels.zarr table --spacing 0.0125 --columns shape
  ps3d measure labels.zarr table --image ore.zarr --phase quartz=90:140 --phase pyrite=180:255
  ps3d measure labels.zarr table --image ore.zarr --find-phases 2 --columns all

Writes particles.csv and particles.parquet: one row per label with volume, equivalent diameter, centroid, bounding box,
axes, elongation, flatness, surface, sphericity and, with --image, grey values; with --columns shape Feret diameters,
sieve size, hull and more, with all also what touches what. Phases bring shares, exposed surface and inclusions of each
particle, and composition.csv. 0 is background. Size distributions of the table: ps3d sizes."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import Resources

    parser.add_argument(
        "labels", metavar="LABELS", help="label image of whole numbers (z, y, x), of any format that ps3d ingest reads"
    )
    parser.add_argument("output", metavar="OUTPUT", help="folder or URL for the table")
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="IMAGE",
        help="the scan itself, for the grey values of particles; NAME=IMAGE: a further image of the same voxels",
    )
    parser.add_argument(
        "--spacing",
        type=stated_spacing_mm,
        metavar="MM",
        help="edge of a voxel, mm, or z,y,x where they differ (default: what LABELS says)",
    )
    parser.add_argument(
        "--any-labels",
        action="store_true",
        help="measure labels that hardly are particles, too: a mask, classes, a numbered background",
    )
    add_measure_options(parser, report=False)
    add_fields(parser.add_argument_group("machine"), Resources)


def run(args: argparse.Namespace) -> None:
    """Measure all labels of a label image and write the particle table."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.engine.blocks import Runner
    from ps3d_core.engine.step import Context
    from ps3d_core.geometry.spacing import one_if_equal
    from ps3d_core.measuring.beside import beside_table
    from ps3d_core.measuring.measure import Foreign, measure_sample
    from ps3d_core.params import Resources
    from ps3d_core.particles.claim import table_claimed
    from ps3d_core.particles.sample import Sample
    from ps3d_core.scan.given import existing, spacing_of, volumes_in
    from ps3d_core.store.location import Location

    scan, args.images = _scan_and_others(args.image)
    params, resources = measure_params(args), given(Resources, args)
    source, output = existing(args.labels), Location.parse(args.output)
    inputs = [source, *map(existing, [*([scan] if scan else []), *params.image_paths.values()])]
    spacing = args.spacing or spacing_of(args.labels)
    with (
        shown() as progress,
        table_claimed(output, inputs, progress.note, beside_table(params)) as work,
        volumes_in(work, progress) as volumes,
    ):
        image = None if scan is None else volumes.image(scan)
        others = tuple((name, volumes.image(path)) for name, path in params.image_paths.items())
        summary = measure_sample(
            Sample(volumes.labels(args.labels), image, one_if_equal(spacing), others),
            output,
            work=work,
            params=params,
            foreign=Foreign(str(args.labels), args.any_labels),
            context=Context(Runner.of(resources), resources.memory_bytes, progress),
        )
    for line in _lines_of(summary, source.name, output, beside_table(params)):
        print(line)


def _scan_and_others(images: list[str]) -> tuple[str | None, list[str]]:
    """The scan itself, and further images as NAME=PATH."""
    from ps3d_core.errors import InputError

    others = [text for text in images if is_named_image(text)]
    scans = [text for text in images if text not in others]
    if len(scans) > 1:
        raise InputError(f"--image {scans[0]} and {scans[1]}: both are the scan itself; name one of them, NAME=PATH")
    return (scans[0] if scans else None), others


def _lines_of(summary: ParticleSummary, name: str, output: Location, others: Sequence[str]) -> Iterator[str]:
    """Yield what was measured, and where it lies, as lines of text."""
    size = summary.by_volume
    sizes = f", D10 {size.d10:.3g}, D50 {size.d50:.3g}, D90 {size.d90:.3g} mm by volume" if size else ""
    yield f"{name}: {summary.particles} particles{sizes}; {summary.touching_border} touch the edge"
    yield f"  table   {output / 'particles.csv'} (and .parquet)"
    if "phases.json" in others:
        from ps3d_core.composition.files import read_phases
        from ps3d_core.phases import phase_lines

        yield "  phases found; look at them in phases.svg, correct them, and give them back with --phases"
        yield from (f"    {line}" for line in phase_lines(read_phases(output / "phases.json")))
    if others:
        yield f"  besides {', '.join(others)}"
