"""scan.json: what somebody says of a scan they drop. It comes from outside, so every value is checked and bounded.

It decides what is computed, not where or with what: paths, devices and memory are for whoever runs the inbox to say.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveFloat,
    ValidationError,
    model_validator,
)

from ps3d_core.errors import InputError
from ps3d_core.geometry.lengths import doubt_of_bare_edge, has_unit, length_mm
from ps3d_core.invalid import first_problem
from ps3d_core.network import BUNDLED
from ps3d_core.params import (
    ColumnChoice,
    IngestParams,
    InstancesParams,
    MeasureParams,
    OnDoubt,
    PredictParams,
    SegmentParams,
    SourceParams,
)
from ps3d_core.quality import LevelName
from ps3d_core.quantities import MAX_SPACING_MM, Folds, RegionOfInterest, StatedPolarity, StatedSize, VoxelEdges
from ps3d_core.roi import is_named
from ps3d_core.sample_data import SampleFields
from ps3d_core.store.layout import USABLE, is_usable
from ps3d_core.store.location import from_json

FILE: Final = "scan.json"
MAX_BYTES: Final = 64 * 1024
EXAMPLE: Final = '{"name": "ore-7", "spacing": 0.0125, "particle_size": 0.3}'
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SHOWN = 60
_OTHER_NAMES: Final = {"fold": "folds", "tta": "mirror"}


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _no_place(roi: str) -> str:
    """Return a region that needs no file: which files are read is for whoever runs the inbox to say."""
    if not is_named(roi):
        raise ValueError("must be auto, none or cylinder:Y,X,RADIUS; a mask is given to ps3d segment")
    return roi


class ScanSettings(_Strict):
    """Settings of the segmentation that a scan may bring along; those absent are the inbox's own."""

    quality: LevelName | None = None
    mirror: bool | None = None
    folds: Folds | None = None
    roi: Annotated[RegionOfInterest, AfterValidator(_no_place)] | None = None
    target_particle_size: float | None = None
    zscore: tuple[FiniteFloat, PositiveFloat] | None = None
    min_rel_particle_size: float | None = None
    smallest_core: int | None = None
    least_certainty: float | None = None
    greatest_length: float | None = None
    greatest_neck: float | None = None
    columns: ColumnChoice | None = None
    phase: list[str] | None = None
    find_phases: int | None = None
    blur_voxels: float | None = None
    density: float | dict[str, float] | None = None

    def applied_to(self, params: SegmentParams) -> SegmentParams:
        """Return `params` with these settings in the place of its own.

        Raise pydantic's `ValidationError` when a value is out of its limits.
        """
        given = self.model_dump(exclude_none=True)
        predict = {name: value for name, value in given.items() if name in PredictParams.model_fields}
        instances = {name: value for name, value in given.items() if name in InstancesParams.model_fields}
        return SegmentParams(
            predict=PredictParams(**{**params.predict.model_dump(), **predict}),
            instances=InstancesParams(**{**params.instances.model_dump(), **instances}),
            measure=self._measured(params.measure),
        )

    def fitted_to(self, params: SegmentParams) -> SegmentParams:
        """Return `params` with these settings; raise `InputError` where they do not fit what the inbox says."""
        try:
            return self.applied_to(params)
        except ValidationError as error:
            raise InputError(f"settings: {first_problem(error).text}; correct them") from error

    def _measured(self, own: MeasureParams) -> MeasureParams:
        """What is measured: as the inbox says, but for what the scan says of itself."""
        names = ("columns", "phase", "find_phases", "blur_voxels")
        said: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        kept = own.model_dump(exclude_none=True)
        if said.keys() & {"phase", "find_phases"}:
            ways = {"phase", "phases", "find_phases", *(["find_in"] if self.phase is not None else [])}
            kept = {name: value for name, value in kept.items() if name not in ways}
        if self.density is not None:
            dense = {"densities" if isinstance(self.density, dict) else "density": self.density}
            own_sizes = {name: value for name, value in kept["sizes"].items() if name not in ("density", "densities")}
            said["sizes"] = own_sizes | dense
        return MeasureParams.model_validate(kept | said)


def _edge(given: Any) -> Any:
    """The edge of a voxel in mm, if `given` is a text; a number that no scanner has lacks its unit."""
    is_number = isinstance(given, float | int) and not isinstance(given, bool) and 0 < given < MAX_SPACING_MM
    if is_number and (doubt := doubt_of_bare_edge(f"{given:g}", given)) is not None:
        raise ValueError(doubt)
    return _length(given)


def _edges(given: Any) -> Any:
    """The edges of a voxel in mm: one, or three (z, y, x)."""
    return tuple(map(_edge, given)) if isinstance(given, list) else _edge(given)


def _length(given: Any) -> Any:
    """A length in mm, if `given` is a text, which has its unit then."""
    if not isinstance(given, str):
        return given
    try:
        if has_unit(given):
            return length_mm(given)
    except InputError as error:
        raise ValueError(str(error).removeprefix(f"{given}: ")) from error
    raise ValueError('must be a number of mm, or a text with its unit, like "12.5um"')


def _size(given: Any) -> Any:
    """A length in mm, or the word that it is to be found."""
    return given if given == "auto" else _length(given)


class ScanDescription(_Strict):
    """Content of scan.json. Lengths in mm; those that were texts had a unit, like "12.5um"."""

    name: str
    spacing: Annotated[VoxelEdges | None, BeforeValidator(_edges)] = None
    """What the source says when absent."""
    particle_size: Annotated[StatedSize, BeforeValidator(_size)]
    particles: StatedPolarity = "bright"
    slices: int | None = Field(default=None, ge=2, le=1_000_000)
    model: str | None = None
    pool: Literal["cpu", "gpu"] | None = None
    """On which machines it is processed, and nowhere else, where Prefect places it."""
    on_doubt: OnDoubt | None = None
    """What becomes of it when its verdict is doubtful or not understood."""
    sample: SampleFields = {}
    """What a laboratory says of the sample; shown in the report, and decides nothing."""
    source: SourceParams = SourceParams()
    """What of the files is read, and how."""
    settings: ScanSettings = ScanSettings()

    @property
    def as_ingested(self) -> IngestParams:
        """Parameters of the scan's ingest, which replaces what an earlier attempt left."""
        return IngestParams(
            **self.source.model_dump(exclude_defaults=True),
            spacing=self.spacing,
            particle_size=self.particle_size,
            particles=self.particles,
            sample=self.sample,
            overwrite=True,
        )

    @model_validator(mode="after")
    def _names_are_safe(self) -> Self:
        if not can_name_a_scan(self.name):
            raise ValueError(
                f"name {_shown(self.name)}: must be {USABLE}, nor end with a dot or space; give another name"
            )
        if self.model not in (None, BUNDLED) and not is_usable(str(self.model)):
            raise ValueError(f"model {_shown(self.model)}: must be {BUNDLED} or the name of a folder in models/")
        return self

    @model_validator(mode="after")
    def _settings_are_within_bounds(self) -> Self:
        try:
            self.settings.applied_to(SegmentParams())
        except ValidationError as error:
            raise ValueError(f"settings.{first_problem(error)}") from error
        return self


def read_description(content: bytes, file: str) -> ScanDescription:
    """Return the description in `content`, which was read from `file`.

    Raise `InputError` in one line that names the field, what it must be and the remedy.
    """
    if len(content) > MAX_BYTES:
        raise InputError(f"{file}: more than {MAX_BYTES} bytes; must be a few fields like {EXAMPLE}")
    text = content.removeprefix(_BYTE_ORDER_MARK)
    try:
        description = ScanDescription.model_validate_json(text)
        from_json(text)  # which minds what is said twice
    except ValidationError as error:
        raise InputError(f"{file}: {_what_is_wrong(error)}") from None
    except InputError as error:
        raise error.about(file) from None
    return description


def read_name(content: bytes) -> str | None:
    """Return the name in a description that may be wrong otherwise; None where it says none that can be used."""

    class Named(BaseModel):
        name: str

    try:
        name = Named.model_validate_json(content[:MAX_BYTES].removeprefix(_BYTE_ORDER_MARK)).name
    except ValidationError:
        return None
    return name if can_name_a_scan(name) else None


def in_description(option: str) -> str | None:
    """Return what an option of errors is called for somebody who writes a description.

    Return None for an option that a description cannot give.
    """
    option = _OTHER_NAMES.get(option, option)
    if option in ScanDescription.model_fields:
        return f'"{option}" in {FILE}'
    if option in ScanSettings.model_fields:
        return f'"{option}" in the settings of {FILE}'
    return f'"{option}" in the source of {FILE}' if option in SourceParams.model_fields else None


def can_name_a_scan(name: str) -> bool:
    """Return whether a stranger may call a scan so: a usable name that no file system gives another meaning."""
    return is_usable(name) and name == name.strip(" .")


def _what_is_wrong(error: ValidationError) -> str:
    problem, first = first_problem(error), error.errors()[0]
    # Not JSON, not an object, or not all that is needed.
    unlike = first["type"] == "missing" or (not first["loc"] and first["type"] != "value_error")
    return f"{problem}, like {EXAMPLE}" if unlike else str(problem)


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
