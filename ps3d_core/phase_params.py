"""What a user says of phases and further images."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ps3d_core.phases import (
    COLUMN_GROUPS,
    GREY,
    MOST_IMAGES,
    MOST_PHASES,
    Name,
    Phases,
    phase_of,
    phases_of,
    require_told_apart,
)
from ps3d_core.quantities import Unit


def _one_phase(text: str) -> str:
    phase_of(text)
    return text


def _named_value(text: str, what: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not value:
        raise ValueError(f"must be NAME={what}; correct it")
    return name, value


def _one_image(text: str) -> str:
    name, _ = _named_value(text, "PATH")
    Named(name=name)
    if name.lower() in COLUMN_GROUPS:
        raise ValueError(f"columns of every table begin with {name.lower()}; give the image another name")
    return text


def found_names(number: int) -> tuple[str, ...]:
    """Return what so many phases that were found are called, the darkest first."""
    return tuple(f"p{k}" for k in range(1, number + 1))


class Named(BaseModel):
    """A name that can be a part of the name of a column."""

    name: Name


_PhaseText = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(_one_phase)]
_ImageText = Annotated[str, Field(min_length=1, max_length=5000), AfterValidator(_one_image)]


class PhaseParams(BaseModel):
    """Parameters of phases inside particles, and of further images of the same scan."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    phase: tuple[_PhaseText, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MOST_PHASES,
        description="a phase by its grey values, NAME=LOW:HIGH; of several images NAME=IMAGE:LOW:HIGH,IMAGE:LOW:HIGH, "
        "where the scan itself is grey; repeat it for each phase",
    )
    phases: Phases | None = Field(
        default=None, description="phases as they were found before and confirmed; on a command line the file of them"
    )
    find_phases: int | None = Field(
        default=None,
        ge=1,
        le=MOST_PHASES,
        description="find so many phases in the interiors of the particles; look at them before you believe them",
    )
    find_in: Name | None = Field(
        default=None, description="image that phases are found in, by its name; the scan itself when left out"
    )
    images: tuple[_ImageText, ...] = Field(
        default=(),
        max_length=MOST_IMAGES,
        description="a further image of the same voxels, NAME=PATH (a second energy, a registered scan); repeat it",
    )
    blur_voxels: Annotated[float, Unit("voxels")] | None = Field(
        default=None,
        ge=0.2,
        le=3.0,
        description="standard deviation of the scanner's blur, by which layers of mixed voxels are told from thin "
        "phases; estimated at the surface of each particle when left out",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        said = {"by intervals": self.phase, "by those that were found before": self.phases}
        ways = [*(way for way, phases in said.items() if phases is not None)]
        ways += ["by their number, to be found"] if self.find_phases is not None else []
        if len(ways) > 1:
            raise ValueError(f"phases are said twice, {ways[0]} and {ways[1]}; say them in one way")
        return self

    @model_validator(mode="after")
    def _names_are_told_apart(self) -> Self:
        names = [text.partition("=")[0] for text in self.images]
        images = [(f"image {number},", name) for number, name in enumerate(names, 1)]
        require_told_apart([("the scan itself,", GREY), *images, *(("phase", name) for name in self.phase_names)])
        if self.find_in is not None and self.find_phases is None:
            raise ValueError(f"phases are to be found in image {self.find_in}, and not how many; say their number")
        seen = set() if (stated := self.stated()) is None else set(stated.images)
        if missing := sorted((seen | {self.find_in or GREY}) - {GREY, *names}):
            alike = next((name for name in (GREY, *names) if name.lower() == missing[0].lower()), None)
            remedy = "add it as NAME=PATH" if alike is None else f"did you mean {alike}?"
            raise ValueError(f"a phase is of image {missing[0]}, which was not given; {remedy}")
        return self

    @property
    def given(self) -> bool:
        """Whether there are phases at all."""
        return any(each is not None for each in (self.phase, self.phases, self.find_phases))

    @property
    def image_paths(self) -> dict[str, str]:
        """Paths or URLs of the further images, by name."""
        return {name: path for name, _, path in (text.partition("=") for text in self.images)}

    @property
    def phase_names(self) -> tuple[str, ...]:
        """Names of the phases, also of those that are to be found."""
        stated = self.stated()
        return found_names(self.find_phases or 0) if stated is None else tuple(stated.names)

    def stated(self) -> Phases | None:
        """Return the phases that are given; None when there are none or they are to be found."""
        if self.phase is not None:
            return phases_of(self.phase, self.blur_voxels)
        if self.phases is None or self.blur_voxels is None:
            return self.phases
        return self.phases.model_copy(update={"blur_voxels": self.blur_voxels})
