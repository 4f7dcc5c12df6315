"""Training a model from start to end, in order: read this file first.

    prepared data  ->  nnU-Net's plan  ->  folds  ->  bundle  ->  particles of the validation cases  ->  published
                       (preprocessed)      (each from its last checkpoint)

Every step goes on where a killed run stopped, and does nothing when its result is there.
"""

from __future__ import annotations

from ps3d_core.progress import SILENT, Progress
from ps3d_core.training.nnunet.claim import training_claimed
from ps3d_core.training.nnunet.crossvalidation import validate_fold
from ps3d_core.training.nnunet.packing import Trained, pack, publish, trained
from ps3d_core.training.nnunet.plan import TrainJob, finished_training, plan_training
from ps3d_core.training.nnunet.run import prepare, train_fold


def train(job: TrainJob, progress: Progress = SILENT) -> Trained:
    """Train a model on prepared data and pack it with its figures.

    Raise `InputError` for what cannot be used, and `TrainingFailedError` when nnU-Net fails.
    """
    plan = plan_training(job)
    if (bundle := finished_training(plan)) is not None:
        progress.note(f"{bundle.location}: already trained with these parameters")
        return trained(bundle)
    with training_claimed(plan, progress.note):
        planned = prepare(plan, progress)
        progress.note(planned.line)
        curves = [train_fold(plan, planned, fold, progress) for fold in plan.folds]
        packed = pack(plan, planned)
        rows = [row for fold in plan.folds for row in validate_fold(plan, packed, fold, progress)]
        return publish(plan, planned, packed, curves, rows)
