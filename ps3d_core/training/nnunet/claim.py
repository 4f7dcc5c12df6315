"""What a training writes, held while it runs: the folder that nnU-Net works in, and the place of the bundle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from ps3d_core.network.bundle import BUNDLE_FILES, bundle_is_own
from ps3d_core.store.aside import set_aside
from ps3d_core.store.claim import Output, check_outputs, claimed, fresh_folders, holds_no_file, silent
from ps3d_core.store.lease import Say, sole_run
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import MARK_FILE, is_own, mark_own, strangers
from ps3d_core.training.nnunet.plan import TrainPlan, is_of_series

_FOLDERS: Final = {"raw", "preprocessed", "results", "logs", "validation", "packed"}


@contextmanager
def training_claimed(plan: TrainPlan, say: Say = silent) -> Iterator[None]:
    """Hold nnU-Net's work folder and the place of the bundle while the body trains.

    A bundle of this training that is not as it was written is set aside, and `say` is told.

    Raise `InputError` for places that are somebody else's or the training data, `LeaseTakenError` while another
    training has one of them.
    """
    work, bundle = Location.parse(plan.workplace.root), Output(plan.job.bundle, partial(_bundle_is_ours, plan))
    inputs = [plan.folder.root, *([plan.start.location] if plan.start else [])]
    check_outputs([Output(work, _workplace_is_own)], inputs=inputs)
    with (
        claimed("train", [bundle], inputs=inputs, say=say),
        fresh_folders(work / MARK_FILE),
        sole_run(plan.workplace.lease, f"training in {work}", say),
    ):
        mark_own(work)
        is_whole = holds_no_file(bundle.place) or bundle_is_own(bundle.place)
        if not is_whole and (kept := set_aside(bundle.place)) is not None:
            say(f"{bundle.place}: not as it was written; kept as {kept}, and made again")
        yield


def _bundle_is_ours(plan: TrainPlan, place: Location) -> bool:
    """Whether a bundle that ps3d made is at the place, or what became of one of this training."""
    return bundle_is_own(place) or (not strangers(place, BUNDLE_FILES) and is_of_series(plan))


def _workplace_is_own(work: Location) -> bool:
    """Whether nnU-Net works there for us; trainings that an earlier release began have no mark."""
    names = set(work.children())
    return is_own(work) or (".lease" in names and names - {".lease"} <= _FOLDERS)
