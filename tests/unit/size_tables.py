"""Particle tables for tests of size distributions: balls of given diameters somewhere in a window."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ps3d_core.particles.window import with_window
from ps3d_core.store.location import Location


def balls_table(path, diameters, *, low=None, sides=None, cut=None, window=None, **more):
    """A table of particles with the volume of balls of `diameters` (mm), as Parquet."""
    n = len(diameters)
    low = np.full((n, 3), 10) if low is None else low
    sides = np.full((n, 3), 4) if sides is None else sides
    columns = {
        "label": np.arange(1, n + 1, dtype=np.uint32),
        "volume_mm3": np.pi / 6 * np.asarray(diameters, float) ** 3,
        "diameter_mm": np.asarray(diameters, float),
        **{f"bbox_{a}_start": low[:, i].astype(np.int32) for i, a in enumerate("zyx")},
        **{f"bbox_{a}_stop": (low + sides)[:, i].astype(np.int32) for i, a in enumerate("zyx")},
        "touches_border": np.zeros(n, bool) if cut is None else cut,
        **more,
    }
    table = pa.table(columns)
    pq.write_table(table.cast(with_window(table.schema, window)), path, write_page_checksum=True)
    return Location.parse(path)
