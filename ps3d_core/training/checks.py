"""Annotated scans of a dataset, checked before anything is done with them.

    DATASET/images/NAME.zarr         or NAME.nii.gz, NAME.nii
    DATASET/instance_seg/NAME.zarr   or NAME.nii.gz, NAME.nii
    DATASET/metadata.json            spacing and particle size of every NAME

Annotations come from many hands and programs, and an hour of work should not end at the seventh scan. So all scans
are looked at first, metadata only, and everything that is wrong is said at once. What only the voxels know, a
negative label, say, is found when they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, cast

import numpy as np

from ps3d_core.errors import InputError, MissingDataError, Ps3dError, Wording, worded
from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.scale import Scale, particle_scale
from ps3d_core.geometry.spacing import per_axis_text
from ps3d_core.scan.reader import scan_dtype, scan_shape
from ps3d_core.scan.sources import open_scan
from ps3d_core.scan.spacing import agreed_spacing
from ps3d_core.store.layout import Dataset, ScanInfo, checked_name
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image

ENDINGS: Final = (".zarr", ".nii.gz", ".nii")
_MOST_PROBLEMS: Final = 20


@dataclass(frozen=True, slots=True)
class Volume:
    """Image or labels as they lie in the dataset."""

    place: Location
    shape: Shape
    dtype: str

    @property
    def is_zarr(self) -> bool:
        """Flag that is true when any box of the volume can be read as it is."""
        return self.place.name.endswith(".zarr")


@dataclass(frozen=True, slots=True)
class AnnotatedScan:
    """A scan with instance labels of the same shape."""

    name: str
    image: Volume
    labels: Volume
    info: ScanInfo
    scale: Scale


def annotated_scans(
    dataset: Dataset,
    names: Sequence[str] | None = None,
    *,
    target_particle_size: float,
    allow_absurd: bool = False,
) -> tuple[AnnotatedScan, ...]:
    """Return the scans `names` (default: all in images/), sorted by name. Read metadata and no voxel.

    Raise `InputError`, which lists all that is wrong, with the scan and the remedy: no such scan, no labels, shapes
    that differ, labels that are not integers, metadata that is missing or cannot be true.
    """
    images, labels = _volumes_in(dataset.root / "images"), _volumes_in(dataset.root / "instance_seg")
    wanted = sorted(set(names or images.volumes))
    if not wanted:
        raise dataset.without_scans()
    problems = _Problems()
    metadata = None
    with problems.collected():
        metadata = dataset.read_metadata()
    scans = []
    for name in wanted:
        with problems.collected(name):
            checked_name(name)
            image = _volume(images, name, "image", "ingest the scan", "give another <name>")
        with problems.collected(name):
            truth = _volume(labels, name, "labels", "annotate the scan", "leave it out with <name>")
            _check_labels(truth)
        info = None
        with problems.collected(name):
            info = _info(metadata, name, dataset)
        if name in problems.scans or info is None:
            continue
        with problems.collected(name):
            _check_shapes(image, truth)
            if image.is_zarr:
                agreed_spacing(image.place, info)
            scale = _scale(image.shape, info, target_particle_size, allow_absurd=allow_absurd)
            scans.append(AnnotatedScan(name, image, truth, info, scale))
    problems.raise_any()
    return tuple(scans)


class ProblemsError(InputError):
    """Everything that is wrong with a dataset, said at once."""

    def __init__(self, *problems: Ps3dError) -> None:
        Exception.__init__(self, *problems)

    def worded(self, wording: Wording) -> str:
        """Return all problems, numbered, with options called what `wording` says; a single one by itself."""
        found = [worded(problem, wording) for problem in self.args]
        if len(found) == 1:
            return found[0]
        shown, rest = found[:_MOST_PROBLEMS], len(found) - _MOST_PROBLEMS
        numbered = " ".join(f"({number}) {problem}" for number, problem in enumerate(shown, 1))
        return f"{len(found)} problems, nothing was done: {numbered}" + (f" and {rest} more" if rest > 0 else "")


class _Problems:
    def __init__(self) -> None:
        self._found: list[Ps3dError] = []
        self.scans: set[str] = set()

    @contextmanager
    def collected(self, scan: str | None = None) -> Iterator[None]:
        """Keep what is wrong with a scan, or with the dataset, and go on."""
        try:
            yield
        except (InputError, MissingDataError) as error:
            named = scan is None or str(error).startswith(f"scan {scan!r}")
            self._found.append(error if named else InputError(*map(str, error.args)).about(f"scan {scan!r}"))
            if scan is not None:
                self.scans.add(scan)

    def raise_any(self) -> None:
        if self._found:
            raise ProblemsError(*self._found)


@dataclass(frozen=True, slots=True)
class _Folder:
    place: Location
    volumes: dict[str, list[Location]]


def _volumes_in(folder: Location) -> _Folder:
    found: dict[str, list[Location]] = {}
    for child in folder.children():
        ending = next((end for end in ENDINGS if child.endswith(end) and child != end), None)
        # Some object stores go on listing prefixes whose objects were deleted.
        if ending and not child.startswith(".") and (folder / child).exists():
            found.setdefault(child.removesuffix(ending), []).append(folder / child)
    return _Folder(folder, found)


def _volume(folder: _Folder, name: str, kind: str, *remedies: str) -> Volume:
    places = folder.volumes.get(name, [])
    if not places:
        raise InputError(f"scan {name!r}: no {kind} at {folder.place / name}.zarr (or .nii.gz, .nii)", *remedies)
    if len(places) > 1:
        raise InputError(f"scan {name!r}: {places[0]} and {places[1].name} are both there; remove one of them")
    place = places[0]
    if place.name.endswith(".zarr"):
        array = open_image(place)
        shape, dtype = scan_shape(cast(Shape, array.shape), str(place)), scan_dtype(array.dtype, str(place))
    else:
        with open_scan(place) as reader:
            shape, dtype = reader.shape, reader.dtype
    return Volume(place, shape, str(dtype))


def _check_labels(labels: Volume) -> None:
    if np.dtype(labels.dtype).kind not in "iu":
        raise InputError(
            f"{labels.place}: labels of type {labels.dtype}; must be integers, 0 for background and one number per "
            "particle; save them as uint16 or uint32"
        )


def _check_shapes(image: Volume, labels: Volume) -> None:
    if image.shape != labels.shape:
        raise InputError(
            f"labels of {labels.shape} voxels on an image of {image.shape}: shapes must be equal; export both from the "
            "same volume, or crop one"
        )


def _info(metadata: dict[str, ScanInfo] | None, name: str, dataset: Dataset) -> ScanInfo | None:
    if metadata is None:  # said once already, for all scans
        return None
    if name not in metadata:
        raise InputError(
            f"scan {name!r}: not in {dataset.metadata}",
            'add {"spacing": mm, "particle_size": mm} for it',
            "leave it out with <name>",
        )
    return metadata[name]


def _scale(shape: Shape, info: ScanInfo, target_particle_size: float, *, allow_absurd: bool) -> Scale:
    scale = particle_scale(
        shape,
        spacing=info.spacing,
        particle_size=info.particle_size_mm,
        target_particle_size=target_particle_size,
        allow_absurd=allow_absurd,
    )
    if min(scale.network_shape) < 2:
        raise InputError(
            f"network grid {scale.network_shape}: every side must be at least 2 voxels; correct the particle size "
            f"{info.particle_size_mm} mm or the spacing {per_axis_text(info.spacing)} mm, or annotate a thicker scan"
        )
    return scale
