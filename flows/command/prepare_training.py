"""`ps3d prepare-training`: annotated scans become what nnU-Net trains on."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from ps3d_app.flows.command.fields import add_fields, given

if TYPE_CHECKING:
    from ps3d_core.progress import Progress
    from ps3d_core.training.preparation_plan import PreparationJob, PreparationPlan
    from ps3d_core.training.preparation_record import PreparationRecord

PURPOSE = "make training data for nnU-Net from annotated scans"
EXAMPLES = """\
  ps3d zscore data                                          mean and standard deviation of all scans, into zscore.json
  ps3d prepare-training data training                       every scan, with that z-score
  ps3d prepare-training data training --zscore 21000 4300 --name ore-1 ore-2
  ps3d prepare-training data training --per-scan            grey values are measured on each scan instead
  ps3d train training/Dataset500_ParticleSeg3D model        the next step

A scan NAME of the dataset is DATASET/images/NAME.zarr with labels of the same shape, one number per particle, in
DATASET/instance_seg/NAME.zarr (or .nii.gz), and its spacing and particle size in DATASET/metadata.json. All scans are
checked before any work, and everything that is wrong is said at once.

Scans are resampled until their mean particle has the target size, exactly as ps3d segment will do it. Particles become
two classes: a border as thick as given, and the core inside, so that the cores of touching particles are apart.

Writes OUTPUT/DatasetNNN_NAME: imagesTr, labelsTr and dataset.json, which nnU-Net reads, and ps3d.json, which ps3d train
needs. The same command continues a killed run, makes only what is new when scans were added, and removes the files of
scans that are no longer asked for."""

PLANS_IN_FULL = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import PreparationParams, Resources

    parser.add_argument("dataset", metavar="DATASET", help="folder or URL with images, instance_seg and metadata.json")
    parser.add_argument("output", metavar="OUTPUT", help="folder or URL to make the training data in")
    parser.add_argument("--name", nargs="+", metavar="NAME", help="scans to use (default: all)")
    grey = parser.add_argument_group("grey values").add_mutually_exclusive_group()
    add_fields(grey, PreparationParams, "zscore", "per_scan")
    targets = parser.add_argument_group("targets")
    add_fields(targets, PreparationParams, "target_particle_size", "border_thickness", "instances", "allow_absurd")
    add_fields(parser.add_argument_group("folder"), PreparationParams, "dataset_id", "dataset_name", "nnunet_v1")
    add_fields(parser.add_argument_group("machine"), Resources)


def run(args: argparse.Namespace) -> None:
    """Prepare the training data that is not prepared yet."""
    from ps3d_core.params import PreparationParams, Resources
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location
    from ps3d_core.training.preparation_plan import PreparationJob

    params, resources = given(PreparationParams, args), given(Resources, args)
    names = tuple(args.name) if args.name else None
    job = PreparationJob(Dataset(Location.parse(args.dataset)), Location.parse(args.output), names, params, resources)
    print_results(*prepare_announced(job))


def prepare_announced(job: PreparationJob) -> tuple[PreparationPlan, PreparationRecord]:
    """Show the plan unless all is finished, then prepare; return plan and record of the training data."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.training.preparation import finished_preparation, prepare_training
    from ps3d_core.training.preparation_plan import plan_preparation

    with shown() as progress:
        plan = plan_preparation(job)
        if finished_preparation(plan) is None:
            _announce(plan, progress)
        return plan, prepare_training(job, progress)


def print_results(plan: PreparationPlan, record: PreparationRecord) -> None:
    """Print what training data was made, where it lies and what comes next."""
    folder, scans = plan.folder, len(record.cases)
    particles = sum(case.particles for case in record.cases.values())
    print(
        f"{folder.full_name}: {particles} particles in {scans} scan{'s' if scans > 1 else ''}, "
        f"{plan.voxels / 1e6:.1f} million voxels"
    )
    print(f"  images  {folder.root / 'imagesTr'}")
    print(f"  labels  {folder.root / 'labelsTr'} (0 background, 1 core, 2 border)")
    if record.instances:
        print(f"  more    {folder.root / 'labelsTr_instance'} (instance labels), {folder.root / 'boxesTr'} (boxes)")
    print(f"  about   {folder.record}, {folder.dataset_json}")
    if folder.layout == "nnunet-v2":
        print(f"  next    {shlex.join(('ps3d', 'train', str(folder.root), 'BUNDLE'))}")
    else:
        print(f"  next    nnU-Net 1: put {folder.full_name} into nnUNet_raw_data, then nnUNet_plan_and_preprocess")


def _announce(plan: PreparationPlan, progress: Progress) -> None:
    lines = plan.describe()
    scans, rest = lines[: len(plan.cases)], lines[len(plan.cases) :]
    if len(scans) > PLANS_IN_FULL:
        scans = [*scans[:PLANS_IN_FULL], f"           and {len(scans) - PLANS_IN_FULL} scans more"]
    for line in (*scans, *rest):
        progress.note(line)
