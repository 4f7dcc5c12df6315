"""run.json: what was run, on what, with which outcome. Written last, so that it marks a whole result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from ps3d_core.errors import InputError
from ps3d_core.invalid import first_problem
from ps3d_core.params import SegmentParams
from ps3d_core.store.digest import Digest
from ps3d_core.store.location import Location, as_json
from ps3d_core.store.publishing import publish_text
from ps3d_core.store.seal import SEAL, sealed, unsealed

if TYPE_CHECKING:
    from ps3d_core.particles.verdict import Verdict


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
    place: str = Field(default="", description="folder of the result, where it was made; a copy lies elsewhere")
    sample: dict[str, str] = Field(default={}, description="what the laboratory says of the sample")
    model: dict[str, Any] = Field(description="where it came from, its name and digest")
    parameters: SegmentParams = Field(description="everything that was chosen")
    grids: dict[str, Any] = Field(description="zoom, shape of the network grid, target diameter (voxels), patch")
    quality: dict[str, Any] = Field(
        default={},
        description="how thoroughly the network was applied: stride and sigma as shares of a patch, mirrored axes, "
        "forward passes per patch volume",
    )
    counts: dict[str, Any] = Field(description="particles, and what is known of them together")
    seconds: dict[str, float] = Field(description="time of each stage")
    results: dict[str, str] = Field(description="files of the result, by the names that parts has for them")
    parts: dict[str, Digest] = Field(default={}, description="what the results are, by the same names")
    stages: dict[str, dict[str, Any]] = Field(default={}, description="what each step found")

    @field_validator("parameters", mode="before")
    @classmethod
    def _of_earlier_releases(cls, parameters: Any) -> Any:
        """Say the quality in records of releases that knew one only."""
        predict = parameters.get("predict") if isinstance(parameters, dict) else None
        if not isinstance(predict, dict) or "quality" in predict:
            return parameters
        return parameters | {"predict": predict | {"quality": "reference"}}

    @property
    def verdict(self) -> Verdict:
        """Verdict on the result: how far it can be trusted."""
        from ps3d_core.particles.verdict import Verdict  # brings libraries that a look into an inbox does without

        return Verdict.model_validate(self.counts["verdict"])

    @property
    def particles(self) -> int:
        """Number of particles in the label image and the table."""
        return int(self.counts["particles"])


def write_record(location: Location, record: RunRecord) -> None:
    """Write the record of a run to `location`, sealed against changes."""
    publish_text(location, as_json(sealed(record.model_dump(mode="json"))))


def read_record(location: Location) -> RunRecord | None:
    """Return the record at `location`, None when there is none.

    Raise `InputError` when it is no record, or was changed. Records of earlier versions were not sealed, and do not say
    what the parts of their result are.
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
