"""The spacing of a scan of a dataset, which is said in two places."""

from __future__ import annotations

from ps3d_core.errors import InputError
from ps3d_core.store.layout import ScanInfo
from ps3d_core.store.location import Location
from ps3d_core.store.ome import Spacing, image_spacing

SAME = 0.01  # relative difference of spacings that are taken to be one


def spacing_text(spacing: Spacing) -> str:
    """Return a spacing as people write it: one number where all axes are alike, else z,y,x."""
    sides = [f"{side:g}" for side in spacing]
    return sides[0] if len(set(sides)) == 1 else ",".join(sides)


def agreed_spacing(image: Location, info: ScanInfo) -> Spacing:
    """Return the spacing (z, y, x) of a scan in mm; raise `InputError` when metadata.json and the image disagree."""
    stored = image_spacing(image)
    if stored is not None and any(abs(s / info.spacing - 1) > SAME for s in stored):
        # One of the two is wrong, and all sizes hang on it.
        raise InputError(
            f"spacing {info.spacing} mm in metadata.json, {stored} mm in {image}: they must agree to 1 %; "
            "correct metadata.json, or ingest the scan again with the right spacing"
        )
    return (info.spacing, info.spacing, info.spacing)
