"""`ps3d_train_preprocess`: ParticleSeg3D's way to training data, so that scripts written for it go on working.

Flags and places are those of ParticleSeg3D 0.2.16, the work is that of `ps3d prepare-training --nnunet-v1 --instances`.
Output that nothing reads is not made: the copies of the labels as Zarr. Boxes of particles are JSON (boxesTr), where
there was a pickle. Labels keep all ids, where 16 bits fused those above 65,535.
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

from ps3d_app.flows.command.arguments import positive, validated
from ps3d_app.flows.command.cli import run_alone

NAME: Final = "ps3d_train_preprocess"
PURPOSE = "make training data for nnU-Net 1 from annotated scans, as ParticleSeg3D does"
EXAMPLES = """\
  ps3d_train_preprocess -i data -o nnUNet_raw_data -z 5850.3 7078.3       makes nnUNet_raw_data/Task500_ParticleSeg3D
  ps3d_train_preprocess -i data -o nnUNet_raw_data -t 501 -n ore-1 ore-2

The dataset has images/NAME.nii.gz (or .zarr), instance_seg/NAME.nii.gz (or .zarr) and metadata.json. The next step is
nnU-Net 1: nnUNet_plan_and_preprocess -t 500. For nnU-Net 2, use ps3d prepare-training."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments, those of ParticleSeg3D."""
    parser.add_argument("-i", "--input", required=True, metavar="PATH", help="folder of the dataset")
    parser.add_argument("-o", "--output", required=True, metavar="PATH", help="folder to make TaskNNN_ParticleSeg3D in")
    parser.add_argument(
        "-z",
        "--zscore",
        type=float,
        nargs=2,
        metavar=("MEAN", "STD"),
        help="of all grey values (default: zscore.json of the dataset)",
    )
    parser.add_argument("-n", "--name", nargs="+", metavar="NAME", help="scans to use (default: all)")
    parser.add_argument("-t", "--task", type=positive, default=500, metavar="N", help="1 to 999 (default: 500)")
    parser.add_argument(
        "-target_particle_size", type=float, default=60, metavar="VOXELS", help="mean diameter (default: 60)"
    )
    parser.add_argument(
        "-target_spacing", type=float, default=0.1, metavar="MM", help="that the headers say (default: 0.1)"
    )
    parser.add_argument(
        "-p", "--processes", type=positive, metavar="N", help="blocks at once (default: number of CPU cores)"
    )
    parser.add_argument("-thickness", type=float, default=3, metavar="VOXELS", help="of the border (default: 3)")
    parser.add_argument("--disable_gpu", action="store_true", help="accepted, without effect: no GPU is needed")


def run(args: argparse.Namespace) -> None:
    """Prepare the training data that is not prepared yet."""
    from ps3d_app.flows.command.prepare_training import prepare_announced, print_results
    from ps3d_core.params import PreparationParams, Resources
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location
    from ps3d_core.training.preparation_plan import PreparationJob

    params = validated(
        PreparationParams,
        args.options,
        target_particle_size=args.target_particle_size,
        border_thickness=args.thickness,
        zscore=args.zscore and tuple(args.zscore),
        dataset_id=args.task,
        nnunet_v1=True,
        instances=True,
        nominal_spacing=args.target_spacing,
        allow_absurd=True,
    )
    resources = validated(Resources, args.options, workers=args.processes)
    names = tuple(args.name) if args.name else None
    job = PreparationJob(Dataset(Location.parse(args.input)), Location.parse(args.output), names, params, resources)
    print_results(*prepare_announced(job))


def main() -> int:
    """Run `ps3d_train_preprocess`, as its entry point; return the exit status."""
    return run_alone(NAME, sys.modules[__name__])


if __name__ == "__main__":
    sys.exit(main())
