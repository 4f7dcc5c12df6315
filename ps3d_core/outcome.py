"""Whether a scan is segmented, and what makes it so: run.json, written last, with a digest of every part.

Intermediates that are gone or damaged are no matter once the label image is there. Parts of a result that are not what
its record says are made again from whatever is whole.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final, TypeVar

from ps3d_core.crate import write_crate
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.once import Engine, records_of
from ps3d_core.engine.step import Context, Outcomes, Step
from ps3d_core.errors import InputError
from ps3d_core.measuring.beside import withdraw_others
from ps3d_core.network.computation import is_possible
from ps3d_core.plan import SegmentPlan
from ps3d_core.printable import without_keys
from ps3d_core.progress import Progress
from ps3d_core.record import RunRecord, read_record, write_record
from ps3d_core.steps.border_core import BorderCore
from ps3d_core.steps.grey_values import GreyValues
from ps3d_core.steps.instances import Instances
from ps3d_core.steps.label_image import LabelImage
from ps3d_core.steps.report import ReportPage
from ps3d_core.steps.table import ParticleTable
from ps3d_core.steps.verdict import ScanVerdict
from ps3d_core.store.aside import set_aside
from ps3d_core.store.digest import Digest
from ps3d_core.store.identity import require_unchanged
from ps3d_core.store.lease import Say, confirm_lease, is_held, sole_run
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import remove_unfinished
from ps3d_core.store.publishing import is_as_written, is_published, read_receipt, withdraw
from ps3d_core.store.whole import digest_of
from ps3d_core.version import __version__

AnyStep = TypeVar("AnyStep", bound=Step[Any])

_FINGERPRINT: Final = "fingerprint"
"""Of each step, among what it found."""
_LIBRARIES: Final = ("torch", "numpy", "zarr", "numba")


@dataclass(frozen=True)
class SegmentRun:
    """A planned segmentation and the steps it takes, in order."""

    plan: SegmentPlan
    steps: tuple[Step[Any], ...]

    @property
    def fingerprint(self) -> str:
        """Digest of everything that decides the result: on one kind of device, equal ones mean equal label images.

        Sample data decide what the report says of whose particles these are, and no more: they are compared apart.
        A GPU rounds otherwise than a CPU, so that single voxels may differ between them.
        """
        lasting = (step for step in self.steps if not step.intermediate)
        return fingerprint(*(step.drawn if isinstance(step, ReportPage) else step.fingerprint for step in lasting))

    @property
    def made(self) -> dict[str, Location]:
        """Places of what the steps leave for the user, by their names."""
        return {name: part for step in self.steps if not step.intermediate for name, part in step.outputs.items()}

    @property
    def parts(self) -> dict[str, Location]:
        """Places of all parts of the result, besides run.json, by their names: what the steps leave, and what it is."""
        return {**self.made, "crate": self.plan.job.result.crate}

    def step(self, kind: type[AnyStep]) -> AnyStep:
        """Return the step of this kind."""
        return next(step for step in self.steps if isinstance(step, kind))

    @property
    def engine(self) -> Engine:
        """Engine that does the steps of the run, and knows which are done."""
        return Engine(self.plan.work, self.steps, self._withdraw)

    def _withdraw(self, later: Sequence[Step[Any]]) -> None:
        """Remove what those steps have left that have to be made again: it would lie beside what is not theirs."""
        published = read_receipt(self.plan.job.result.root)
        for step in later:
            files = [file for file in step.outputs.values() if file.name in published]
            for file in [] if files and self.engine.is_known(step) else files:
                if is_published(file):
                    withdraw(file)

    def context(self, progress: Progress) -> Context:
        """Return runner, memory and progress that the steps of the run may use."""
        return Context(Runner.of(self.plan.job.resources), self.plan.later_memory_bytes, progress)


def begun(runs: Sequence[SegmentRun]) -> SegmentRun:
    """Return the one of `runs`, which differ in what computes, whose labels there are already, or else the first.

    Whole label images count, whatever made them; others only where this machine can go on with what began them, on the
    kind of device that the first run takes.
    """
    device = runs[0].plan.computation.device
    possible = [is_possible(run.plan.computation, device) for run in runs]
    with suppress(InputError):
        record = read_record(runs[0].plan.job.result.run)
        for run, is_possible_here in zip(runs, possible, strict=True):
            if record is not None and _has_labels(run, record, whole=not is_possible_here):
                return run
    return next(
        (run for run, here in zip(runs, possible, strict=True) if here and run.step(BorderCore).is_begun), runs[0]
    )


def finished_run(run: SegmentRun) -> RunRecord | None:
    """Return the record of an earlier run with the same input and parameters, else None.

    Every part of its result has to be what the record says.
    """
    try:
        record = read_record(run.plan.job.result.run)
    except InputError:
        return None
    if record is None or record.fingerprint != run.fingerprint or record.sample != run.plan.sample:
        return None
    if _changed_parts(run, record):
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

    When another run has finished this one's work while it waited for its turn, nothing is withdrawn: return the record
    of that run, else None. What the older record knows of steps whose results are whole goes to the work folder, so
    that they are not repeated. Parts that are there but not as they were written may be somebody's own work: they are
    set aside, and `say` is told.
    """
    result, params = run.plan.job.result, run.plan.job.params.measure
    parts = {part.name for part in run.parts.values()}
    if not result.run.exists():
        withdraw_others(result.root, parts, params)
        return None
    if (record := finished_run(run)) is not None:
        return record
    with suppress(InputError):
        record = read_record(result.run)
    changed = _changed_parts(run, record)
    for name in changed:
        if record is not None and record.parts and name not in record.parts and is_as_written(run.parts[name]):
            continue  # of a run before that one, which had it as well
        if (kept := set_aside(run.parts[name])) is not None:
            say(f"{run.parts[name]}: not as it was written; kept as {kept}, and made again")
    if record is None:
        say(f"{result.run}: no record of a run, or a damaged one; kept as {set_aside(result.run)}")
    else:
        _remember(run, record, changed)
        if record.fingerprint == run.fingerprint and record.sample != run.plan.sample:
            say(f"{run.plan.job.scan}: sample data have changed; the report is made anew")
        elif record.fingerprint != run.fingerprint:
            before = "finished before, with other parameters or an earlier release"
            say(f"{run.plan.job.scan}: {before}; what is still valid stays")
    withdraw_others(result.root, parts, params)
    withdraw(result.crate)
    withdraw(result.run)
    return None


def finish_run(run: SegmentRun, done: Outcomes) -> RunRecord:
    """Write run.json and, unless the job keeps it, remove the work folder; return the record."""
    confirm_lease()  # whoever took over may be at the ledgers
    plan, result = run.plan, run.plan.job.result
    require_unchanged({plan.image: plan.input_identity} | {place: content for _, place, content in plan.images})
    predicted = done.of(BorderCore)
    seconds = {name: outcome.seconds for name, outcome in done.items()} | {"forward": predicted.forward_seconds}
    written = run.engine.written()
    digests = {name: written[part.url] for name, part in run.made.items()}
    record = make_record(run, _counts(done), seconds, digests, records_of(done))
    confirm_lease()
    record = write_crate(result.root, record)
    write_record(result.run, record)
    for file in (*run.parts.values(), result.run):
        if file != result.labels:  # whose own went when its content was noted
            remove_unfinished(file)
    if not plan.job.keep_work:
        result.remove_work()
    # As it will be read: JSON knows no tuples.
    return RunRecord.model_validate_json(record.model_dump_json())


def make_record(
    run: SegmentRun,
    counts: Mapping[str, Any],
    seconds: Mapping[str, float],
    digests: Mapping[str, Digest],
    found: Mapping[str, dict[str, Any]],
) -> RunRecord:
    """Return the record of a run that has just ended.

    Args:
        run: what was run.
        counts: what was found, in figures.
        seconds: how long each step took, by its name.
        digests: of the parts of the result, by their names.
        found: what each step found, by its name.

    """
    plan = run.plan
    return RunRecord(
        scan=plan.job.scan,
        fingerprint=run.fingerprint,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        software={
            "ps3d": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            **{name: version(name) for name in _LIBRARIES},
        },
        input={
            "image": str(plan.image),
            "identity": plan.input_identity,
            "shape": plan.scale.scan_shape,
            "dtype": plan.dtype,
            "spacing_mm": plan.info.spacing,
            "particle_size_mm": plan.info.particle_size_mm,
            "particles": plan.info.particles,
            **({"region": {"text": plan.region.text, **plan.region.facts}} if plan.region_text else {}),
        },
        place=str(plan.job.result.root),
        sample=dict(plan.sample),
        model={
            "source": without_keys(plan.job.model),
            "name": plan.bundle.info.name,
            "digest": plan.bundle.info.digest,
        },
        parameters=plan.job.params,
        grids=_grids(plan),
        quality=plan.prediction.quality.facts | {"passes": round(plan.prediction.quality.passes, 2)},
        counts=dict(counts),
        seconds={name: round(value, 3) for name, value in seconds.items()},
        results={name: part.name for name, part in run.parts.items()},
        parts=dict(digests),
        stages={
            step.name: {**found[step.name], _FINGERPRINT: step.fingerprint} for step in run.steps if step.name in found
        },
    )


def _grids(plan: SegmentPlan) -> dict[str, Any]:
    return {
        "zoom": plan.scale.zoom,
        "network_shape": plan.scale.network_shape,
        "target_particle_size_voxels": plan.target_particle_size,
        "patch": plan.prediction.patches.patch,
        "stride": plan.prediction.patches.stride,
    }


def _counts(done: Outcomes) -> dict[str, Any]:
    """Return the findings of a run, in figures."""
    grey, predicted, found = done.of(GreyValues), done.of(BorderCore), done.of(Instances)
    labelled, table, verdict = done.of(LabelImage), done.of(ParticleTable), done.of(ScanVerdict)
    return {
        "particles": labelled.particles,
        "particles_on_network_grid": found.particles,
        "cores": found.cores,
        "small_cores": found.small_cores,
        "coreless": found.coreless,
        "dropped_as_too_small": found.dropped,
        "cores_split": found.split,
        "dropped_as_unsure": found.unsure,
        "dropped_as_too_long": found.long,
        "patches_evaluated": predicted.patches_evaluated,
        "patches_constant": predicted.patches_constant,
        "patches_empty": predicted.patches_empty,
        "patches_outside": predicted.patches_outside,
        "patches_unique": predicted.patches_unique,
        "intensity": {"offset": grey.offset, "scale": grey.scale},
        "size": table.model_dump(mode="json", include={"by_volume", "touching_border"}),
        "verdict": {"sentence": verdict.sentence, **verdict.model_dump(mode="json")},
    }


def _changed_parts(run: SegmentRun, record: RunRecord | None) -> list[str]:
    """Parts of the result that are not what the record says, or of which nothing is known."""
    said = record.parts if record else {}
    return [name for name, part in run.parts.items() if name not in said or digest_of(part) != said[name]]


def _remember(run: SegmentRun, record: RunRecord, changed: Sequence[str]) -> None:
    """Enter what a record says of whole parts in the ledgers, as if the run had been killed after these steps."""
    if "labels" in changed:
        return  # the work folder says what is left of that which they were made from
    known = {step.name: record.stages[step.name] for step in run.steps if _is_known(run, step, record)}
    run.engine.remember(known, {part: record.parts[name] for name, part in run.parts.items() if name not in changed})


def _has_labels(run: SegmentRun, record: RunRecord, *, whole: bool) -> bool:
    """Return whether a record tells of the label image of this run; which is as it was written, with `whole`."""
    return _is_known(run, run.step(LabelImage), record) and not (whole and "labels" in _changed_parts(run, record))


def _is_known(run: SegmentRun, step: Step[Any], record: RunRecord) -> bool:
    """Return whether a record tells of this step with all that decides its outcome."""
    said = record.stages.get(step.name, {})
    if said and _FINGERPRINT not in said:
        labels, size = run.step(LabelImage), run.plan.info.particle_size_mm
        return step in (labels, *labels.ancestors) and record.fingerprint == _of_first_release(labels, size)
    return said.get(_FINGERPRINT) == step.fingerprint


def _of_first_release(labels: LabelImage, particle_size: float) -> str:
    """Fingerprint that a record of the first release has: that of its report, of its table, of these labels.

    Its records say nothing of single steps, and its measures, table and report had version 1.
    """
    return fingerprint(1, fingerprint(1, 1, labels.fingerprint), particle_size)
