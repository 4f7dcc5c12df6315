"""ps3d.json: what a folder of training data was made from and how; what `ps3d train` needs besides the voxels.

nnU-Net's own dataset.json has no place for the particle size that scans were resampled to, nor for the grey values that
were subtracted. A model is of no use without both, so they lie beside it, are checked when read, and go into the
bundle. Written last: a folder with a ps3d.json is whole.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ps3d_core.errors import InputError
from ps3d_core.geometry.boxes import Shape
from ps3d_core.invalid import first_problem
from ps3d_core.network.intensity import Intensity
from ps3d_core.network.normalisation import Normalisation
from ps3d_core.quantities import BorderThickness, TargetParticleSize, VoxelEdges
from ps3d_core.store.digest import Digest
from ps3d_core.store.layout import checked_name
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location

FILE: Final = "ps3d.json"
Layout = Literal["nnunet-v2", "nnunet-v1"]

_Length = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Side = Annotated[int, Field(ge=1)]
_Grid = tuple[_Side, _Side, _Side]
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class CaseRecord(BaseModel):
    """Record of one scan in the training data; its files bear its name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    scan: str
    image: str = Field(description="where the scan was read")
    labels: str = Field(description="where its instance labels were read")
    spacing: VoxelEdges = Field(description="of the scan, mm per voxel; three (z, y, x) where they differ")
    particle_size: _Length = Field(description="mean diameter, mm")
    scan_shape: _Grid
    network_shape: _Grid
    zoom: _Length | tuple[_Length, _Length, _Length] = Field(
        description="network voxels per scan voxel along an axis; three (z, y, x) where they differ"
    )
    intensity: Intensity = Field(description="offset, scale and limits that the grey values were normalised with")
    particles: int = Field(ge=1, description="on the network grid")
    image_fingerprint: _Digest = Field(description="everything that decides the image file")
    labels_fingerprint: _Digest = Field(description="everything that decides the label files")
    files: dict[str, Digest] = Field(default={}, description="what its files are, by their path in the folder")

    @property
    def fingerprint(self) -> str:
        """Digest of everything that decides the files of the case."""
        return fingerprint(self.image_fingerprint, self.labels_fingerprint)


class PreparationRecord(BaseModel):
    """Content of ps3d.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["ps3d-training-data"] = "ps3d-training-data"
    version: Literal[1] = 1
    layout: Layout = "nnunet-v2"
    target_particle_size: TargetParticleSize = Field(description="mean particle diameter on the network grid, voxels")
    border_thickness: BorderThickness = Field(description="of the border class, voxels")
    normalisation: Normalisation = Field(description="as the bundle will say it")
    nominal_spacing: _Length = Field(description="mm per voxel in the headers, the same for all cases")
    instances: bool = Field(default=False, description="instance labels and boxes lie beside the classes")
    cases: dict[str, CaseRecord] = Field(min_length=1, description="by the name of the case")

    @model_validator(mode="after")
    def _names_are_file_names(self) -> Self:
        for name, case in self.cases.items():
            try:
                checked_name(name)
            except InputError as error:
                raise ValueError(str(error)) from error
            if name != case.scan:
                raise ValueError(f"case {name!r} is said to be scan {case.scan!r}")
        return self

    @property
    def fingerprint(self) -> str:
        """Digest of everything that decides the training data as a whole."""
        return fingerprint(
            self.format, self.version, self.layout, {name: case.fingerprint for name, case in self.cases.items()}
        )

    @property
    def shapes(self) -> list[Shape]:
        """Shapes (z, y, x) of the network grids of all cases."""
        return [case.network_shape for case in self.cases.values()]


def read_preparation(folder: Location) -> PreparationRecord:
    """Return the record of the training data in `folder`, DatasetNNN_NAME or TaskNNN_NAME.

    Raise `InputError` when there is none, or it is none that this version understands.
    """
    file = folder / FILE
    if not file.exists():
        raise InputError(
            f"{file}: not there, so this is no finished training data; give the folder that ps3d prepare-training made"
        )
    try:
        return PreparationRecord.model_validate(file.read_json())
    except ValidationError as error:
        raise InputError(f"{file}: {first_problem(error).text}; prepare the training data again") from error


def write_preparation(folder: Location, record: PreparationRecord) -> None:
    """Write the record of training data; the last step of a preparation."""
    (folder / FILE).write_json(record.model_dump(mode="json"))
