"""From annotated scans to training data for nnU-Net, in one process: read this file first.

    plan  ->  every scan: image and labels on the network grid  ->  dataset.json  ->  ps3d.json

ps3d.json is written last, and taken away before anything else changes, so a folder that has one is whole. Until then
the work folder keeps what is finished, scan by scan and block by block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ps3d_core.errors import InputError
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.claim import Output, check_outputs, fresh_folders, silent, taken_back
from ps3d_core.store.digest import Digest
from ps3d_core.store.lease import Say, sole_run
from ps3d_core.store.ownership import MARK_FILE, WORK_FILES, mark_own, remove_own, work_is_own
from ps3d_core.store.publishing import publish, withdraw
from ps3d_core.store.whole import digest_of, still_as_written
from ps3d_core.training.nnunet_dataset import TRAINING_FILES, file_is_own
from ps3d_core.training.preparation_plan import PreparationJob, PreparationPlan, plan_preparation
from ps3d_core.training.preparation_record import CaseRecord, PreparationRecord, read_preparation, write_preparation
from ps3d_core.training.prepared_scan import CaseRun, prepare_scan


def prepare_training(job: PreparationJob, progress: Progress = SILENT) -> PreparationRecord:
    """Make training data of annotated scans; return the content of ps3d.json.

    What is finished is not repeated, a changed parameter redoes what depends on it, and cases that are no longer asked
    for are removed. Raise `InputError` for what cannot be used, nearly all of it before anything is written.
    """
    plan = plan_preparation(job)
    if (record := finished_preparation(plan)) is not None:
        progress.note(f"{plan.folder.root}: already prepared with these parameters")
        return record
    with preparation_claimed(plan, progress.note):
        begin_preparation(plan, progress.note)
        cases = [prepare_scan(plan, case, progress) for case in plan.cases]
        return finish_preparation(plan, cases)


def finished_preparation(plan: PreparationPlan) -> PreparationRecord | None:
    """Return the record of an earlier run with the same inputs and parameters if its result is whole, else None.

    Raise `InputError` when a file is there that is not as it was written, whatever the parameters: somebody may have
    corrected it.
    """
    folder = plan.folder
    if not folder.record.exists():
        return None
    earlier = read_preparation(folder.root)
    said = {folder.root / name: digest for case in earlier.cases.values() for name, digest in case.files.items()}
    changed = said.keys() - still_as_written(said)
    if corrected := sorted(file for file in changed if file.exists()):
        raise InputError(
            f"{corrected[0]}: not as it was written; keep it under another name elsewhere, then give the same command "
            "again"
        )
    if changed or earlier.cases.keys() != {case.name for case in plan.cases}:
        return None
    runs = [CaseRun(plan, case) for case in plan.cases]
    found = (earlier.cases[run.case.name] for run in runs)
    cases = [run.record(old.intensity, old.particles, old.files) for run, old in zip(runs, found, strict=True)]
    if earlier != plan.record(cases) or digest_of(folder.dataset_json) != Digest.of_content(_dataset_json(plan)):
        return None
    return earlier if {file for run in runs for file in run.outputs} <= said.keys() else None


@contextmanager
def preparation_claimed(plan: PreparationPlan, say: Say = silent) -> Iterator[None]:
    """Hold the folder of the training data while the body makes them.

    Raise `InputError` when it is somebody else's or lies in a scan, `LeaseTakenError` while another run has it.
    """
    folder = plan.folder
    inputs = [volume.place for case in plan.cases for volume in (case.scan.image, case.scan.labels)]
    check_outputs([Output(folder.root, folder.is_own), Output(folder.work, work_is_own)], inputs=inputs)
    began = not folder.root.exists()
    with (
        fresh_folders(folder.root / MARK_FILE),
        sole_run(folder.lease, str(folder.root), say),
        taken_back(lambda: remove_own(folder.root, TRAINING_FILES), began=began),
    ):
        mark_own(folder.root)
        mark_own(folder.work)
        yield


def begin_preparation(plan: PreparationPlan, say: Say = silent) -> None:
    """Withdraw an older record: from here on, the folder is not a whole result.

    What the record knows of single scans moves to the work folder first, so that unchanged ones are not repeated. A
    dataset.json that somebody has changed is set aside, and `say` is told.
    """
    folder = plan.folder
    if folder.record.exists():
        earlier = read_preparation(folder.root).cases
        for case in plan.cases:
            if case.name in earlier:
                CaseRun(plan, case).remember(earlier[case.name])
    folder.record.remove_tree()
    if (kept := withdraw(folder.dataset_json)) is not None:
        say(f"{folder.dataset_json}: not as it was written; kept as {kept}, and made again")
    for name in plan.dropped:
        for file in filter(file_is_own, folder.files(name)):
            file.remove_tree()
        remove_own(folder.work / name, WORK_FILES)


def finish_preparation(plan: PreparationPlan, cases: Sequence[CaseRecord]) -> PreparationRecord:
    """Write dataset.json and ps3d.json, remove the work folder, and return the record."""
    folder, record = plan.folder, plan.record(cases)
    publish(folder.dataset_json, _dataset_json(plan))
    write_preparation(folder.root, record)
    remove_own(folder.work, WORK_FILES)
    return record


def _dataset_json(plan: PreparationPlan) -> bytes:
    return plan.folder.dataset_text([case.name for case in plan.cases]).encode()
