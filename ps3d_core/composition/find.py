"""Step that finds phases: as many as are asked for, in grey values of the interiors of all particles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.composition.files import write_phases
from ps3d_core.composition.interiors import REACH, Counted, added, counted, grey_of, slope_of
from ps3d_core.composition.mixture import Mixture, fitted, peaks_of
from ps3d_core.engine.block_step import BlockStep, Site
from ps3d_core.errors import InputError
from ps3d_core.geometry.blocks import Block
from ps3d_core.geometry.boxes import Shape
from ps3d_core.particles.charts import classed_histogram
from ps3d_core.particles.label_index import as_labels
from ps3d_core.phase_params import found_names
from ps3d_core.phases import GREY, Interval, Phase, Phases
from ps3d_core.store.arrays import read_box
from ps3d_core.store.ledger import Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.store.publishing import publish_text

if TYPE_CHECKING:
    from markupsafe import Markup

VERSION: Final = 2
"""Raise when a change of the code changes which phases are found: finished work of older code is then redone."""

LEAST_VOXELS: Final = 500
"""Of interiors, to find anything in."""
_QUIET: Final = 0.6
"""Share of the interior voxels, those where grey values change least, that the fit is made on."""
_FIND_BYTES: Final = 60.0
_SHOWN_BINS: Final = 128
_TO_SIGMA: Final = 1.4826 / 1.0801


class FoundPhases(BaseModel):
    """Phases that were found, and the histogram they were found in."""

    model_config = ConfigDict(frozen=True)

    phases: Phases
    shares: dict[str, float] = Field(description="of the interior voxels of pure phases, by name")
    voxels: int = Field(description="interior voxels that were looked at")
    edges: tuple[float, float] = Field(description="of the histogram")
    counts: tuple[int, ...] = Field(description="of its bins, of equal width")


@dataclass(frozen=True)
class FindPhases(BlockStep[FoundPhases]):
    """Step that counts grey values of interiors block by block, and fits a mixture to them.

    Attributes:
        labels: label image.
        image: grey values of the same shape.
        identity: digest of the contents of both.
        number: of phases.
        place: folder of the ledger, and of what blocks leave.
        file: gets the phases as JSON, for the user to look at and to give back.
        blur_voxels: of the scanner, where the user says it.
        seen_in: name of the image; the scan itself is `grey`.
        block_shape: of blocks, (z, y, x); the largest that is good and fits when absent.

    """

    labels: Location
    image: Location
    identity: str
    number: int
    place: Location
    file: Location
    blur_voxels: float | None = None
    seen_in: str = GREY
    block_shape: Shape | None = None

    name, title, found = "phases", "phases", FoundPhases
    halo = REACH
    bytes_per_voxel = _FIND_BYTES

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of counting and fitting."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Contents of both images, what is asked for, and where the answer is."""
        image = () if self.seen_in == GREY else (self.seen_in,)
        return (self.identity, self.number, self.blur_voxels, self.file.seen_from(self.place), *image)

    @property
    def outputs(self) -> dict[str, Location]:
        """File of the phases, and their histogram."""
        return {"phases": self.file, "phases_chart": self.file.parent / "phases.svg"}

    @property
    def folder(self) -> Location:
        """Folder of the ledger, and of what blocks leave."""
        return self.place

    @property
    def volume(self) -> Location:
        """Label image."""
        return self.labels

    def work(self, block: Block, site: Site) -> Record:
        """Leave the counts of one block."""
        labels = as_labels(read_box(open_image(self.labels), block.outer), str(self.labels))
        grey = np.asarray(read_box(open_image(self.image), block.outer), np.float32)
        inner = block.core.relative_to(block.outer)
        site.file(block.index).write_arrays(**counted(labels, grey, inner.start, inner.stop)._asdict())
        return {}

    def merge(self, records: Sequence[Record], site: Site) -> FoundPhases:
        """Fit the mixture, write the file and return the phases.

        Raise `InputError` where there are too few interiors or peaks.
        """
        parts = (Counted(**site.file(index).read_arrays()) for index in range(len(records)))
        found = found_phases(reduce(added, parts), self.number, self.blur_voxels)
        found = found.model_copy(update={"phases": found.phases.of_image(self.seen_in)})
        write_phases(self.file, found.phases)
        publish_text(self.outputs["phases_chart"], phases_chart(found, standalone=True))
        return found


def found_phases(counts: Counted, number: int, blur_voxels: float | None = None) -> FoundPhases:
    """Return the phases that a mixture of `number` normal distributions finds in the counts of interiors.

    Raise `InputError` where there are too few interiors or peaks.
    """
    values, numbers = _quiet(counts)
    voxels = int(counts.pair_counts.sum())
    if voxels < LEAST_VOXELS:
        raise InputError(
            f"{number} phases to be found: {voxels} voxels of finite grey values are inside of particles, "
            f"{LEAST_VOXELS} are needed",
            "give the phases by intervals with <phase>",
        )
    if (mixture := fitted(values, numbers, number)) is None:
        raise InputError(
            f"{number} phases to be found: grey values of the interiors have {peaks_of(values, numbers)} peaks",
            "ask for as many with <find_phases>",
            "give the phases by intervals with <phase>",
        )
    background = _background(counts)
    known: dict[str, Any] = {} if background is None else {"background": {GREY: background}}
    if blur_voxels is not None:
        known["blur_voxels"] = blur_voxels
    phases = Phases(phases=_phases(mixture, background), noise={GREY: _noise(counts)}, **known)
    shown = mixture.counts.reshape(_SHOWN_BINS, -1).sum(axis=1)
    return FoundPhases(
        phases=phases,
        shares=dict(zip(phases.names, mixture.share.tolist(), strict=True)),
        voxels=voxels,
        edges=(float(mixture.edges[0]), float(mixture.edges[-1])),
        counts=tuple(int(n) for n in shown),
    )


def phases_chart(found: FoundPhases, *, standalone: bool = False) -> Markup:
    """Return the histogram of the interiors as SVG, each bar in the colour of the phase that it belongs to.

    `standalone` makes a file of its own, which brings its colours.
    """
    edges = np.linspace(*found.edges, len(found.counts) + 1)
    (image,) = found.phases.images
    intervals = [phase.intervals[image] for phase in found.phases.phases]
    middles = (edges[1:] + edges[:-1]) / 2
    kinds = [next((k for k, box in enumerate(intervals) if box.low <= m <= box.high), None) for m in middles]
    return classed_histogram(
        np.array(found.counts, np.int64),
        edges,
        kinds,
        x_label="grey value",
        y_label="voxels, square-root scale",
        alt="Grey values of the interiors of particles",
        standalone=standalone,
    )


def _quiet(counts: Counted) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Grey values, rising, of the interior voxels where they change least, and their numbers."""
    greys, slopes = counts.pairs >> np.uint64(32), counts.pairs & np.uint64(2**32 - 1)
    order = np.argsort(slopes, kind="stable")
    upto = np.cumsum(counts.pair_counts[order])
    if not len(upto):
        return np.empty(0), np.empty(0, np.int64)
    limit = slopes[order][np.searchsorted(upto, _QUIET * upto[-1])]
    quiet = slope_of(slopes) <= slope_of(np.array([limit], np.uint64))[0]
    bins, place = np.unique(greys[quiet], return_inverse=True)
    numbers = np.zeros(len(bins), np.int64)
    np.add.at(numbers, place, counts.pair_counts[quiet])
    return grey_of(bins), numbers


def _phases(mixture: Mixture, background: float | None) -> tuple[Phase, ...]:
    """Phases that meet where both are equally likely, and end half-way to the background."""
    mean, width = mixture.mean, mixture.width
    between = (mean[:-1] * width[1:] + mean[1:] * width[:-1]) / (width[1:] + width[:-1])
    reach = max(4 * float(width.max()), float(np.ptp(mean)) / 2, 1e-6 * abs(float(mean[0])), 1e-20)
    low, high = float(mean[0]) - reach, float(mean[-1]) + reach
    if background is not None and background < mean[0]:
        low = (background + float(mean[0])) / 2
    if background is not None and background > mean[-1]:
        high = (background + float(mean[-1])) / 2
    limits, names = [low, *between.tolist(), high], found_names(len(mean))
    return tuple(
        Phase(
            name=names[k],
            intervals={GREY: Interval(low=limits[k], high=limits[k + 1])},
            means={GREY: float(mean[k])},
        )
        for k in range(len(mean))
    )


def _background(counts: Counted) -> float | None:
    """Median grey value of the background next to particles."""
    return _median(counts.backgrounds, counts.background_counts)


def _noise(counts: Counted) -> float:
    """Standard deviation of white noise, from the median difference of voxels to their neighbours."""
    return max(_median(counts.differences, counts.difference_counts) or 0.0, 0.0) * _TO_SIGMA


def _median(bins: npt.NDArray[np.uint64], counts: npt.NDArray[np.int64]) -> float | None:
    if not len(bins):
        return None
    upto = np.cumsum(counts)
    return float(grey_of(bins[[np.searchsorted(upto, upto[-1] / 2)]])[0])
