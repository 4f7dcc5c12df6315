"""`ps3d phantom`: a synthetic scan with its truth."""

from __future__ import annotations

import argparse

from ps3d_app.flows.command.arguments import voxel_mm
from ps3d_app.flows.command.fields import add_field, given

PURPOSE = "make a synthetic scan with known particles"
EXAMPLES = """\
  ps3d phantom data --name sand --shape 256 256 256 --particle-size-voxels 24 --seed 1
  ps3d phantom data --name wild --shape 512 512 512 --particle-size-voxels 30 --seed 7 --family held-out

Equal arguments give equal bytes. Any size will do: the scan is rendered block by block."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.phantom.params import FAMILIES, PhantomParams

    parser.add_argument("dataset", metavar="DATASET", help="folder or URL of the dataset; made when it is not there")
    parser.add_argument("--name", required=True, metavar="NAME", help="name of the scan in the dataset")
    for name in ("shape", "particle_size_voxels", "seed"):
        add_field(parser, PhantomParams, name, required=True)
    parser.add_argument(
        "--spacing", type=voxel_mm, default=0.01, metavar="MM", help="edge of a voxel, mm (default: 0.01)"
    )
    add_field(parser, PhantomParams, "dtype")
    parser.add_argument(
        "--family",
        choices=FAMILIES,
        help="draw shapes, minerals, noise and artefacts from the seed too, from ranges for training (training; wide: "
        "thick and tilted walls, close packings, plates, needles, streaks and motion, too) or for validation "
        "(held-out; dem: close packings alone)",
    )


def run(args: argparse.Namespace) -> None:
    """Write one phantom."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.errors import InputError
    from ps3d_core.geometry.boxes import shape_text
    from ps3d_core.phantom.params import PhantomParams
    from ps3d_core.phantom.variety import random_params
    from ps3d_core.phantom.write import write_phantom
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    if args.family and args.dtype:
        raise InputError(f"--dtype {args.dtype}: --family {args.family} draws the type from the seed; leave one out")
    params = given(PhantomParams, args)
    if args.family:
        params = random_params(args.seed, params.shape, params.particle_size_voxels, args.family)
    dataset = Dataset(Location.parse(args.dataset))
    with shown() as progress:
        write_phantom(params, dataset.root, args.name, spacing=args.spacing, progress=progress)
    print(f"{args.name}: {shape_text(params.shape)} voxels of {args.spacing:g} mm, {params.dtype}")
    print(f"  image   {dataset.image(args.name)}")
    print(f"  truth   {dataset.truth(args.name)}")
