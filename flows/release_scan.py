"""Flow: a scan that is held, accepted."""

from __future__ import annotations

from prefect import flow
from prefect.logging import get_run_logger

from ps3d_app.flows.options import form
from ps3d_app.flows.places import place
from ps3d_app.flows.service.at_work import at_work
from ps3d_core.inbox.held import release
from ps3d_core.inbox.layout import Inbox


@flow(name="release-scan", flow_run_name="release {scan}", on_running=[at_work])
@form
def release_scan(prefix: str, scan: str) -> str:
    """Accept a scan that is held as it is: its files move from held/ to done/, and its result counts.

    Args:
        prefix: Folder or URL that holds held/ and results/.
        scan: Name of the scan in held/.

    Returns:
        What was done, in one line.

    """
    said = release(Inbox(place(prefix)), scan, get_run_logger().info)
    get_run_logger().info("%s", said)
    return said
