"""The look that a segmentation takes before it begins: where something is to be found, or where the work is long.

A short run says afterwards how far its result can be trusted; before hours of work a minute is well spent.
"""

from __future__ import annotations

from typing import Final

from ps3d_core.inspection.inspect import InspectJob, inspect
from ps3d_core.inspection.record import Inspection
from ps3d_core.inspection.settled import is_settled, stated_info
from ps3d_core.plan import SegmentJob, SegmentPlan
from ps3d_core.progress import SILENT, Progress
from ps3d_core.region.settled import settle_region

LONG: Final = 4000
"""Patches from which a run looks first: a look evaluates up to 250, without mirror images."""


def look_where_asked(job: SegmentJob, progress: Progress = SILENT) -> Inspection | None:
    """Look at a scan whose particle size or polarity is to be found; return what was seen, None where all is stated.

    Its region is found as well, where that is asked for.
    """
    settle_region(job.dataset, job.scan, job.params.predict.roi, progress)
    if is_settled(stated_info(job.dataset, job.scan, job.params.predict)):
        return None
    return _inspection(job, progress)


def look_where_long(plan: SegmentPlan, progress: Progress = SILENT) -> Inspection | None:
    """Look at a scan whose prediction takes long; return what was seen, None where it does not."""
    return _inspection(plan.job, progress) if plan.prediction.evaluated >= LONG else None


def _inspection(job: SegmentJob, progress: Progress) -> Inspection:
    predict = job.params.predict
    seen = inspect(InspectJob(job.dataset, job.scan, job.model, predict, job.resources.workers), progress)
    return seen.beside(stated_info(job.dataset, job.scan, predict))
