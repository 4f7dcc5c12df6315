"""`ps3d_inference`: ParticleSeg3D's inference, so that scripts written for it go on working.

Flags and places are those of ParticleSeg3D 0.2.16, the work is that of `ps3d segment --direct`, on any device. The
model is its folder of nnU-Net 1, imported once and kept under ~/.ps3d; a bundle or a model of nnU-Net 2 will do.
As there, labels are OUTPUT/NAME/NAME.zarr; results of an earlier run with the same parameters are kept.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from ps3d_app.flows.command.arguments import whole_number
from ps3d_app.flows.command.cli import run_alone
from ps3d_app.flows.command.fields import add_field, given

if TYPE_CHECKING:
    from ps3d_core.plan import SegmentJob
    from ps3d_core.store.layout import Dataset

NAME: Final = "ps3d_inference"
PURPOSE = "find the particles of scans with ParticleSeg3D's model"
EXAMPLES = """\
  ps3d_inference -i data -o results -m Task310_particle_seg
  ps3d_inference -i data -o results -m Task310_particle_seg -n Ore1 Ore5 -z 5850.3 7078.3 -f 0 1

The dataset has images/NAME.zarr (from ps3d_tiff2zarr) and metadata.json with the spacing and particle size of every
NAME in mm. Makes results/NAME/NAME.zarr, which ps3d_zarr2tiff turns into slices, a table and a report."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments, those of ParticleSeg3D."""
    from ps3d_core.params import InstancesParams, PredictParams

    parser.add_argument("-i", "--input", required=True, metavar="PATH", help="dataset: images/ and metadata.json")
    parser.add_argument("-o", "--output", required=True, metavar="PATH", help="folder for the results")
    parser.add_argument(
        "-m", "--model", required=True, metavar="PATH", help="model folder, like Task310_particle_seg, or a bundle"
    )
    parser.add_argument("-n", "--name", nargs="+", metavar="NAME", help="scans, without ending (default: all)")
    add_field(
        parser,
        PredictParams,
        "zscore",
        "-z",
        "--zscore",
        help="of the grey values in training (default: those of ParticleSeg3D's model, or what a bundle says)",
    )
    add_field(
        parser,
        PredictParams,
        "target_particle_size",
        "-target_particle_size",
        help="mean diameter in training; 0 leaves scans as they are (default: 60, or what a bundle says)",
    )
    parser.add_argument(
        "-target_spacing", type=float, default=0.1, metavar="MM", help="accepted, without effect on the result"
    )
    add_field(parser, PredictParams, "folds", "-f", "--fold")
    add_field(parser, PredictParams, "batch_size", "-batch_size")
    parser.add_argument(
        "-p", "--processes", type=whole_number(0), metavar="N", help="blocks at once (default: number of CPU cores)"
    )
    add_field(parser, InstancesParams, "min_rel_particle_size", "-min_rel_particle_size")
    add_field(parser, PredictParams, "quality", default="reference", help="as ps3d segment has it (default: reference)")
    add_field(parser, PredictParams, "allow_absurd")


def run(args: argparse.Namespace) -> None:
    """Segment the scans that are not finished yet."""
    from ps3d_app.flows.command.segment import segment_jobs

    segment_jobs(jobs_of(args), direct=True)


def jobs_of(args: argparse.Namespace) -> list[SegmentJob]:
    """Return one job per scan that was asked for; import the model for them.

    Raise `InputError` when no scan is named and the dataset has none.
    """
    from ps3d_core.errors import InputError
    from ps3d_core.params import InstancesParams, PredictParams, Resources, SegmentParams
    from ps3d_core.plan import SegmentJob
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    dataset = Dataset(Location.parse(args.input))
    names = list(dict.fromkeys(args.name or dataset.names()))
    if not names:
        raise InputError(f"{dataset.root}: no NAME.zarr in images/; make them with ps3d_tiff2zarr")
    resources = given(Resources, args, workers=None if args.processes is None else max(1, args.processes))
    instances = given(InstancesParams, args)
    model, output = _model(args), Location.parse(args.output)
    jobs = []
    for name in names:
        target = _target(args.target_particle_size, dataset, name)
        predict = given(PredictParams, args, target_particle_size=target)
        params = SegmentParams(predict=predict, instances=instances)
        jobs.append(SegmentJob(dataset, name, output, model, params, resources))
    return jobs


def main() -> int:
    """Run `ps3d_inference`, as its entry point; return the exit status."""
    return run_alone(NAME, sys.modules[__name__])


def _target(asked: float | None, dataset: Dataset, name: str) -> float | None:
    """Mean diameter on the network grid; with 0, the scan's own."""
    if asked != 0:
        return asked
    info = dataset.scan_info(name)
    return info.particle_size_mm / info.mean_spacing


def _model(args: argparse.Namespace) -> str:
    """The bundle to use: the one given, or the one made of the folder given."""
    from ps3d_app.flows.machine.home import home_folder
    from ps3d_core.errors import InputError
    from ps3d_core.network import BUNDLED
    from ps3d_core.network.bundle import BUNDLE_FILES, INFO_NAME, bundle_is_whole
    from ps3d_core.network.nnunet.importing import import_model
    from ps3d_core.scan.given import existing
    from ps3d_core.store.identity import content_identity
    from ps3d_core.store.ledger import fingerprint
    from ps3d_core.store.location import Location
    from ps3d_core.store.ownership import remove_own

    if args.model == BUNDLED:
        return BUNDLED
    source = existing(args.model)
    if (source / INFO_NAME).exists():
        return str(source)
    kept = Location.parse(home_folder("imported")) / fingerprint(str(source), content_identity(source))
    if not bundle_is_whole(kept):
        remove_own(kept, BUNDLE_FILES)
        try:
            import_model(str(source), kept)
        except InputError as error:
            problem, *choices = error.args
            if not choices:
                raise
            # What there is to choose, this command has no options for.
            raise InputError(str(problem), "make a bundle with ps3d model import and give that") from error
    return str(kept)


if __name__ == "__main__":
    sys.exit(main())
