"""run.json: what was run, on what, with which outcome. Written last, so that it marks a whole result."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ps3d_core import __version__
from ps3d_core.errors import InputError
from ps3d_core.invalid import first_problem
from ps3d_core.params import SegmentParams
from ps3d_core.printable import without_keys
from ps3d_core.store.digest import Digest
from ps3d_core.store.location import Location, as_json
from ps3d_core.store.publishing import publish_text
from ps3d_core.store.seal import SEAL, sealed, unsealed

if TYPE_CHECKING:  # it brings torch, which those who read records do without
    from ps3d_core.plan import SegmentPlan

_LIBRARIES: Final = ("torch", "numpy", "zarr", "numba")


class RunRecord(BaseModel):
    """Content of run.json."""

    model_config = ConfigDict(frozen=True)

    scan: str = Field(description="name of the scan")
    fingerprint: str = Field(description="digest of everything that decides the result")
    finished: str = Field(description="when, UTC")
    software: dict[str, str] = Field(
        description="release of ps3d, versions of Python, of the libraries that compute, and of the system"
    )
    input: dict[str, Any] = Field(
        description="the scan: place, what identifies its content, shape, type, spacing and particle size (mm)"
    )
    model: dict[str, Any] = Field(description="where it came from, its name and digest")
    parameters: SegmentParams = Field(description="everything that was chosen")
    grids: dict[str, Any] = Field(description="zoom, shape of the network grid, target diameter (voxels), patch")
    counts: dict[str, Any] = Field(description="particles, and what is known of them together")
    seconds: dict[str, float] = Field(description="time of each stage")
    results: dict[str, str] = Field(description="files of the result, by the names that parts has for them")
    parts: dict[str, Digest] = Field(default={}, description="what the results are, by the same names")
    stages: dict[str, dict[str, Any]] = Field(default={}, description="what each step found")

    @property
    def particles(self) -> int:
        """Number of particles in the label image and the table."""
        return int(self.counts["particles"])


def make_record(
    plan: SegmentPlan,
    fingerprint: str,
    counts: Mapping[str, Any],
    seconds: Mapping[str, float],
    parts: Mapping[str, Digest],
    steps: Mapping[str, dict[str, Any]],
) -> RunRecord:
    """The record of a run that has just ended."""
    result = plan.job.result
    return RunRecord(
        scan=plan.job.scan,
        fingerprint=fingerprint,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        software={
            "ps3d": __version__,
            "python": platform.python_version(),
            "platform": platform.platform(),
            **{name: version(name) for name in _LIBRARIES},
        },
        input={
            "image": str(plan.image),
            "identity": plan.input_identity,
            "shape": plan.scale.scan_shape,
            "dtype": plan.dtype,
            "spacing_mm": plan.info.spacing,
            "particle_size_mm": plan.info.particle_size,
        },
        model={
            "source": without_keys(plan.job.model),
            "name": plan.bundle.info.name,
            "digest": plan.bundle.info.digest,
        },
        parameters=plan.job.params,
        grids={
            "zoom": plan.scale.zoom,
            "network_shape": plan.scale.network_shape,
            "target_particle_size_voxels": plan.target_particle_size,
            "patch": plan.prediction.patches.patch,
        },
        counts=dict(counts),
        seconds={name: round(value, 3) for name, value in seconds.items()},
        results={name: part.name for name, part in result.parts.items()},
        parts=dict(parts),
        stages=dict(steps),
    )


def write_record(location: Location, record: RunRecord) -> None:
    """Write the record, sealed against changes."""
    publish_text(location, as_json(sealed(record.model_dump(mode="json"))))


def read_record(location: Location) -> RunRecord | None:
    """The record at `location`, None when there is none. `InputError` when it is not one, or was changed.

    Records of earlier versions were not sealed, and do not say what the parts of their result are.
    """
    if not location.exists():
        return None
    content = location.read_json()
    try:
        if isinstance(content, dict) and SEAL in content:
            content = unsealed(content)
            if content is None:
                raise InputError(f"{location}: changed since it was written; remove it to segment the scan again")
            return RunRecord.model_validate(content)
        return RunRecord.model_validate(content).model_copy(update={"parts": {}})
    except ValidationError as error:
        problem = first_problem(error).text
        raise InputError(f"{location}: not a run record ({problem}); remove it to segment the scan again") from error
