"""Flow: work folders of finished and abandoned results, listed and, when asked to, removed."""

from __future__ import annotations

from prefect import flow

from ps3d_app.flows.failures import Failures
from ps3d_app.flows.options import form
from ps3d_app.flows.places import place
from ps3d_app.flows.service.at_work import at_work
from ps3d_app.tasks.prune import expired, find_leftovers, remove_leftover
from ps3d_core.params import RetentionParams


@flow(name="prune-work", flow_run_name="prune {output}", on_running=[at_work])
@form
def prune_work(output: str, params: RetentionParams | None = None, dry_run: bool = True) -> int:
    """Free the space of intermediates (.work folders) that nobody needs any more.

    Results are never touched, nor is the work folder of a run that lives. A run that was given up can no longer
    continue where it stopped once its work folder is gone; it starts over.

    Args:
        output: Folder or URL of results, the one given to segment-scan; one folder per scan lies in it.
        params: Which work folders may go; those older than 30 days when left out.
        dry_run: Only list what would be removed, with its size, as an artifact. Switch it off to remove.

    Returns:
        Bytes freed, or that would be.

    """
    leftovers = find_leftovers(place(output), params or RetentionParams(), dry_run)
    if dry_run:
        return sum(leftover.bytes for leftover in expired(leftovers))
    failures, freed = Failures(), 0
    for leftover in expired(leftovers):
        with failures.collected(leftover.scan):
            freed += remove_leftover(leftover)
    failures.raise_any()
    return freed
