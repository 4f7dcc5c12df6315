"""`ps3d_train_preprocess`: ParticleSeg3D's way to training data, so that scripts written for it go on working.

Flags and places are those of ParticleSeg3D 0.2.16, the work is that of `ps3d prepare-training --nnunet-v1 --instances`.
Output that nothing reads is not made: the copies of the labels as Zarr. Boxes of particles are JSON (boxesTr), where
there was a pickle. Labels keep all ids, where 16 bits fused those above 65,535.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from ps3d_app.flows.command.cli import run_alone
from ps3d_app.flows.command.fields import add_field, given

NAME: Final = "ps3d_train_preprocess"
PURPOSE = "make training data for nnU-Net 1 from annotated scans, as ParticleSeg3D does"
EXAMPLES = """\
  ps3d_train_preprocess -i data -o nnUNet_raw_data -z 5850.3 7078.3       makes nnUNet_raw_data/Task500_ParticleSeg3D
  ps3d_train_preprocess -i data -o nnUNet_raw_data -t 501 -n ore-1 ore-2

The dataset has images/NAME.nii.gz (or .zarr), instance_seg/NAME.nii.gz (or .zarr) and metadata.json. The next step is
nnU-Net 1: nnUNet_plan_and_preprocess -t 500. For nnU-Net 2, use ps3d prepare-training."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments, those of ParticleSeg3D."""
    from ps3d_core.params import PreparationParams, Resources

    parser.add_argument("-i", "--input", required=True, metavar="PATH", help="folder of the dataset")
    parser.add_argument("-o", "--output", required=True, metavar="PATH", help="folder to make TaskNNN_ParticleSeg3D in")
    add_field(parser, PreparationParams, "zscore", "-z", "--zscore")
    parser.add_argument("-n", "--name", nargs="+", metavar="NAME", help="scans to use (default: all)")
    add_field(parser, PreparationParams, "dataset_id", "-t", "--task")
    add_field(parser, PreparationParams, "target_particle_size", "-target_particle_size")
    add_field(parser, PreparationParams, "nominal_spacing", "-target_spacing")
    add_field(parser, Resources, "workers", "-p", "--processes")
    add_field(parser, PreparationParams, "border_thickness", "-thickness")
    parser.add_argument("--disable_gpu", action="store_true", help="accepted, without effect: no GPU is needed")


def run(args: argparse.Namespace) -> None:
    """Prepare the training data that is not prepared yet."""
    from ps3d_app.flows.command.prepare_training import prepare_announced, print_results
    from ps3d_core.params import PreparationParams, Resources
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location
    from ps3d_core.training.preparation_plan import PreparationJob

    params = given(PreparationParams, args, nnunet_v1=True, instances=True, allow_absurd=True)
    resources = given(Resources, args)
    names = tuple(args.name) if args.name else None
    job = PreparationJob(Dataset(Location.parse(args.input)), Location.parse(args.output), names, params, resources)
    print_results(*prepare_announced(job))


def main() -> int:
    """Run `ps3d_train_preprocess`, as its entry point; return the exit status."""
    return run_alone(NAME, sys.modules[__name__])


if __name__ == "__main__":
    sys.exit(main())
