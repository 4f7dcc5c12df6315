"""`ps3d model import`: a model that nnU-Net trained, as a bundle that `ps3d segment` takes."""

from __future__ import annotations

import argparse

from ps3d_app.flows.command.fields import add_fields, given

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
    from ps3d_core.params import ImportParams

    parser.add_argument("source", metavar="SOURCE", help="folder, zip or tar, or URL of the model")
    parser.add_argument("bundle", metavar="BUNDLE", help="folder or URL to make")
    training = parser.add_argument_group("how the network was trained")
    add_fields(training, ImportParams, "target_particle_size", "border_thickness")
    add_fields(training.add_mutually_exclusive_group(), ImportParams, "zscore", "per_scan")
    choice = parser.add_argument_group("what to take")
    what = ("name", "folds", "checkpoint", "configuration", "sha256", "half_precision")
    add_fields(choice, ImportParams, *what)
    choice.add_argument("--overwrite", action="store_true", help="replace a bundle at BUNDLE")


def run(args: argparse.Namespace) -> None:
    """Import one model."""
    from ps3d_core.network.nnunet.importing import import_model
    from ps3d_core.params import ImportParams
    from ps3d_core.store.location import Location

    params = given(ImportParams, args)
    imported = import_model(args.source, Location.parse(args.bundle), params, overwrite=args.overwrite)
    bundle = imported.bundle
    print(f"{bundle.info.name}: {len(bundle.folds)} fold(s), at {bundle.location}")
    for remark in imported.remarks:
        print(f"  note     {remark}")
    for assumption in imported.assumed:
        print(f"  assumed  {assumption}")
    if imported.assumed:
        print("           --target-particle-size, --border-thickness, --zscore and --per-scan say it otherwise")
