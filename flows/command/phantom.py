"""`ps3d phantom`: a synthetic scan with its truth."""

from __future__ import annotations

import argparse
from typing import Any

from ps3d_app.flows.command.arguments import voxel_mm
from ps3d_app.flows.command.fields import add_field, given

PURPOSE = "make a synthetic scan with known particles"
EXAMPLES = """\
  ps3d phantom data --name sand --shape 256 256 256 --particle-size-voxels 24 --seed 1
  ps3d phantom data --name ore --shape 256 256 256 --particle-size-voxels 30 --seed 2 --minerals 0.4 0.8 --composition
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
    parser.add_argument(
        "--minerals",
        nargs="+",
        type=float,
        metavar="GREY",
        help="grey values of the minerals, about 0 to 1; the background has 0.2. Every second particle is then "
        "composed of two (default: one mineral of 0.6)",
    )
    parser.add_argument(
        "--composition",
        action="store_true",
        help="also write the truth of what each particle is made of, composition/NAME.csv",
    )


def run(args: argparse.Namespace) -> None:
    """Write one phantom."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.errors import InputError
    from ps3d_core.geometry.boxes import shape_text
    from ps3d_core.phantom.composition import write_composition
    from ps3d_core.phantom.params import PhantomParams
    from ps3d_core.phantom.render import Phantom
    from ps3d_core.phantom.variety import random_params
    from ps3d_core.phantom.write import write_phantom
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    if args.family and args.dtype:
        raise InputError(f"--dtype {args.dtype}: --family {args.family} draws the type from the seed; leave one out")
    if args.family and args.minerals:
        raise InputError(f"--minerals: --family {args.family} draws minerals from the seed; leave one out")
    params = given(PhantomParams, args, **_composed(args.minerals))
    if args.family:
        params = random_params(args.seed, params.shape, params.particle_size_voxels, args.family)
    dataset = Dataset(Location.parse(args.dataset))
    with shown() as progress:
        write_phantom(params, dataset.root, args.name, spacing=args.spacing, progress=progress)
        if args.composition:
            write_composition(Phantom(params), dataset.truth(args.name), dataset.composition(args.name))
    print(f"{args.name}: {shape_text(params.shape)} voxels of {args.spacing:g} mm, {params.dtype}")
    print(f"  image   {dataset.image(args.name)}")
    print(f"  truth   {dataset.truth(args.name)}")
    if args.composition:
        print(f"  made of {dataset.composition(args.name)}")


def _composed(greys: list[float] | None) -> dict[str, Any]:
    """What --minerals says of a phantom's parameters."""
    if greys is None:
        return {}
    return {"minerals": tuple({"grey": grey} for grey in greys), "composite_fraction": 0.5}
