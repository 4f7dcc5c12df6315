"""What is stated of a scan, with what was to be found put in its place: particle size and polarity."""

from __future__ import annotations

from ps3d_core.errors import InputError
from ps3d_core.inspection.record import Inspection, saved_inspection
from ps3d_core.network.bundle import Bundle
from ps3d_core.params import PredictParams
from ps3d_core.store.layout import Dataset, ScanInfo


def stated_info(dataset: Dataset, scan: str, params: PredictParams) -> ScanInfo:
    """Return what is stated of a scan: by the parameters, or else by the dataset."""
    said = {"particle_size": params.particle_size, "particles": params.particles}
    stated = dataset.scan_info(scan)
    return stated.model_copy(update={name: value for name, value in said.items() if value is not None})


def is_settled(info: ScanInfo) -> bool:
    """Return whether nothing is left to be found by a look at the scan."""
    return "auto" not in (info.particle_size, info.particles)


def settled_info(dataset: Dataset, scan: str, params: PredictParams, bundle: Bundle) -> ScanInfo:
    """Return particle size and polarity of a scan: as stated, or as the model has seen them when it looked.

    Raise `InputError` where they are to be found and the model has not looked, or could not tell.
    """
    stated = stated_info(dataset, scan, params)
    if is_settled(stated):
        return stated
    seen = saved_inspection(dataset, scan, bundle)
    if seen is None:
        raise InputError(f"scan {scan!r}: particle size or polarity are to be found; look first, with ps3d inspect")
    found: dict[str, object] = {"particles": seen.particles} if stated.particles == "auto" else {}
    if stated.particle_size == "auto":
        found["particle_size"] = _found_size(seen)
    return stated.model_copy(update=found)


def _found_size(seen: Inspection) -> float:
    if seen.size is None or seen.size_mm is None:
        raise InputError(
            f"scan {seen.scan!r}: particle size auto: {seen.model} sees nothing like particles at any size",
            "give <particle_size>",
            "another <model>",
        )
    if not seen.size.sure:
        raise InputError(
            f"scan {seen.scan!r}: particle size auto: {seen.model} is not sure of it, perhaps {seen.size_mm:.3g} mm",
            "give <particle_size>",
        )
    return float(f"{seen.size_mm:.4g}")
