"""What of the world a particle table shows: the scan, and the region of it that was segmented.

It travels with the table, as metadata of its Parquet schema, so that the table alone tells which particles the faces of
the scan or the bounds of the region can have cut. It comes back from a file that anybody may have written, so it is
checked like anything from outside.
"""

from __future__ import annotations

from typing import Annotated, Final

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ps3d_core.geometry.spacing import Spacing, per_axis
from ps3d_core.quantities import VoxelEdges
from ps3d_core.region.region import Region

KEY: Final = b"ps3d"
"""Of the metadata of the table's schema."""
_MAX_BYTES: Final = 1_000_000
_MOST_BOUNDS: Final = 64

_Side = Annotated[int, Field(ge=1, le=2**31)]
_Margin = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class Window(BaseModel):
    """Extent of the scan, and bounds within it."""

    model_config = ConfigDict(frozen=True)

    shape: tuple[_Side, _Side, _Side] = Field(description="of the scan (z, y, x), voxels")
    spacing: VoxelEdges = Field(description="edges of a voxel, mm")
    region: Region = Field(default=Region(), description="bounds by numbers of what was segmented")
    margin: tuple[_Margin, _Margin, _Margin] = Field(
        default=(0.0, 0.0, 0.0), description="what comes nearer than that to a cutting bound counts as cut, voxels"
    )
    masked: bool = Field(default=False, description="a mask bounds it besides")

    @field_validator("region")
    @classmethod
    def _few_bounds(cls, region: Region) -> Region:
        if len(region.bounds) > _MOST_BOUNDS:
            raise ValueError(f"{len(region.bounds)} bounds; must be at most {_MOST_BOUNDS}")
        return region

    @property
    def spacing_zyx(self) -> Spacing:
        """Edges of a voxel (z, y, x), mm."""
        return per_axis(self.spacing)


def with_window(schema: pa.Schema, window: Window | None) -> pa.Schema:
    """Return the schema of a table that says what it shows; as it is where that is not known."""
    if window is None:
        return schema
    return schema.with_metadata({KEY: window.model_dump_json().encode()})


def window_of(schema: pa.Schema) -> Window | None:
    """Return what the schema of a table says that it shows; None when it says nothing that can be understood."""
    said = (schema.metadata or {}).get(KEY)
    if said is None or len(said) > _MAX_BYTES:
        return None
    try:
        return Window.model_validate_json(said)
    except ValidationError:
        return None
