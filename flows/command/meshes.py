"""`ps3d meshes`: surfaces of particles, for other programs."""

from __future__ import annotations

import argparse

from ps3d_app.flows.command.arguments import stated_spacing_mm, whole_number
from ps3d_app.flows.command.fields import add_fields, given

PURPOSE = "write surfaces of particles as STL, PLY or GLB"
EXAMPLES = """\
  ps3d meshes results/ore --labels 1 5 9                    results/ore/meshes/1.stl, 5.stl and 9.stl
  ps3d meshes results/ore --all --format glb --bundle       results/ore/meshes.glb, coloured, a node per particle
  ps3d meshes labels.zarr surfaces --all --format ply --spacing 12.5um

Meshes are closed, also where the scan cuts a particle, and enclose the volume of its voxels. Coordinates are x, y, z in
mm, in the scanner's frame. A folder of meshes is replaced as a whole, with --overwrite."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import MeshParams

    parser.add_argument(
        "source", metavar="SOURCE", help="folder of a result, or a label image of any format that ps3d ingest reads"
    )
    parser.add_argument(
        "output",
        metavar="OUTPUT",
        nargs="?",
        help="folder, file of a bundle, or URL (default: meshes in the folder of the result, else NAME-meshes here)",
    )
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--labels", nargs="+", type=whole_number(1), metavar="N", help="labels of the particles")
    which.add_argument("--all", action="store_true", help="all particles")
    add_fields(parser, MeshParams)
    parser.add_argument(
        "--spacing",
        type=stated_spacing_mm,
        metavar="MM",
        help="edge of a voxel, mm, or z,y,x where they differ (default: what SOURCE says)",
    )


def run(args: argparse.Namespace) -> None:
    """Write meshes of the particles that were chosen."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.api.meshes import meshes
    from ps3d_core.params import MeshParams

    with shown() as progress:
        made = meshes(
            args.source,
            args.output,
            labels=args.labels,
            params=given(MeshParams, args),
            spacing=args.spacing,
            progress=progress,
        )
    print(f"{made.particles} particles, {made.triangles:,} triangles, at {made.destination}")
