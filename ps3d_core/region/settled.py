"""The region of a scan as a segmentation takes it: stated, found by a look, or that of a mask.

What was found, and what became of a mask, is kept with the dataset, in inspections/NAME/, and answered from there as
long as the scan, the mask and the way of looking are the same.
"""

from __future__ import annotations

from math import ceil
from typing import Final, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape, shape_text
from ps3d_core.geometry.spacing import Spacing, StatedSpacing, spacing_by_x
from ps3d_core.progress import SILENT, Progress
from ps3d_core.region.find import found_region
from ps3d_core.region.region import CUBES, Mask, Region
from ps3d_core.region.stated import stated_cylinder
from ps3d_core.roi import AUTO, NONE, is_looked_for
from ps3d_core.scan.as_image import as_image
from ps3d_core.scan.sources import place_of
from ps3d_core.store.identity import content_identity
from ps3d_core.store.layout import Dataset
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_origin, open_image

VERSION: Final = 1
"""Raise when a change of the code finds other regions: scans are then looked at again."""


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True)

    seen_by: str
    region: Region


def settle_region(dataset: Dataset, scan: str, roi: str, progress: Progress = SILENT) -> None:
    """Find the region of a scan that `roi` tells to find, or bring its mask to a form that is computed on.

    What was done before is not done again. Raise `InputError` for a mask that does not fit the scan.
    """
    edges = _edges_of(dataset, scan)
    if not is_looked_for(roi) or _kept(dataset, scan, roi, edges) is not None:
        return
    image = dataset.require_image(scan)
    with progress.stage("region", 1, "scans") as stage:
        region = found_region(image, edges) if roi == AUTO else _region_of_mask(dataset, scan, roi, progress)
        stage.advance()
    kept = _Kept(seen_by=_identity(dataset, scan, roi, edges), region=region)
    usual = {"region": {"edges"}} if region.edges == CUBES else None
    _file(dataset, scan, roi).write_json(kept.model_dump(mode="json", exclude=usual))
    if roi == AUTO:
        clear = region.text if region else "no wall or field of view is clear; the whole scan is segmented"
        progress.note(f"{scan}: region {clear}")


def settled_region(dataset: Dataset, scan: str, roi: str, spacing: StatedSpacing) -> Region:
    """Return the region of a scan; everything where none was asked for, or none is clear.

    Raise `InputError` where it has yet to be found with `settle_region`.
    """
    if roi == NONE:
        return Region()
    if not is_looked_for(roi):
        image = dataset.require_image(scan)
        shape = cast(Shape, open_image(image).shape)
        return stated_cylinder(roi, shape, spacing, image_origin(image)) or Region()
    if (kept := _kept(dataset, scan, roi, spacing_by_x(spacing))) is None:
        raise InputError(
            f"scan {scan!r}: region {roi} has not been looked for, or the scan has changed since; run again"
        )
    return kept.region


def _region_of_mask(dataset: Dataset, scan: str, roi: str, progress: Progress) -> Region:
    source = place_of(roi) or Location.parse(roi)
    if not source.exists():
        raise InputError(f"region {roi}: nothing there; give auto, none, cylinder:Y,X,RADIUS or the place of a mask")
    image = as_image(roi, dataset.inspections(scan) / "masks", progress=progress)
    scan_shape = cast(Shape, open_image(dataset.image(scan)).shape)
    sides = cast(Shape, open_image(image).shape)
    if any(ceil(n / round(n / side)) != side if side <= n else True for n, side in zip(scan_shape, sides, strict=True)):
        raise InputError(
            f"region {roi}: {shape_text(sides)} voxels, the scan has {shape_text(scan_shape)}; "
            "give a mask of the scan's shape, or of a whole fraction of it"
        )
    mask = Mask(place=image.url, identity=content_identity(source), sides=sides, name=source.name)
    return Region(mask=mask, edges=_edges_of(dataset, scan))


def _edges_of(dataset: Dataset, scan: str) -> Spacing:
    info = dataset.read_metadata().get(scan)
    return CUBES if info is None else spacing_by_x(info.spacing)


def _identity(dataset: Dataset, scan: str, roi: str, edges: Spacing) -> str:
    mask = None if roi == AUTO else content_identity(place_of(roi) or Location.parse(roi))
    shape_of_voxels = () if edges == CUBES else (edges,)
    return fingerprint(VERSION, roi, content_identity(dataset.image(scan)), mask, *shape_of_voxels)


def _kept(dataset: Dataset, scan: str, roi: str, edges: Spacing) -> _Kept | None:
    try:
        kept = _Kept.model_validate(_file(dataset, scan, roi).read_json())
    except (InputError, ValidationError, OSError):
        return None
    if kept.seen_by != _identity(dataset, scan, roi, edges):
        return None
    return None if kept.region.mask is not None and not Location.parse(kept.region.mask.place).exists() else kept


def _file(dataset: Dataset, scan: str, roi: str) -> Location:
    return dataset.inspections(scan) / ("region.json" if roi == AUTO else f"region-{fingerprint(roi)[:12]}.json")
