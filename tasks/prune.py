"""Retention of intermediates as Prefect tasks: look, take away, show."""

from __future__ import annotations

from collections.abc import Sequence

from prefect.artifacts import create_table_artifact

from ps3d_app.tasks.keys import artifact_key
from ps3d_app.tasks.markdown import escaped
from ps3d_app.tasks.step import step
from ps3d_core import retention as core
from ps3d_core.params import RetentionParams
from ps3d_core.retention import Leftover
from ps3d_core.store.location import Location


@step("find work folders", of="{output}")
def find_leftovers(output: Location, params: RetentionParams, dry_run: bool) -> list[Leftover]:
    """Return all work folders below `output`, shown with what will become of each."""
    leftovers = list(core.find_leftovers(output, params))
    rows = [
        {
            "scan": escaped(leftover.scan),
            "state": leftover.state,
            "files": leftover.files,
            "MB": round(leftover.bytes / 1e6, 1),
            "days old": round(leftover.age_days, 1),
            "goes": ("would go" if dry_run else "goes") if leftover.expired else "stays",
        }
        for leftover in leftovers
    ]
    freed = sum(leftover.bytes for leftover in leftovers if leftover.expired) / 1e6
    create_table_artifact(
        rows or [{"scan": "no work folder", "state": "", "files": 0, "MB": 0, "days old": 0, "goes": ""}],
        key=artifact_key(str(output), "work-folders"),
        description=f"{freed:.1f} MB {'would be' if dry_run else 'are'} freed in {escaped(str(output))}"
        + ("; nothing was removed (dry run)" if dry_run else ""),
    )
    return leftovers


@step("remove work folder", of="{leftover.scan}")
def remove_leftover(leftover: Leftover) -> int:
    """Remove one work folder; return the bytes freed."""
    return core.remove_leftover(leftover)


def expired(leftovers: Sequence[Leftover]) -> list[Leftover]:
    """Return the work folders that may be removed."""
    return [leftover for leftover in leftovers if leftover.expired]
