"""Phases: materials that are told apart by grey values, as a user names them or as they were found.

A phase is a box of grey values: an interval of one image, or of several images at once. Grey values between two phases
belong to the nearer one, so every voxel of a solid has a phase and shares add up to 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from ps3d_core.errors import InputError
from ps3d_core.invalid import first_problem
from ps3d_core.quantities import MAX_GREY

GREY: Final = "grey"
"""Name of the scan itself among the images."""
MOST_PHASES: Final = 8
MOST_IMAGES: Final = 4
"""Images beside the scan."""
COLUMN_GROUPS: Final = frozenset({
    "axis", "bbox", "centroid", "certainty", "confidence", "contact", "coordination", "corey", "diameter", "doubts",
    "elongation", "feret", "flatness", "hull", "inscribed", "label", "maybe", "phase", "pore", "pores", "roundness",
    "sieve", "solidity", "sphericity", "surface", "touches", "volume", "voxels",
})  # fmt: skip
"""First words of the columns of a table, which no image can be called: those of its grey values begin with its name."""

_NAME: Final = r"[A-Za-z][A-Za-z0-9_]{0,39}"
_RESERVED: Final = frozenset({"all", "none", "void", "background", "total"})


def _named(name: str) -> str:
    """A name that can be a part of the name of a column."""
    if not re.fullmatch(_NAME, name):
        raise ValueError("must be 1 to 40 letters, digits or _, the first a letter; rename it")
    if name.lower() in _RESERVED:
        raise ValueError(f"is one of {', '.join(sorted(_RESERVED))}, which mean something else; rename it")
    return name


def require_told_apart(names: Iterable[tuple[str, str]]) -> None:
    """Raise `ValueError` for two names that are one but for upper and lower case.

    Names come with what bears them, in words. Columns are named after them, and programs that read tables, and people,
    do not all tell `Quartz` from `quartz`.
    """
    known: dict[str, tuple[str, str]] = {}
    for bearer, name in names:
        other, alike = known.setdefault(name.lower(), (bearer, name))
        if (other, alike) != (bearer, name):
            case = "" if alike == name else ", which differs by upper and lower case alone"
            raise ValueError(f"{bearer} {name} is named like {other} {alike}{case}; rename one of them")


Name = Annotated[str, Field(max_length=40), AfterValidator(_named)]
Grey = Annotated[float, Field(ge=-MAX_GREY, le=MAX_GREY, allow_inf_nan=False)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Frozen):
    """Grey values from `low` to `high`, both of them in it."""

    low: Grey = Field(description="first grey value")
    high: Grey = Field(description="last grey value, above the first")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"{self.low:g}:{self.high:g} is no interval; the first value must be below the second")
        return self


class Phase(_Frozen):
    """A material by its grey values."""

    name: Name = Field(description="becomes a part of the names of columns")
    intervals: dict[Name, Interval] = Field(
        min_length=1,
        max_length=1 + MOST_IMAGES,
        description="grey values by image, of which the scan itself is grey; of an image that is not named any will do",
    )
    means: dict[Name, Grey] = Field(
        default_factory=dict,
        max_length=1 + MOST_IMAGES,
        description="mean grey value of the pure phase by image, where it is known; middles of intervals stand for "
        "others",
    )

    def mean(self, image: str) -> float:
        """Return the grey value that the pure phase has in an image; NaN where nothing is known of it."""
        if image in self.means:
            return self.means[image]
        interval = self.intervals.get(image)
        return float("nan") if interval is None else (interval.low + interval.high) / 2

    def overlaps(self, other: Phase) -> bool:
        """Return whether some grey values belong to both."""
        shared = self.intervals.keys() & other.intervals.keys()
        pairs = [(self.intervals[image], other.intervals[image]) for image in shared]
        return all(a.low < b.high and b.low < a.high for a, b in pairs)


class Phases(_Frozen):
    """All phases of a sample, and what is known of the images they are seen in."""

    phases: tuple[Phase, ...] = Field(
        min_length=1, max_length=MOST_PHASES, description="all phases, in the order of their columns"
    )
    background: dict[Name, Grey] = Field(
        default_factory=dict,
        max_length=1 + MOST_IMAGES,
        description="grey value of what particles lie in by image; measured beside each where it is not known",
    )
    noise: dict[Name, Annotated[float, Field(ge=0, le=MAX_GREY)]] = Field(
        default_factory=dict,
        max_length=1 + MOST_IMAGES,
        description="standard deviation of a pure phase by image; estimated in each particle where it is not known",
    )
    blur_voxels: Annotated[float, Field(ge=0.2, le=3.0)] | None = Field(
        default=None,
        description="standard deviation of the scanner's point spread function, voxels; estimated at the surface of "
        "each particle where it is not known",
    )

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        require_told_apart((f"phase {number},", phase.name) for number, phase in enumerate(self.phases, 1))
        require_told_apart(("image", image) for image in self.images)
        for one, other in combinations(self.phases, 2):
            if one.overlaps(other):
                raise ValueError(f"phases {one.name} and {other.name} overlap; give intervals that do not")
        if len(self.images) > 1 + MOST_IMAGES:
            raise ValueError(f"phases of {len(self.images)} images; at most {1 + MOST_IMAGES} are used at once")
        return self

    def of_image(self, name: str) -> Phases:
        """Return these phases, which are of the scan itself, as those of the image of this name."""

        def renamed(known: Mapping[str, Any]) -> dict[str, Any]:
            return {name if image == GREY else image: value for image, value in known.items()}

        phases = (
            phase.model_copy(update={"intervals": renamed(phase.intervals), "means": renamed(phase.means)})
            for phase in self.phases
        )
        known = {"background": renamed(self.background), "noise": renamed(self.noise)}
        return self.model_copy(update={"phases": tuple(phases), **known})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the phases, in order."""
        return tuple(phase.name for phase in self.phases)

    @property
    def images(self) -> tuple[str, ...]:
        """Names of the images that the phases are seen in, the scan first, then by name."""
        named = {image for phase in self.phases for image in phase.intervals}
        return tuple(sorted(named, key=lambda image: (image != GREY, image)))


def phase_of(text: str) -> Phase:
    """Return the phase that a text like `quartz=90:140` or `pyrite=grey:200:255,high:90:140` says.

    Raise `InputError`, which names the text, when it says none.
    """
    name, mark, boxes = text.partition("=")
    if not mark or len(text) > 300:
        raise InputError(f"phase {text[:60]!r}: must be NAME=LOW:HIGH or NAME=IMAGE:LOW:HIGH,...; correct it")
    intervals: dict[str, Any] = {}
    for part in boxes.split(","):
        image, low, high = ["", "", *([GREY] if part.count(":") == 1 else []), *part.split(":")][-3:]
        if part.count(":") not in (1, 2) or image in intervals or not (_is_number(low) and _is_number(high)):
            raise InputError(f"phase {text[:60]!r}: {part[:40]!r} must be LOW:HIGH or IMAGE:LOW:HIGH; correct it")
        intervals[image] = {"low": float(low), "high": float(high)}
    try:
        return Phase(name=name, intervals=intervals)
    except ValidationError as error:
        raise InputError(f"phase {text[:60]!r}: {first_problem(error)}") from error


def phases_of(texts: tuple[str, ...], blur_voxels: float | None = None) -> Phases:
    """Return the phases that texts say, see `phase_of`. Raise `InputError` for texts that do not fit together."""
    known = {} if blur_voxels is None else {"blur_voxels": blur_voxels}
    try:
        return Phases(phases=tuple(map(phase_of, texts)), **known)
    except ValidationError as error:
        raise InputError(f"phases: {first_problem(error)}") from error


def phases_in(columns: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the phases whose shares are among these columns of a particle table, in their order."""
    shares = (re.fullmatch(r"phase_(.+)_share", column, re.DOTALL) for column in columns)
    return tuple(share[1] for share in shares if share is not None)


def phase_lines(phases: Phases, shares: Mapping[str, float] | None = None) -> list[str]:
    """Return one line for each phase, to be shown to whoever has to confirm them."""
    lines = []
    for phase in phases.phases:
        boxes = ",".join(
            f"{'' if image == GREY else f'{image}:'}{box.low:.6g}:{box.high:.6g}"
            for image, box in phase.intervals.items()
        )
        share = "" if shares is None else f"  {100 * shares[phase.name]:.1f} % of the interiors"
        lines.append(f"{phase.name}={boxes}{share}")
    return lines


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})([eE][+-]?\d{1,3})?", text.strip()))
