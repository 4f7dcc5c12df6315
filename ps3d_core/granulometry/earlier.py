"""Windows of results of earlier releases, whose tables do not say what they show: as far as run.json does."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from ps3d_core.errors import InputError
from ps3d_core.geometry.spacing import per_axis
from ps3d_core.particles.window import Window
from ps3d_core.record import RunRecord, read_record
from ps3d_core.region.region import Region
from ps3d_core.store.layout import RUN
from ps3d_core.store.location import Location


def recorded_window(table: Location) -> Window | None:
    """Return the window of a table in the folder of a result; None where there is no record of it, or a damaged one."""
    try:
        record = read_record(table.parent / RUN)
        return None if record is None else _window(record)
    except (InputError, ValidationError, KeyError, TypeError, ZeroDivisionError):
        return None


def _window(record: RunRecord) -> Window:
    said: dict[str, Any] = record.input.get("region", {})
    bounds = {name: said[name] for name in ("cylinders", "planes", "edges") if name in said}
    zoom = record.grids["zoom"]
    z, y, x = (1 + 1 / each for each in per_axis(tuple(zoom) if isinstance(zoom, list) else zoom))
    return Window(
        shape=record.input["shape"],
        spacing=record.input["spacing_mm"],
        region=Region.model_validate(bounds),
        margin=(z, y, x),
        masked=said.get("mask") is not None,
    )
