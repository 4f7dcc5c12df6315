"""The stages of segmenting one scan, each a function of the plan; `pipeline.py` says in which order.

A stage returns a small JSON-able summary. Stages whose result lies among the intermediates keep it there, and when
called again for the same input and parameters answer from it and do nothing. Those that write into the result folder,
which another run may have written to since, look at what is there; the ledger spares them finished blocks. Stages
pass references to one another, never arrays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ps3d_core import __version__
from ps3d_core.geometry.boxes import shape_text
from ps3d_core.inference.predict import Prediction, predict
from ps3d_core.inference.sample import NetworkView, scan_intensity
from ps3d_core.instances.labels import border_core_to_instances
from ps3d_core.instances.resample import plan_resampling, resample_labels
from ps3d_core.network.normalisation import Intensity
from ps3d_core.particles.measure import measure_particles
from ps3d_core.particles.report import write_report
from ps3d_core.plan import SegmentPlan
from ps3d_core.progress import SILENT, Progress
from ps3d_core.record import RunRecord, make_record, read_record
from ps3d_core.store.lease import confirm_lease, require_lease
from ps3d_core.store.ledger import Ledger, read_entry
from ps3d_core.store.location import Location
from ps3d_core.store.ome import build_pyramid, create_image, open_image
from ps3d_core.store.ownership import MARK, zarr_attributes
from ps3d_core.store.publishing import publish_text, withdraw

Summary = dict[str, Any]


def finished_run(plan: SegmentPlan) -> RunRecord | None:
    """The record of an earlier run with the same input and parameters, if its result is whole."""
    record = read_record(plan.job.result.run)
    if record is None or record.fingerprint != plan.fingerprint:
        return None
    result = plan.job.result
    parts = (result.labels / "zarr.json", result.table_parquet, result.table_csv, result.report)
    return record if all(part.exists() for part in parts) else None


def begin_run(plan: SegmentPlan) -> RunRecord | None:
    """Withdraw an older record: from here on, what lies in the result folder is not a whole result.

    Unless another run has finished this one's work while it waited for its turn: then the record of that one.
    """
    if (record := finished_run(plan)) is None:
        withdraw(plan.job.result.run)
    return record


def find_intensity(plan: SegmentPlan, progress: Progress = SILENT) -> Summary:
    """Offset and scale of the scan's grey values: given, the bundle's own, or measured on blocks of the scan."""

    def find() -> Summary:
        intensity = _intensity(plan, progress)
        return intensity._asdict()

    return _once(plan, "intensity", plan.predict_fingerprint, find)


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
        runner=resources.blocks_runner().model_copy(update={"workers": plan.prediction.workers}),
    )
    return _once(
        plan,
        "predict",
        plan.predict_fingerprint,
        lambda: predict(prediction, progress=progress),
        output=prediction.output,
    )


def find_instances(plan: SegmentPlan, progress: Progress = SILENT) -> Summary:
    """Particles on the network grid, uint32."""

    def find() -> Summary:
        summary = border_core_to_instances(
            _border_core(plan),
            _network_labels(plan),
            plan.work,
            min_rel_particle_size=plan.job.params.instances.min_rel_particle_size,
            runner=plan.job.resources.blocks_runner(),
            memory_bytes=plan.later_memory_bytes,
            input_fingerprint=plan.predict_fingerprint,
            progress=progress,
        )
        return asdict(summary)

    return _once(plan, "instances", plan.instances_fingerprint, find, output=_network_labels(plan))


def label_scan(plan: SegmentPlan, found: Summary, progress: Progress = SILENT) -> Summary:
    """The label image of the scan: the particles back on the scan grid, with coarser levels for viewing."""

    def label() -> Summary:
        labels, resources = plan.job.result.labels, plan.job.resources
        _ensure_labels(plan, labels)
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
        summary = resample_labels(resampling, runner=resources.blocks_runner(), progress=progress)
        build_pyramid(
            labels,
            label=True,
            runner=resources.blocks_runner(),
            progress=progress,
            ledger=Ledger(plan.work, "pyramid", plan.labels_fingerprint),
        )
        return summary

    return _timed(label)


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
            runner=plan.job.resources.blocks_runner(),
            memory_bytes=plan.later_memory_bytes,
            identity=plan.labels_fingerprint,
            progress=progress,
        )
        return summary.model_dump()

    return _timed(measure)


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
        summary = _timed(report)
        stage.advance()
    return summary


def finish_run(plan: SegmentPlan, summaries: dict[str, Summary]) -> RunRecord:
    """Write run.json and, unless the job keeps it, remove the work folder."""
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
    content = make_record(plan, counts, seconds).model_dump_json(indent=2)
    confirm_lease()
    publish_text(plan.job.result.run, content + "\n")
    if not plan.job.keep_work:
        plan.job.result.remove_work()
    # As it will be read: JSON knows no tuples.
    return RunRecord.model_validate_json(content)


def _once(
    plan: SegmentPlan,
    stage: str,
    stage_fingerprint: str,
    compute: Callable[[], Summary],
    output: Location | None = None,
) -> Summary:
    """The kept summary of a finished stage, or compute and keep it. `seconds` is the time of the call that finished.

    A stage whose `output` array somebody has removed is not finished.
    """
    kept = plan.work / "stages" / f"{stage}-{stage_fingerprint}.json"
    is_there = output is None or (output / "zarr.json").exists()
    if is_there and (known := read_entry(kept)) is not None:
        return known
    summary = _timed(compute)
    kept.write_json(summary)
    return summary


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


def _ensure_labels(plan: SegmentPlan, labels: Location) -> None:
    """Make an empty label image for this fingerprint unless it is there; what another run left there goes."""
    made_for = zarr_attributes(labels).get(MARK)
    if isinstance(made_for, dict) and made_for.get("fingerprint") == plan.labels_fingerprint:
        return
    create_image(
        labels,
        plan.scale.scan_shape,
        "uint32",
        spacing=plan.spacing,
        name=plan.job.scan,
        label=True,
        overwrite=True,
        attributes={MARK: {"fingerprint": plan.labels_fingerprint}},
    )
