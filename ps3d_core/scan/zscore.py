"""Mean and standard deviation of the grey values of a dataset, for models that are trained on z-scores.

    plan  ->  every scan: all voxels, or those drawn  ->  zscore.json

Exact means every voxel of every scan, each chunk read once, in blocks; see `moments`. Sampled means voxels drawn at
random with an interval; see `draws`. zscore.json keeps what each scan contributes, so a dataset that grew by a scan
is answered by reading that one, and an unchanged one by reading none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Final, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.once import Engine
from ps3d_core.engine.step import Context
from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.geometry.blocks import BlockGrid
from ps3d_core.geometry.boxes import Shape
from ps3d_core.network.normalisation import ZScore
from ps3d_core.params import Resources, ZScoreParams
from ps3d_core.progress import SILENT, Progress
from ps3d_core.scan import scan_grey
from ps3d_core.scan.draws import LEVEL, Draw, DrawPlan, estimate
from ps3d_core.scan.moments import Moments, merged
from ps3d_core.scan.reader import scan_dtype
from ps3d_core.scan.scan_grey import COPIES, ScanGrey, ScanMoments, ScanToRead, require_finite
from ps3d_core.store.arrays import read_box
from ps3d_core.store.claim import Output, claimed, silent, working_in
from ps3d_core.store.identity import content_identity
from ps3d_core.store.layout import ABSENT, Dataset, instead_of
from ps3d_core.store.lease import Say
from ps3d_core.store.location import Location, as_json
from ps3d_core.store.ome import open_image
from ps3d_core.store.publishing import adopt, is_published, publish_text, read_receipt
from ps3d_core.store.seal import SEAL, sealed, unsealed

READS_AT_ONCE: Final = 8  # of single chunks: on an object store nearly all of the time is waiting


class Confidence(BaseModel):
    """Intervals in which the true values lie with probability `level`."""

    model_config = ConfigDict(frozen=True)

    level: float
    mean: tuple[float, float]
    std: tuple[float, float]
    draws: int = Field(description="independent draws of a chunk")
    voxels_per_draw: int


class ZScoreRecord(BaseModel):
    """Content of zscore.json."""

    model_config = ConfigDict(frozen=True)

    mean: float
    std: float
    voxels: int = Field(description="voxels that were read")
    method: Literal["exact", "sampled"]
    dataset_voxels: int = Field(description="voxels of all scans")
    scans: dict[str, ScanGrey]
    seed: int | None = None
    confidence: Confidence | None = None


@dataclass(frozen=True, slots=True)
class ZScorePlan:
    """A checked request for the z-score of a dataset."""

    dataset: Dataset
    scans: tuple[ScanToRead, ...]
    draws: DrawPlan | None
    """None when every voxel is read."""
    resources: Resources
    known: dict[str, ScanGrey] = field(default_factory=dict)
    """What an earlier zscore.json says of scans that have not changed since."""

    @property
    def voxels(self) -> int:
        """Number of voxels of all scans."""
        return sum(prod(scan.shape) for scan in self.scans)


@dataclass(frozen=True, slots=True)
class ScanShare:
    """One scan's part of a z-score: its grey values, and the draws from it."""

    scan: str
    grey: ScanGrey
    draws: tuple[Draw, ...] = ()


def estimate_zscore(
    dataset: Dataset,
    names: Sequence[str] | None = None,
    params: ZScoreParams | None = None,
    resources: Resources | None = None,
    progress: Progress = SILENT,
) -> ZScoreRecord:
    """Return mean and standard deviation over all voxels of the scans `names` (default: all); write zscore.json.

    An interrupted call goes on where it was. Raise `InputError` for scans that do not exist, hold values that are not
    numbers, or are all one value; `StoreError` when a store fails.
    """
    plan = plan_zscore(dataset, names, params, resources)
    with zscore_claimed(plan, progress.note):
        shares = [read_scan(plan, scan, progress) for scan in plan.scans]
        return finish_zscore(plan, shares)


def plan_zscore(
    dataset: Dataset,
    names: Sequence[str] | None = None,
    params: ZScoreParams | None = None,
    resources: Resources | None = None,
) -> ZScorePlan:
    """Check the request; reads metadata and no voxel. All voxels are read when no more than `samples` are there."""
    params = params or ZScoreParams()
    there = dataset.names()
    if absent := sorted(set(names or ()) - set(there)):
        raise InputError(
            f"scan {absent[0]!r}: not in {dataset.root / 'images'} ({instead_of(absent[0], there)})", *ABSENT
        )
    scans = tuple(_scan_to_read(dataset, name) for name in sorted(set(names or dataset.require_names())))
    plan = ZScorePlan(dataset, scans, None, resources or Resources(), _known(dataset, scans))
    if params.samples is None or params.samples >= plan.voxels:
        return plan
    draws = DrawPlan(tuple(scan.shape for scan in scans), params.samples, params.seed)
    return ZScorePlan(dataset, scans, draws, plan.resources)


@contextmanager
def zscore_claimed(plan: ZScorePlan, say: Say = silent) -> Iterator[None]:
    """Hold zscore.json and the work folder while the body finds what goes into them."""
    dataset = plan.dataset
    output = Output(dataset.zscore, _is_ours)
    read_receipt(dataset.root)
    inputs = [scan.image for scan in plan.scans]
    with claimed("z-score", [output], inputs=inputs, say=say), working_in(dataset.zscore_work):
        if dataset.zscore.exists():
            adopt(dataset.zscore)
        yield


def read_scan(plan: ZScorePlan, scan: ScanToRead, progress: Progress = SILENT) -> ScanShare:
    """Read the voxels of one scan: all, or those drawn."""
    if plan.draws is None:
        return _read_all(plan, scan, progress)
    return _read_drawn(plan, plan.draws, scan, progress)


def finish_zscore(plan: ZScorePlan, shares: Sequence[ScanShare]) -> ZScoreRecord:
    """Put the scans together and write zscore.json."""
    record = _exact(plan, shares) if plan.draws is None else _sampled(plan, plan.draws, shares)
    if not record.std > 0:
        raise InputError(
            f"{plan.dataset.root}: all voxels read are {record.mean:g}; a z-score needs at least two grey values; "
            "check the scans"
        )
    content = sealed(record.model_dump(mode="json", exclude_none=True, exclude_defaults=True))
    publish_text(plan.dataset.zscore, as_json(content))
    return record


def read_zscore(place: Location) -> ZScore:
    """Return mean and standard deviation of a zscore.json, given itself or as the dataset it lies in.

    Raise `InputError` when there is none, or it was changed since it was written.
    """
    file = place if place.name.endswith(".json") else Dataset(place).zscore
    if not file.exists():
        raise InputError(
            f"{file}: no z-score here", "make it with ps3d zscore", "give mean and standard deviation as <zscore>"
        )
    content = file.read_json()
    if isinstance(content, dict) and SEAL in content and unsealed(content) is None:
        raise InputError(f"{file}: changed since it was written; make it again, or give its numbers")
    try:
        return ZScore(mean=content["mean"], std=content["std"])
    except (KeyError, TypeError, ValidationError) as error:
        raise InputError(f"{file}: must say mean and std, a number and a number above 0; make it again") from error


def _exact(plan: ZScorePlan, shares: Sequence[ScanShare]) -> ZScoreRecord:
    total = merged(_moments(share.grey) for share in shares)
    return ZScoreRecord(
        mean=float(total.mean),
        std=total.std,
        voxels=total.count,
        method="exact",
        dataset_voxels=plan.voxels,
        scans={share.scan: share.grey for share in shares},
    )


def _sampled(plan: ZScorePlan, draws: DrawPlan, shares: Sequence[ScanShare]) -> ZScoreRecord:
    found = estimate([draw for share in shares for draw in share.draws])
    return ZScoreRecord(
        mean=found.mean,
        std=found.std,
        voxels=draws.voxels,
        method="sampled",
        dataset_voxels=plan.voxels,
        scans={share.scan: share.grey for share in shares},
        seed=draws.seed,
        confidence=Confidence(
            level=LEVEL,
            mean=found.mean_interval,
            std=found.std_interval,
            draws=draws.count,
            voxels_per_draw=draws.per_draw,
        ),
    )


def _is_ours(file: Location) -> bool:
    """Whether the zscore.json was written here: mean and std alone may be somebody's own."""
    try:
        return is_published(file) or bool(ZScoreRecord.model_validate(file.read_json()))
    except (InputError, MissingDataError, ValidationError, OSError):
        return False


def _scan_to_read(dataset: Dataset, name: str) -> ScanToRead:
    image = dataset.image(name)
    array = open_image(image)
    dtype = scan_dtype(array.dtype, str(image))
    return ScanToRead(name, image, cast(Shape, array.shape), str(dtype), content_identity(image))


def _known(dataset: Dataset, scans: Sequence[ScanToRead]) -> dict[str, ScanGrey]:
    """Moments of unchanged scans in zscore.json; what cannot be read there is found again."""
    try:
        earlier = ZScoreRecord.model_validate(unsealed(dataset.zscore.read_json())).scans
        known = {scan.name: earlier[scan.name] for scan in scans if scan.name in earlier}
        return {
            scan.name: grey
            for scan in scans
            if (grey := known.get(scan.name)) is not None
            and (grey.identity, grey.dtype, grey.voxels) == (scan.identity, scan.dtype, prod(scan.shape))
            and grey.version == scan_grey.VERSION
            and grey.moments is not None
            and _moments(grey).count == grey.voxels
        }
    except (InputError, MissingDataError, ValidationError, KeyError, TypeError, ValueError, ArithmeticError):
        return {}


def _moments(grey: ScanGrey) -> Moments:
    return Moments.from_record(grey.moments or {})


def _read_all(plan: ZScorePlan, scan: ScanToRead, progress: Progress) -> ScanShare:
    if scan.name in plan.known:
        progress.note(f"{scan.name}: unchanged, its grey values are known")
        return ScanShare(scan.name, plan.known[scan.name])
    step = ScanMoments(plan.dataset, scan, f"zscore {scan.name}")
    context = Context(Runner.of(plan.resources), plan.resources.memory_bytes, progress)
    return ScanShare(scan.name, Engine(step.folder, [step]).run_all(context).of(ScanMoments))


def _read_drawn(plan: ZScorePlan, draws: DrawPlan, scan: ScanToRead, progress: Progress) -> ScanShare:
    array = open_image(scan.image)
    grid = BlockGrid(scan.shape, cast(Shape, array.chunks))
    chunks = draws.chunks(plan.scans.index(scan), grid.block_shape)
    at_once = plan.resources.memory_bytes // (COPIES * prod(grid.block_shape) * array.dtype.itemsize)

    def read(position: Shape) -> list[Draw]:
        box = grid.at(position).core
        values = read_box(array, box)
        found = [draws.evaluate(draw, values) for draw in chunks[position]]
        require_finite(scan, box, *(number for draw in found for number in (draw.mean, draw.variance)))
        stage.advance()
        return found

    with (
        progress.stage(f"zscore {scan.name}", len(chunks), "chunks") as stage,
        ThreadPoolExecutor(max(1, min(READS_AT_ONCE, at_once)), "draws") as threads,
    ):
        found = [draw for of_chunk in threads.map(read, chunks) for draw in of_chunk]
    total = merged(Moments(draws.per_draw, draw.mean, draw.variance * draws.per_draw) for draw in sorted(found))
    grey = ScanGrey(
        voxels=prod(scan.shape),
        dtype=scan.dtype,
        identity=scan.identity,
        mean=float(total.mean) if found else None,
        std=total.std if found else None,
    )
    return ScanShare(scan.name, grey, tuple(found))
