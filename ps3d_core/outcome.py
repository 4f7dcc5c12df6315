"""Whether a scan is segmented, and what makes it so: run.json, written last, with a digest of every part.

Intermediates that are gone or damaged are no matter once the label image is there. Parts of a result that are not what
its record says are made again from whatever is whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ps3d_core.engine.once import Engine, records_of
from ps3d_core.engine.step import Outcomes, Step
from ps3d_core.errors import InputError
from ps3d_core.plan import SegmentPlan
from ps3d_core.record import RunRecord, make_record, read_record, write_record
from ps3d_core.steps.border_core import BorderCore
from ps3d_core.steps.grey_values import GreyValues
from ps3d_core.steps.instances import Instances
from ps3d_core.steps.label_image import LabelImage
from ps3d_core.steps.table import ParticleTable
from ps3d_core.store.aside import set_aside
from ps3d_core.store.identity import require_unchanged
from ps3d_core.store.lease import Say, confirm_lease, is_held, sole_run
from ps3d_core.store.ownership import remove_unfinished
from ps3d_core.store.publishing import withdraw
from ps3d_core.store.whole import digest_of


@dataclass(frozen=True)
class SegmentRun:
    """A planned segmentation and the steps it takes, in order."""

    plan: SegmentPlan
    steps: tuple[Step[Any], ...]

    @property
    def fingerprint(self) -> str:
        """Everything that decides the result as a whole: two runs with equal fingerprints give equal bytes."""
        return self.steps[-1].fingerprint

    @property
    def engine(self) -> Engine:
        """What does the steps, and knows which are done."""
        return Engine(self.plan.work, self.steps)


def finished_run(run: SegmentRun) -> RunRecord | None:
    """The record of an earlier run with the same input and parameters, if every part of its result is what it says."""
    try:
        record = read_record(run.plan.job.result.run)
    except InputError:
        return None
    if record is None or record.fingerprint != run.fingerprint or _changed_parts(run, record):
        return None
    return record


def remove_leftovers(run: SegmentRun) -> None:
    """Remove the work folder that a finished run was killed over, unless it is to be kept or somebody is at it."""
    result = run.plan.job.result
    if run.plan.job.keep_work or not result.work.exists() or is_held(result.lease):
        return
    with sole_run(result.lease, f"scan {run.plan.job.scan}"):
        result.remove_work()


def begin_run(run: SegmentRun, say: Say = lambda text: None) -> RunRecord | None:
    """Withdraw an older record: from here on, what lies in the result folder is not a whole result.

    Unless another run has finished this one's work while it waited for its turn: then the record of that one. What the
    record knows of steps whose results are whole goes to the work folder, so that they are not repeated. Parts that
    are there but not as they were written may be somebody's own work: they are set aside, and `say` is told.
    """
    result = run.plan.job.result
    if not result.run.exists():
        return None
    if (record := finished_run(run)) is not None:
        return record
    with suppress(InputError):
        record = read_record(result.run)
    changed = _changed_parts(run, record)
    for name in changed:
        if (kept := set_aside(result.parts[name])) is not None:
            say(f"{result.parts[name]}: not as it was written; kept as {kept}, and made again")
    if record is None:
        say(f"{result.run}: no record of a run, or a damaged one; kept as {set_aside(result.run)}")
    elif record.fingerprint == run.fingerprint:
        _remember(run, record, changed)
    withdraw(result.run)
    return None


def finish_run(run: SegmentRun, done: Outcomes) -> RunRecord:
    """Write run.json and, unless the job keeps it, remove the work folder."""
    confirm_lease()  # whoever took over may be at the ledgers
    plan, result = run.plan, run.plan.job.result
    require_unchanged({plan.image: plan.input_identity})
    predicted = done.of(BorderCore)
    seconds = {name: outcome.seconds for name, outcome in done.items()} | {"forward": predicted.forward_seconds}
    written = run.engine.written()
    parts = {name: written[part.url] for name, part in result.parts.items()}
    record = make_record(plan, run.fingerprint, _counts(done), seconds, parts, records_of(done))
    confirm_lease()
    write_record(result.run, record)
    for file in (result.table_csv, result.table_parquet, result.report, result.run):  # the labels' own went with them
        remove_unfinished(file)
    if not plan.job.keep_work:
        result.remove_work()
    # As it will be read: JSON knows no tuples.
    return RunRecord.model_validate_json(record.model_dump_json())


def _counts(done: Outcomes) -> dict[str, Any]:
    """What a run found, in figures."""
    grey, predicted, found = done.of(GreyValues), done.of(BorderCore), done.of(Instances)
    labelled, table = done.of(LabelImage), done.of(ParticleTable)
    return {
        "particles": labelled.particles,
        "particles_on_network_grid": found.particles,
        "cores": found.cores,
        "small_cores": found.small_cores,
        "coreless": found.coreless,
        "dropped_as_too_small": found.dropped,
        "patches_evaluated": predicted.patches_evaluated,
        "patches_constant": predicted.patches_constant,
        "patches_unique": predicted.patches_unique,
        "intensity": {"offset": grey.offset, "scale": grey.scale},
        "size": table.model_dump(mode="json", include={"by_volume", "touching_border"}),
    }


def _changed_parts(run: SegmentRun, record: RunRecord | None) -> list[str]:
    """Parts of the result that are not what the record says, or of which nothing is known."""
    said = record.parts if record else {}
    return [
        name for name, part in run.plan.job.result.parts.items() if name not in said or digest_of(part) != said[name]
    ]


def _remember(run: SegmentRun, record: RunRecord, changed: Sequence[str]) -> None:
    """Enter what a record says of whole parts in the ledgers, as if the run had been killed after these steps."""
    if "labels" in changed:
        return  # the work folder says what is left of that which they were made from
    parts = run.plan.job.result.parts
    run.engine.remember(
        record.stages, {part: record.parts[name] for name, part in parts.items() if name not in changed}
    )
