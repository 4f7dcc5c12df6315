"""`ps3d train`: a model of one's own, trained by nnU-Net 2 on prepared data."""

from __future__ import annotations

import argparse
import shlex
from typing import TYPE_CHECKING

from ps3d_app.flows.command.fields import add_field, add_fields, given

if TYPE_CHECKING:
    from ps3d_core.progress import Progress
    from ps3d_core.training.nnunet.packing import Trained
    from ps3d_core.training.nnunet.plan import TrainJob, TrainPlan

PURPOSE = "train a model on prepared data, with nnU-Net 2"
NEEDS = ("nnunetv2",)
EXAMPLES = """\
  ps3d train training/Dataset500_ParticleSeg3D my-model                 five folds, 1000 epochs each: days on a GPU
  ps3d train training my-model --fold 0 --epochs 250                    one fold, a quarter of the epochs
  ps3d train training my-model --start-from bundled --learning-rate 0.001 --fold 0 --epochs 50
                                                                        from the bundled model on: a few scans will do
  ps3d train training my-model --planner nnUNetPlannerResEncM           nnU-Net's residual networks
  ps3d train training my-model --fold 0 --epochs 20 --iterations 50 --patch 48 --features 8 --device cpu
  ps3d segment data results --model my-model                            the model in use

DATASET is what ps3d prepare-training made. nnU-Net plans, preprocesses and trains in processes and folders of its own,
BUNDLE.training, which may be deleted when no more training is to follow. Then the folds become a bundle, and the cases
that each fold was not trained on are segmented with it: ps3d model info BUNDLE says how well their particles are found.

The plan is printed before anything is computed. The same command continues an interrupted training at the last epoch,
and does nothing when it is finished; other options have other folders and do not touch it. A later command with more
folds keeps those that are trained. Unless --direct is given, the run is recorded by Prefect, with its loss curves."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import Resources, TrainParams

    parser.add_argument("dataset", metavar="DATASET", help="DatasetNNN_NAME that ps3d prepare-training made")
    parser.add_argument("bundle", metavar="BUNDLE", help="folder or URL to make")
    add_fields(parser, TrainParams, "name")
    training = parser.add_argument_group("training")
    add_field(training, TrainParams, "folds", type=str)  # numbers, or the word all
    loss = ("start_from", "epochs", "iterations", "learning_rate", "border_weight")
    add_fields(training, TrainParams, *loss, "trainer", "configuration", "seed")
    network = parser.add_argument_group("network", "What is left out is planned by nnU-Net, for a GPU of 8 GB.")
    add_fields(network, TrainParams, "planner", "patch", "batch_size", "features", "half_precision")
    machine = parser.add_argument_group("machine")
    add_fields(machine, TrainParams, "device", "mirror")
    add_fields(machine, Resources, "workers", "memory_gib")
    machine.add_argument(
        "--work", metavar="DIR", help="nnU-Net's folders (default: BUNDLE.training, or in ~/.ps3d/training)"
    )
    machine.add_argument("--overwrite", action="store_true", help="replace another model at BUNDLE")
    machine.add_argument("--direct", action="store_true", help="without Prefect")


def run(args: argparse.Namespace) -> None:
    """Train a model, unless it is trained already, and print where it is."""
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.training.nnunet.packing import trained
    from ps3d_core.training.nnunet.plan import finished_training, plan_training

    job = job_of(args)
    with shown() as progress:
        plan = plan_training(job)
        if (bundle := finished_training(plan)) is not None:
            progress.note(f"{bundle.location}: already trained with these parameters")
            result = trained(bundle)
        else:
            for line in plan.describe():
                progress.note(line)
            result = (_directly if args.direct else _as_flow)(plan, progress)
    print_result(args, result)


def job_of(args: argparse.Namespace) -> TrainJob:
    """Return the training job that the arguments ask for."""
    from ps3d_app.flows.machine.home import training_folder
    from ps3d_core.params import Resources, TrainParams
    from ps3d_core.store.location import Location
    from ps3d_core.training.nnunet.plan import TrainJob

    bundle = Location.parse(args.bundle)
    return TrainJob(
        data=Location.parse(args.dataset),
        bundle=bundle,
        params=given(TrainParams, args),
        resources=given(Resources, args),
        work=Location.parse(args.work) if args.work else training_folder(bundle),
        overwrite=args.overwrite,
    )


def print_result(args: argparse.Namespace, result: Trained) -> None:
    """Print where the model is, how good it is, and what comes next."""
    print(f"{result.name}: fold(s) {' '.join(map(str, result.folds))}")
    if result.accuracy:
        mean = result.accuracy[-1]
        print(
            f"  particles of cases not trained on: F1 {mean['f1_at_0.5']} at IoU 0.5, {mean['f1_at_0.75']} at 0.75, "
            f"panoptic quality {mean['panoptic_quality']}, splits {mean['splits']}, merges {mean['merges']} per case"
        )
    print(f"  model   {result.bundle}")
    print(f"  about   ps3d model info {args.bundle}")
    print(f"  next    {shlex.join(('ps3d', 'segment', 'DATA', 'RESULTS', '--model', args.bundle))}")


def _directly(plan: TrainPlan, progress: Progress) -> Trained:
    from ps3d_core.training.nnunet.train import train

    return train(plan.job, progress)


def _as_flow(plan: TrainPlan, progress: Progress) -> Trained:
    from ps3d_app.flows.command.recorded import recorded

    job = plan.job
    with recorded(progress) as connected:
        from ps3d_app.flows.train_model import train_model  # imports Prefect, whose settings the connection has made

        state = train_model(
            str(job.data),
            str(job.bundle),
            job.params,
            job.resources,
            str(job.work) if job.work else None,
            job.overwrite,
            return_state=True,
        )
        progress.note(connected.how_to_see(state.state_details.flow_run_id))
        result: Trained = state.result()
        return result
