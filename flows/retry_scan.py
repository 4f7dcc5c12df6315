"""Flow: scans that failed, are held or were cancelled, asked for again."""

from __future__ import annotations

from prefect import flow
from prefect.logging import get_run_logger

from ps3d_app.flows.options import form
from ps3d_app.flows.places import place
from ps3d_app.flows.service.at_work import at_work
from ps3d_core.geometry.lengths import length_mm, voxel_edges_mm
from ps3d_core.geometry.spacing import PerAxis, one_if_equal
from ps3d_core.inbox.again import retry
from ps3d_core.inbox.history import names_in
from ps3d_core.inbox.layout import Inbox


@flow(name="retry-scan", flow_run_name="retry {scan}", on_running=[at_work])
@form
def retry_scan(
    prefix: str,
    scan: str | None = None,
    spacing: str | None = None,
    particle_size: str | None = None,
    model: str | None = None,
) -> list[str]:
    """Bring a scan out of failed/ or held/ back into the inbox, its description mended, or ask for a cancelled one.

    The next look at the inbox starts a run for it. The result of one that was held is removed.

    Args:
        prefix: Folder or URL that holds inbox/, failed/ and held/.
        scan: Folder in failed/ or held/, or a scan in the inbox; everything in failed/ when left out.
        spacing: Edge of a voxel to put into its description, mm or with a unit, like 12.5um; three where
            they differ, z, y, x, like 20,10,10um.
        particle_size: Mean diameter of the particles to put into its description, mm or with a unit.
        model: Another model to put into its description, bundled or a folder in models/.

    Returns:
        What was done, one line for each.

    """
    inbox = Inbox(place(prefix))
    names = [scan] if scan is not None else names_in(inbox.failed)
    changes = corrections(spacing, particle_size, model)
    said = [retry(inbox, name, changes, get_run_logger().info) for name in names]
    for line in said or ["nothing has failed"]:
        get_run_logger().info("%s", line)
    return said


def corrections(spacing: str | None, particle_size: str | None, model: str | None) -> dict[str, PerAxis | str]:
    """Return the fields of a description that are to be replaced, lengths in mm.

    Raise `InputError` when a text is no length.
    """
    changes: dict[str, PerAxis | str] = {} if model is None else {"model": model}
    if spacing is not None:
        changes["spacing"] = one_if_equal(voxel_edges_mm(spacing))
    if particle_size is not None:
        changes["particle_size"] = length_mm(particle_size)
    return changes
