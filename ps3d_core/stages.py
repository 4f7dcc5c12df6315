"""The stages of segmenting one scan, each a function of the plan; `pipeline.py` says in which order.

A stage returns a small JSON-able summary and keeps it in a ledger, with the digest of what it wrote. When it is called
again for the same input and parameters it answers from there and does nothing, as long as what it wrote is still as it
was. Intermediates that are gone or damaged are no matter once the label image is there. Stages pass references to one
another, never arrays.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, NamedTuple

from ps3d_core import __version__
from ps3d_core.blockwise import Runner
from ps3d_core.border_core.labels import border_core_to_instances
from ps3d_core.border_core.output import ensure_output
from ps3d_core.border_core.resample import plan_resampling, resample_labels
from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import shape_text
from ps3d_core.inference.predict import Prediction, predict
from ps3d_core.inference.sample import NetworkView, scan_intensity
from ps3d_core.network.intensity import Intensity
from ps3d_core.particles.measure import measure_particles
from ps3d_core.particles.report import write_report
from ps3d_core.plan import SegmentPlan
from ps3d_core.progress import SILENT, Progress
from ps3d_core.record import RunRecord, make_record, read_record, write_record
from ps3d_core.store.arrays import ensure_array
from ps3d_core.store.aside import set_aside
from ps3d_core.store.content import keep_changed, note_content
from ps3d_core.store.digest import GONE, Digest
from ps3d_core.store.identity import require_unchanged
from ps3d_core.store.lease import Say, confirm_lease, is_held, require_lease, sole_run
from ps3d_core.store.ledger import Ledger
from ps3d_core.store.location import Location
from ps3d_core.store.ome import build_pyramid, create_image, is_whole, open_image, write_metadata
from ps3d_core.store.ownership import MARK, remove_unfinished, zarr_attributes
from ps3d_core.store.publishing import withdraw
from ps3d_core.store.whole import digest_of
from ps3d_core.store.written import Written

Summary = dict[str, Any]


def finished_run(plan: SegmentPlan) -> RunRecord | None:
    """The record of an earlier run with the same input and parameters, if every part of its result is what it says."""
    try:
        record = read_record(plan.job.result.run)
    except InputError:
        return None
    if record is None or record.fingerprint != plan.fingerprint or _changed_parts(plan, record):
        return None
    return record


def remove_leftovers(plan: SegmentPlan) -> None:
    """Remove the work folder that a finished run was killed over, unless it is to be kept or somebody is at it."""
    result = plan.job.result
    if plan.job.keep_work or not result.work.exists() or is_held(result.lease):
        return
    with sole_run(result.lease, f"scan {plan.job.scan}"):
        result.remove_work()


def begin_run(plan: SegmentPlan, say: Say = lambda text: None) -> RunRecord | None:
    """Withdraw an older record: from here on, what lies in the result folder is not a whole result.

    Unless another run has finished this one's work while it waited for its turn: then the record of that one. What the
    record knows of stages whose results are whole goes to the work folder, so that they are not repeated. Parts that
    are there but not as they were written may be somebody's own work: they are set aside, and `say` is told.
    """
    result = plan.job.result
    if not result.run.exists():
        return None
    if (record := finished_run(plan)) is not None:
        return record
    with suppress(InputError):
        record = read_record(result.run)
    changed = _changed_parts(plan, record)
    for name in changed:
        if (kept := set_aside(result.parts[name])) is not None:
            say(f"{result.parts[name]}: not as it was written; kept as {kept}, and made again")
    if record is None:
        say(f"{result.run}: no record of a run, or a damaged one; kept as {set_aside(result.run)}")
    elif record.fingerprint == plan.fingerprint:
        _remember(plan, record, changed)
    withdraw(result.run)
    return None


def find_intensity(plan: SegmentPlan, progress: Progress = SILENT) -> Summary:
    """Offset and scale of the scan's grey values: given, the bundle's own, or measured on blocks of the scan."""

    def find() -> Summary:
        intensity = _intensity(plan, progress)
        return intensity._asdict()

    return _once(plan, "intensity", find)


def predict_border_core(plan: SegmentPlan, intensity: Summary, progress: Progress = SILENT) -> Summary:
    """Border-core labels on the network grid, uint8."""
    params, resources = plan.job.params.predict, plan.job.resources
    prediction = Prediction(
        image=plan.image,
        output=_border_core(plan),
        work=plan.work,
        model=plan.job.model,
        model_digest=plan.bundle.info.digest,
        plan=plan.prediction,
        intensity=Intensity(*(intensity[field] for field in Intensity._fields)),
        fingerprint=plan.predict_fingerprint,
        folds=params.folds,
        mirror=params.mirror,
        device=params.device,
        batch_size=params.batch_size,
        threads=resources.workers if resources.runner == "threads" else None,
        runner=Runner.of(resources).model_copy(update={"workers": plan.prediction.workers}),
    )
    return _once(plan, "predict", lambda: predict(prediction, progress=progress))


def find_instances(plan: SegmentPlan, progress: Progress = SILENT) -> Summary:
    """Particles on the network grid, uint32."""

    def find() -> Summary:
        ensure_output(_network_labels(plan), plan.scale.network_shape)
        summary = border_core_to_instances(
            _border_core(plan),
            _network_labels(plan),
            plan.work,
            min_rel_particle_size=plan.job.params.instances.min_rel_particle_size,
            runner=Runner.of(plan.job.resources),
            memory_bytes=plan.later_memory_bytes,
            input_fingerprint=plan.predict_fingerprint,
            progress=progress,
        )
        return asdict(summary)

    return _once(plan, "instances", find)


def label_scan(plan: SegmentPlan, found: Summary, progress: Progress = SILENT) -> Summary:
    """The label image of the scan: the particles back on the scan grid, with coarser levels for viewing."""

    def label() -> Summary:
        labels, resources = plan.job.result.labels, plan.job.resources
        keep_changed(labels, progress.note)
        _ensure_labels(plan)
        resampling = plan_resampling(
            _network_labels(plan),
            labels / "0",
            plan.work,
            plan.scale.scan_shape,
            particles=found["particles"],
            memory_bytes=plan.later_memory_bytes,
            workers=resources.workers,
            source_fingerprint=plan.instances_fingerprint,
        )
        summary = resample_labels(resampling, runner=Runner.of(resources), progress=progress)
        build_pyramid(
            labels,
            label=True,
            runner=Runner.of(resources),
            progress=progress,
            ledger=Ledger(plan.work, "pyramid", plan.labels_fingerprint),
        )
        note_content(labels)
        return summary

    return _once(plan, "labels", label)


def measure_scan(plan: SegmentPlan, labelled: Summary, progress: Progress = SILENT) -> Summary:
    """The particle table, Parquet and CSV."""

    def measure() -> Summary:
        result = plan.job.result
        summary = measure_particles(
            result.labels,
            result.root,
            image=plan.image,
            spacing=plan.info.spacing,
            n_particles=labelled["particles"],
            work=plan.work,
            runner=Runner.of(plan.job.resources),
            memory_bytes=plan.later_memory_bytes,
            identity=plan.particles_fingerprint,
            progress=progress,
        )
        return summary.model_dump()

    return _once(plan, "particles", measure)


def report_scan(plan: SegmentPlan, progress: Progress = SILENT) -> Summary:
    """The report: pictures, size distribution, shape, the run's own figures."""

    def report() -> Summary:
        result = plan.job.result
        write_report(
            result.report,
            title=plan.job.scan,
            labels=result.labels,
            image=plan.image,
            table=result.table_parquet,
            spacing=plan.info.spacing,
            facts={
                "Model": plan.bundle.info.name,
                "Software": f"ps3d {__version__}",
                "Scan grid, voxels (z, y, x)": shape_text(plan.scale.scan_shape),
                "Network grid, voxels (z, y, x)": shape_text(plan.scale.network_shape),
                "Zoom": f"{plan.scale.zoom:.3f}",
                "Stated particle size, mm": plan.info.particle_size,
                "Parameters": plan.job.params.model_dump(mode="json", exclude_none=True),
            },
        )
        return {"report": str(result.report)}

    with progress.stage("report", 1, "pages") as stage:
        summary = _once(plan, "report", report)
        stage.advance()
    return summary


def finish_run(plan: SegmentPlan, summaries: dict[str, Summary]) -> RunRecord:
    """Write run.json and, unless the job keeps it, remove the work folder."""
    confirm_lease()  # whoever took over may be at the ledgers
    require_unchanged({plan.image: plan.input_identity})
    predicted, found, labelled = summaries["predict"], summaries["instances"], summaries["labels"]
    counts = {
        "particles": labelled["particles"],
        "particles_on_network_grid": found["particles"],
        "cores": found["cores"],
        "small_cores": found["small_cores"],
        "coreless": found["coreless"],
        "dropped_as_too_small": found["dropped"],
        **{key: predicted[key] for key in ("patches_evaluated", "patches_constant", "patches_unique")},
        "intensity": {key: summaries["intensity"][key] for key in ("offset", "scale")},
        "size": {key: summaries["particles"][key] for key in ("by_volume", "touching_border")},
    }
    seconds = {name: summary["seconds"] for name, summary in summaries.items()}
    seconds["forward"] = predicted["forward_seconds"]
    record = make_record(plan, counts, seconds, _parts(plan), summaries)
    confirm_lease()
    write_record(plan.job.result.run, record)
    result = plan.job.result
    for file in (result.table_csv, result.table_parquet, result.report, result.run):  # the labels' own went with them
        remove_unfinished(file)
    if not plan.job.keep_work:
        plan.job.result.remove_work()
    # As it will be read: JSON knows no tuples.
    return RunRecord.model_validate_json(record.model_dump_json())


class _Kept(NamedTuple):
    """What tells whether a stage is finished.

    fingerprint: everything that decides its result.
    outputs: what it writes.
    read_by: the only stage that reads them, when they are intermediates.
    """

    fingerprint: str
    outputs: tuple[Location, ...] = ()
    read_by: str | None = None


def _kept(plan: SegmentPlan) -> dict[str, _Kept]:
    result = plan.job.result
    return {
        "intensity": _Kept(plan.intensity_fingerprint, (), "predict"),
        "predict": _Kept(plan.predict_fingerprint, (_border_core(plan),), "instances"),
        "instances": _Kept(plan.instances_fingerprint, (_network_labels(plan),), "labels"),
        "labels": _Kept(plan.labels_fingerprint, (result.labels,)),
        "particles": _Kept(plan.particles_fingerprint, (result.table_parquet, result.table_csv)),
        "report": _Kept(plan.fingerprint, (result.report,)),
    }


def _ledger(plan: SegmentPlan, stage: str) -> Ledger:
    return Ledger(plan.work, f"stage-{stage}", _kept(plan)[stage].fingerprint)


def _once(plan: SegmentPlan, stage: str, compute: Callable[[], Summary]) -> Summary:
    """The kept summary of a finished stage, or compute and keep it. `seconds` is the time of the call that finished."""
    if (known := _finished(plan, stage)) is not None:
        return known
    return _ledger(plan, stage).once(lambda: _timed(compute), _kept(plan)[stage].outputs)


def _finished(plan: SegmentPlan, stage: str) -> Summary | None:
    """The summary of a stage whose outputs are whole, or are not needed because who reads them is finished."""
    ledger, reader = _ledger(plan, stage), _kept(plan)[stage].read_by
    if (entry := ledger.kept()) is not None:
        return entry.record
    if reader is None or (known := ledger.entries().get(0)) is None or _finished(plan, reader) is None:
        return None
    return known.record


def _parts(plan: SegmentPlan) -> dict[str, Digest]:
    """Digests of the parts of the result, as the stages that made them found them."""
    written: Written = {}
    for stage in _kept(plan):
        written |= _ledger(plan, stage).written()
    return {name: written[part.url] for name, part in plan.job.result.parts.items()}


def _changed_parts(plan: SegmentPlan, record: RunRecord | None) -> list[str]:
    """Parts of the result that are not what the record says, or of which nothing is known."""
    said = record.parts if record else {}
    return [name for name, part in plan.job.result.parts.items() if name not in said or digest_of(part) != said[name]]


def _remember(plan: SegmentPlan, record: RunRecord, changed: Sequence[str]) -> None:
    """Enter what a record says of whole parts in the ledgers, as if the run had been killed after these stages."""
    if "labels" in changed:
        return  # the work folder says what is left of that which they were made from
    parts = {part: record.parts[name] for name, part in plan.job.result.parts.items() if name not in changed}
    for stage, (_, outputs, reader) in _kept(plan).items():
        known = {output: parts.get(output, GONE) for output in outputs}
        if stage in record.stages and not _ledger(plan, stage).entries() and (reader or GONE not in known.values()):
            _ledger(plan, stage).keep(record.stages[stage], known)


def _timed(compute: Callable[[], Summary]) -> Summary:
    require_lease()
    started = time.perf_counter()
    summary = compute()
    summary["seconds"] = time.perf_counter() - started
    return summary


def _intensity(plan: SegmentPlan, progress: Progress) -> Intensity:
    given = plan.job.params.predict.zscore
    if given is not None:
        return Intensity(*given)
    with progress.stage("grey values", 1, "scans") as stage:
        view = NetworkView(open_image(plan.image), plan.scale.network_shape)
        intensity = scan_intensity(view, plan.bundle.info.normalisation)
        stage.advance()
    return intensity


def _border_core(plan: SegmentPlan) -> Location:
    return plan.work / f"border-core-{plan.predict_fingerprint[:12]}.zarr"


def _network_labels(plan: SegmentPlan) -> Location:
    return plan.work / f"network-labels-{plan.instances_fingerprint[:12]}.zarr"


def _ensure_labels(plan: SegmentPlan) -> None:
    """Have a label image for this fingerprint, with one level; what another run left there goes."""
    labels, attributes = plan.job.result.labels, {MARK: {"fingerprint": plan.labels_fingerprint}}
    about: dict[str, Any] = {"spacing": plan.spacing, "name": plan.job.scan, "label": True, "attributes": attributes}
    made_for = zarr_attributes(labels).get(MARK)
    if is_whole(labels) and isinstance(made_for, dict) and made_for.get("fingerprint") == plan.labels_fingerprint:
        ensure_array(labels / "0", plan.scale.scan_shape, "uint32")
        # Written anew, because coarser levels are made from what it says.
        write_metadata(labels, [plan.scale.scan_shape], **about)
    else:
        create_image(labels, plan.scale.scan_shape, "uint32", overwrite=True, **about)
