"""The look that a segmentation takes before it begins: where something is to be found, or where the work is long.

A short run says afterwards how far its result can be trusted; before hours of work a minute is well spent.
"""

from __future__ import annotations

from typing import Final

from ps3d_core.errors import InputError
from ps3d_core.inspection.inspect import InspectJob, inspect
from ps3d_core.inspection.record import Inspection
from ps3d_core.inspection.settled import is_settled, stated_info
from ps3d_core.plan import SegmentJob, SegmentPlan
from ps3d_core.progress import SILENT, Progress
from ps3d_core.region.settled import settle_region
from ps3d_core.roi import is_looked_for

LONG: Final = 4000
"""Patches from which a run looks first: a look evaluates up to 250, without mirror images."""


def has_to_find_region(job: SegmentJob) -> bool:
    """Return whether the region of a scan has to be found, or read from a mask, before it can be planned."""
    return is_looked_for(job.params.predict.roi)


def find_region(job: SegmentJob, progress: Progress = SILENT) -> None:
    """Find the region of a scan where that is asked for, unless it was found before."""
    settle_region(job.dataset, job.scan, job.params.predict.roi, progress)


def must_look(job: SegmentJob) -> bool:
    """Return whether particle size or polarity of a scan are to be found before it can be planned.

    Of a scan about which something else is wrong its plan says what.
    """
    try:
        return not is_settled(stated_info(job.dataset, job.scan, job.params.predict))
    except InputError:
        return False


def should_look(plan: SegmentPlan) -> bool:
    """Return whether prediction takes so long that a look is well spent."""
    return plan.prediction.evaluated >= LONG


def look_before(job: SegmentJob, progress: Progress = SILENT) -> Inspection:
    """Look at a scan, unless its model has looked at it before; return what was seen, beside what is stated."""
    predict = job.params.predict
    seen = inspect(InspectJob(job.dataset, job.scan, job.model, predict, job.resources.workers), progress)
    return seen.beside(stated_info(job.dataset, job.scan, predict))
