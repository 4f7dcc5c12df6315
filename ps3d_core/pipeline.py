"""Segmenting one scan from start to end, in one process: read this file first.

    scan  ->  border-core labels  ->  particles on the network grid  ->  label image  ->  table  ->  report
              (network)               (cores grow into borders)          (scan grid)

Every stage works in blocks, goes on where a killed run stopped, and does nothing when its result is there and whole.
"""

from __future__ import annotations

from ps3d_core import stages
from ps3d_core.plan import SegmentJob, plan_segmentation
from ps3d_core.progress import SILENT, Progress
from ps3d_core.record import RunRecord
from ps3d_core.result import result_claimed


def segment(job: SegmentJob, progress: Progress = SILENT) -> RunRecord:
    """Segment and measure one scan; return the content of its run.json.

    Raises `InputError` for what cannot be used before anything is written, and `StoreError` when a store fails.
    """
    plan = plan_segmentation(job)
    if (record := stages.finished_run(plan)) is not None:
        stages.remove_leftovers(plan)
        progress.note(f"{job.scan}: already segmented with these parameters", record=record)
        return record
    with result_claimed(plan, progress.note):
        if (record := stages.begin_run(plan, progress.note)) is not None:
            return record
        intensity = stages.find_intensity(plan, progress)
        predicted = stages.predict_border_core(plan, intensity, progress)
        found = stages.find_instances(plan, progress)
        labelled = stages.label_scan(plan, found, progress)
        measured = stages.measure_scan(plan, labelled, progress)
        reported = stages.report_scan(plan, progress)
        return stages.finish_run(
            plan,
            {
                "intensity": intensity,
                "predict": predicted,
                "instances": found,
                "labels": labelled,
                "particles": measured,
                "report": reported,
            },
        )
