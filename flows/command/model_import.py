"""`ps3d model import`: a model that nnU-Net trained, as a bundle that `ps3d segment` takes."""

from __future__ import annotations

import argparse

from ps3d_app.flows.command.arguments import not_negative, validated

PURPOSE = "make a bundle of a model that nnU-Net trained"
NEEDS = ("torch",)
EXAMPLES = """\
  ps3d model import Task310_particle_seg my-bundle         ParticleSeg3D's model, as unpacked
  ps3d model import model.zip my-bundle --sha256 0f3c...   an archive, here or behind a URL
  ps3d model import nnUNetTrainer__nnUNetPlans__3d_fullres my-bundle --target-particle-size 24 --zscore 5850 7078
  ps3d segment data results --model my-bundle

SOURCE is a results folder of nnU-Net 1 or 2 or a folder above it, a zip or tar of that, or a URL. What nnU-Net does not
write down has to be said by options; ParticleSeg3D's defaults are assumed otherwise. Nothing in SOURCE is executed."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("source", metavar="SOURCE", help="folder, zip or tar, or URL of the model")
    parser.add_argument("bundle", metavar="BUNDLE", help="folder or URL to make")
    training = parser.add_argument_group("how the network was trained")
    training.add_argument(
        "--target-particle-size",
        type=float,
        metavar="VOXELS",
        help="diameter that the mean particle was resampled to, voxels (default: 60)",
    )
    training.add_argument(
        "--border-thickness", type=float, metavar="VOXELS", help="thickness of the border class, voxels (default: 3)"
    )
    grey = training.add_mutually_exclusive_group()
    grey.add_argument(
        "--zscore",
        type=float,
        nargs=2,
        metavar=("MEAN", "STD"),
        help="mean and standard deviation of grey values (default: what the plan says, for nnU-Net 1 ParticleSeg3D's)",
    )
    grey.add_argument("--per-scan", action="store_true", help="grey values by mean and standard deviation of each scan")
    choice = parser.add_argument_group("what to take")
    choice.add_argument("--name", metavar="NAME", help="name of the model (default: the folder's)")
    choice.add_argument("--fold", type=not_negative, nargs="+", metavar="N", help="folds to take (default: all)")
    choice.add_argument(
        "--checkpoint", choices=("best", "final"), help="weights to take (default: best of nnU-Net 1, final of 2)"
    )
    choice.add_argument(
        "--configuration", metavar="NAME", help="configuration of nnU-Net 2 (default: the one that was trained)"
    )
    choice.add_argument("--sha256", metavar="HEX", help="refuse an archive with another checksum")
    choice.add_argument("--half", action="store_true", help="store weights as float16, half the size")
    choice.add_argument("--overwrite", action="store_true", help="replace a bundle at BUNDLE")


def run(args: argparse.Namespace) -> None:
    """Import one model."""
    from ps3d_core.network.nnunet.importing import import_model
    from ps3d_core.params import ImportParams
    from ps3d_core.store.location import Location

    params = validated(
        ImportParams,
        args.options,
        name=args.name,
        target_particle_size=args.target_particle_size,
        border_thickness=args.border_thickness,
        zscore=args.zscore and tuple(args.zscore),
        per_scan=args.per_scan,
        folds=args.fold and tuple(args.fold),
        checkpoint=args.checkpoint,
        configuration=args.configuration,
        sha256=args.sha256,
        half_precision=args.half,
    )
    imported = import_model(args.source, Location.parse(args.bundle), params, overwrite=args.overwrite)
    bundle = imported.bundle
    print(f"{bundle.info.name}: {len(bundle.folds)} fold(s), at {bundle.location}")
    for remark in imported.remarks:
        print(f"  note     {remark}")
    for assumption in imported.assumed:
        print(f"  assumed  {assumption}")
    if imported.assumed:
        print("           --target-particle-size, --border-thickness, --zscore and --per-scan say it otherwise")
