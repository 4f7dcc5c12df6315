"""What a training writes, held while it runs: the folder that nnU-Net works in, and the place of the bundle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ps3d_core.network.bundle import bundle_is_own
from ps3d_core.store.claim import Output, check_outputs, claimed, fresh_folders, silent
from ps3d_core.store.lease import Say, sole_run
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import MARK_FILE, is_own, mark_own
from ps3d_core.training.nnunet.plan import TrainPlan

_FOLDERS: Final = {"raw", "preprocessed", "results", "logs", "validation", "packed"}


@contextmanager
def training_claimed(plan: TrainPlan, say: Say = silent) -> Iterator[None]:
    """Hold nnU-Net's work folder and the place of the bundle while the body trains.

    Raise `InputError` for places that are somebody else's or the training data, `LeaseTakenError` while another
    training has one of them.
    """
    work, bundle = Location.parse(plan.workplace.root), Output(plan.job.bundle, bundle_is_own)
    inputs = [plan.folder.root, *([plan.start.location] if plan.start else [])]
    check_outputs([Output(work, _workplace_is_own)], inputs=inputs)
    with (
        claimed("train", [bundle], inputs=inputs, say=say),
        fresh_folders(work / MARK_FILE),
        sole_run(plan.workplace.lease, f"training in {work}", say),
    ):
        mark_own(work)
        yield


def _workplace_is_own(work: Location) -> bool:
    """Whether nnU-Net works there for us; trainings that an earlier release began have no mark."""
    names = set(work.children())
    return is_own(work) or (".lease" in names and names - {".lease"} <= _FOLDERS)
