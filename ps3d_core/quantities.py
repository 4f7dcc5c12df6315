"""Types of the quantities that parameters, records and descriptions share: one limit and unit for each concept.

A unit stands beside the limits in a type, for whoever shows a parameter: help of a command, form, reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag

from ps3d_core.geometry.spacing import PerAxis, one_if_equal, per_axis
from ps3d_core.roi import checked_roi
from ps3d_core.source_texts import checked_crop, checked_nan, checked_raw, number_as_text


@dataclass(frozen=True, slots=True)
class Unit:
    """Unit of a number, as an annotation of its type."""

    name: str


MAX_GREY: Final = 1e30
"""Of grey values; single precision holds their squares no more."""
MAX_SPACING_MM: Final = 1000.0

VoxelEdge = Annotated[float, Field(gt=0, lt=MAX_SPACING_MM, allow_inf_nan=False), Unit("mm")]
"""Edge of a voxel."""


MOST_STRETCHED: Final = 1000.0
"""Longest edge of a voxel to its shortest."""


def _one_or_three(edges: Any) -> Any:
    """Edges of a voxel as they were given, unless there are too few or too many."""
    if isinstance(edges, tuple | list) and len(edges) != len(_AXES):
        raise ValueError(f"{len(edges)} lengths; give one for all axes, or three (z, y, x)")
    return edges


def _one_if_equal(edges: PerAxis) -> PerAxis:
    """One edge in the place of three that are equal; three that are no voxel of any scanner are refused."""
    longest, shortest = max(per_axis(edges)), min(per_axis(edges))
    if longest > MOST_STRETCHED * shortest:
        raise ValueError(f"the longest must be at most {MOST_STRETCHED:g} times the shortest; are all in one unit?")
    return one_if_equal(edges)


def _how_many(edges: Any) -> str:
    return "z, y, x" if isinstance(edges, tuple | list) else "one length"


_AXES: Final = "zyx"
_Cube = Annotated[VoxelEdge, Tag("one length")]
_Cuboid = Annotated[tuple[VoxelEdge, VoxelEdge, VoxelEdge], Tag("z, y, x")]
VoxelEdges = Annotated[
    _Cube | _Cuboid,
    Discriminator(_how_many),
    BeforeValidator(_one_or_three),
    AfterValidator(_one_if_equal),
    Unit("mm"),
]
"""Edges of a voxel: one number for cubes, three (z, y, x) for others. Of three that are equal it makes one."""
ParticleSize = Annotated[float, Field(gt=0, lt=1e6, allow_inf_nan=False), Unit("mm")]
"""Mean diameter of the particles of a scan."""
Auto = Literal["auto"]
"""Word for what is found out, in the place of a value."""
StatedSize = ParticleSize | Auto
"""Mean diameter of the particles of a scan, or word that it is to be found."""
Polarity = Literal["bright", "dark"]
"""Of particles, beside what is around them."""
StatedPolarity = Literal["bright", "dark", "auto"]
"""The same, or word that it is to be found."""
TargetParticleSize = Annotated[float, Field(gt=1, le=512), Unit("voxels")]
"""Mean diameter of the particles on the network grid."""
BorderThickness = Annotated[float, Field(gt=0, le=50), Unit("voxels")]
"""Thickness of the border class of a particle, on the network grid."""
SmallestCore = Annotated[int, Field(ge=1, le=100_000), Unit("voxels")]
"""Number of voxels of the network grid from which a core becomes a particle."""
Certainty = Annotated[float, Field(ge=0, le=1)]
"""How probable the classes of a particle's voxels are, on average."""
GreatestLength = Annotated[float, Field(ge=0, le=1000)]
GreatestNeck = Annotated[float, Field(ge=0, lt=1)]
"""Diagonal of a particle's bounding box, in equivalent diameters."""
RegionOfInterest = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(checked_roi)]
"""Part of a scan that is worked on, as a person says it."""
CropText = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(checked_crop)]
"""Part of a source that is read, as a person says it."""
RawLayout = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(checked_raw)]
"""Layout of a file that is nothing but voxels, as a person says it."""
NanText = Annotated[
    str, Field(min_length=1, max_length=40), AfterValidator(checked_nan), BeforeValidator(number_as_text)
]
"""Grey value of what is no number, as a person says it."""
MeanAndStd = tuple[
    Annotated[float, Field(allow_inf_nan=False, ge=-MAX_GREY, le=MAX_GREY)],
    Annotated[float, Field(allow_inf_nan=False, gt=0, le=MAX_GREY)],
]
"""Mean and standard deviation of grey values."""
Fold = Annotated[int, Field(ge=0, le=99)]
"""Number of one network of an ensemble."""
Folds = Annotated[tuple[Fold, ...], Field(min_length=1, max_length=100)]
BatchSize = Annotated[int, Field(ge=1, le=256), Unit("patches")]
Device = Literal["auto", "cuda", "mps", "cpu"]
Engine = Literal["auto", "openvino", "torch"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
ModelName = Annotated[str, Field(min_length=1, max_length=200)]


def plain_type(annotation: Any) -> tuple[Any, list[Any]]:
    """Return the type of a value without what is said of it, and that: limits and unit, in a list.

    Of types of which a value may have one or the other, None left out, it is the first.
    """
    if get_origin(annotation) is Annotated:
        inner, *said = get_args(annotation)
        kind, facts = plain_type(inner)
        return kind, [*facts, *(fact for each in said for fact in getattr(each, "metadata", None) or [each])]
    if get_origin(annotation) in (Union, UnionType):
        return plain_type(next(each for each in get_args(annotation) if each is not NoneType))
    return annotation, []
