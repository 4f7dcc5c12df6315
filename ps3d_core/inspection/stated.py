"""What was seen, stated in the dataset from now on."""

from __future__ import annotations

from ps3d_core.errors import InputError
from ps3d_core.inspection.record import Inspection
from ps3d_core.store.layout import Dataset


def state_found(dataset: Dataset, seen: Inspection) -> None:
    """Write size and polarity that were found into metadata.json.

    Raise `InputError` when the look was not sure of them.
    """
    if seen.size is None or seen.size_mm is None or not seen.size.sure or seen.advice == "does not understand":
        raise InputError(f"scan {seen.scan!r}: the look is not sure of the particle size; state it in metadata.json")
    dataset.add_scan(seen.scan, seen.spacing, float(f"{seen.size_mm:.4g}"), particles=seen.particles)
