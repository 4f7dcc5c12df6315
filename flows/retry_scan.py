"""Flow: scans that failed or were cancelled, asked for again."""

from __future__ import annotations

from prefect import flow
from prefect.logging import get_run_logger

from ps3d_app.flows.options import form
from ps3d_app.flows.places import place
from ps3d_app.flows.service.at_work import at_work
from ps3d_core.geometry.lengths import edges_mm, length_mm
from ps3d_core.inbox.again import failed_names, retry
from ps3d_core.inbox.layout import Inbox


@flow(name="retry-scan", flow_run_name="retry {scan}", on_running=[at_work])
@form
def retry_scan(
    prefix: str, scan: str | None = None, spacing: str | None = None, particle_size: str | None = None
) -> list[str]:
    """Bring a scan out of failed/ back into the inbox, its description mended, or ask for a cancelled one once more.

    The next look at the inbox starts a run for it.

    Args:
        prefix: Folder or URL that holds inbox/ and failed/.
        scan: Folder in failed/, or a scan in the inbox; everything in failed/ when left out.
        spacing: Edge of a voxel to put into its description, mm or with a unit, like 12.5um.
        particle_size: Mean diameter of the particles to put into its description, mm or with a unit.

    Returns:
        What was done, one line for each.

    """
    inbox = Inbox(place(prefix))
    names = [scan] if scan is not None else failed_names(inbox)
    said = [retry(inbox, name, corrections(spacing, particle_size), get_run_logger().info) for name in names]
    for line in said or ["nothing has failed"]:
        get_run_logger().info("%s", line)
    return said


def corrections(spacing: str | None, particle_size: str | None) -> dict[str, float]:
    """Return the fields of a description that are to be replaced, lengths in mm.

    Raise `InputError` when a text is no length.
    """
    changes = {}
    if spacing is not None:
        changes["spacing"] = edges_mm([spacing])[0]
    if particle_size is not None:
        changes["particle_size"] = length_mm(particle_size)
    return changes
