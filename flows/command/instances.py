"""`ps3d instances`: border-core labels of any origin to particles, without the rest of the pipeline."""

from __future__ import annotations

import argparse

from ps3d_app.flows.command.fields import add_fields, given

PURPOSE = "turn border-core labels into particle labels"
EXAMPLES = """\
  ps3d instances border_core.zarr particles.zarr
  ps3d instances border_core.zarr particles.zarr --memory 4 --workers 2

BORDER_CORE holds 0 background, 1 core, 2 border. Every connected core becomes a particle and grows through the border
voxels around it. The result does not depend on memory, workers or interruptions; the same command continues a killed
run."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import InstancesParams, Resources

    parser.add_argument(
        "border_core", metavar="BORDER_CORE", help="image (z, y, x) of 0, 1 and 2, of any format that ps3d ingest reads"
    )
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        help="Zarr array of particle ids to make, uint32; one that ps3d did not make is never replaced",
    )
    add_fields(parser, InstancesParams, "min_rel_particle_size", "smallest_core", "greatest_length", "greatest_neck")
    add_fields(parser, Resources, "workers", "memory_gib")


def run(args: argparse.Namespace) -> None:
    """Make particle labels of border-core labels; print how many particles there are and where they lie."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.border_core.labels import border_core_to_instances
    from ps3d_core.engine.blocks import Runner
    from ps3d_core.engine.step import Context
    from ps3d_core.params import InstancesParams, Resources
    from ps3d_core.scan.given import existing, volumes_in
    from ps3d_core.store.claim import Output, claimed, working_in
    from ps3d_core.store.content import keep_changed, note_content
    from ps3d_core.store.identity import identities, require_unchanged
    from ps3d_core.store.location import Location
    from ps3d_core.store.ownership import work_is_own, zarr_is_own

    params, resources = given(InstancesParams, args), given(Resources, args)
    source, output = existing(args.border_core), Location.parse(args.output)
    work = output.parent / f".{output.name}.work"
    claims = [Output(output, zarr_is_own), Output(work, work_is_own)]
    with (
        shown() as progress,
        claimed("instances", claims, inputs=[source], say=progress.note),
        working_in(work, [output]),
        volumes_in(work, progress, memory_bytes=resources.memory_bytes) as volumes,
    ):
        keep_changed(output, progress.note)
        before = identities([source])
        summary = border_core_to_instances(
            volumes.array(args.border_core),
            output,
            work,
            context=Context(Runner.of(resources), resources.memory_bytes, progress),
            params=params,
        )
        require_unchanged(before)
        note_content(output)
    print(
        f"{summary.particles} particles from {summary.cores} cores ({summary.small_cores} small ones became border), "
        f"{summary.coreless} without a core, {summary.dropped} dropped as too small"
        f"{f', {summary.long} as too long' if summary.long else ''}"
    )
    print(f"  labels  {output}")
