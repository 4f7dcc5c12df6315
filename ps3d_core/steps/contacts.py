"""Step: contact areas, one row for every two particles that touch."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.engine.block_step import BlockStep, Site
from ps3d_core.geometry.blocks import Block
from ps3d_core.geometry.spacing import StatedSpacing
from ps3d_core.memory_model import CONTACTS_BYTES
from ps3d_core.particles.padded import HALO, read_padded
from ps3d_core.particles.pair_counts import PairCounts, count_pairs_of, merge_pairs, no_pairs
from ps3d_core.particles.surface import CUBES, kinds_of_directions, shared_faces, surface_area
from ps3d_core.plan import SegmentPlan
from ps3d_core.steps.label_image import LabelImage
from ps3d_core.store.ledger import Record
from ps3d_core.store.location import Location, writing_to
from ps3d_core.store.ome import open_image
from ps3d_core.store.parquet import WRITING, from_parquet
from ps3d_core.store.publishing import publish

VERSION: Final = 2
"""Raise when a change of the code changes the file: finished work of older code is then redone."""

ROWS: Final = 2**18
"""Of a row group of the file."""

SCHEMA: Final = pa.schema(
    [
        pa.field(name, pa.type_for_alias(kind), metadata={"unit": unit, "description": meaning})
        for name, kind, unit, meaning in (
            ("label_a", "uint32", "", "the particle with the lower label"),
            ("label_b", "uint32", "", "the particle with the higher label"),
            ("faces", "int64", "faces", "faces of voxels that both share; 0 where only edges or corners touch"),
            ("contact_area_mm2", "double", "mm2", "surface that both share, Crofton's formula in 13 directions"),
        )
    ]
)


class Contacts(BaseModel):
    """Number and area of all contacts."""

    model_config = ConfigDict(frozen=True)

    pairs: int = Field(description="pairs of particles that touch")
    area_mm2: float = Field(description="of all contacts together")


@dataclass(frozen=True)
class ContactAreas(BlockStep[Contacts]):
    """Step that measures how much of their surfaces neighbouring particles share; the rest of a surface is free."""

    plan: SegmentPlan
    label_image: LabelImage

    name, title, found = "contacts", "contacts", Contacts
    halo = HALO
    bytes_per_voxel = CONTACTS_BYTES

    @property
    def versions(self) -> tuple[int, ...]:
        """Version of the table of pairs."""
        return (VERSION,)

    @property
    def parameters(self) -> tuple[Any, ...]:
        """No parameters of its own: what decides the label image decides the contacts."""
        return ()

    @property
    def outputs(self) -> dict[str, Location]:
        """File of the table of pairs, by its name in run.json."""
        return {"contacts": self.plan.job.result.root / "contacts.parquet"}

    @property
    def folder(self) -> Location:
        """Folder of the run's intermediates."""
        return self.plan.work

    @property
    def volume(self) -> Location:
        """Label image on the scan grid."""
        return self.plan.job.result.labels

    def work(self, block: Block, site: Site) -> Record:
        """Count what the labels of one block share with each other and with those around it."""
        kinds = kinds_of_directions(self.plan.info.spacing)
        counts = count_pairs_of(read_padded(open_image(self.volume), block, str(self.volume)), kinds)
        site.file(block.index).write_arrays(**counts._asdict())
        return {"pairs": len(counts.pairs), "first": int(counts.lower[0]) if len(counts.pairs) else None}

    def merge(self, records: Sequence[Record], site: Site) -> Contacts:
        """Add up the blocks' counts and write the table; return number and area of all contacts."""
        pairs, spacing = 0, self.plan.info.spacing
        kinds = kinds_of_directions(spacing)
        crossings = np.zeros(kinds, np.int64)
        (output,) = self.outputs.values()
        with tempfile.TemporaryDirectory(prefix="ps3d-contacts-") as folder:
            file = Path(folder) / output.name
            with writing_to(Location.parse(folder)), pq.ParquetWriter(file, SCHEMA, **WRITING) as writer:
                for counts in in_batches(merged_counts(records, site, kinds), ROWS, kinds):
                    areas = contact_area(counts.crossings, spacing)
                    columns = [counts.lower, counts.higher, shared_faces(counts.crossings), areas]
                    writer.write_table(pa.Table.from_arrays(list(map(pa.array, columns)), schema=SCHEMA))
                    pairs, crossings = pairs + len(areas), crossings + counts.crossings.sum(axis=0)
            publish(output, file)
        return Contacts(pairs=pairs, area_mm2=float(contact_area(crossings[None], spacing)[0]))

    def largest(self, particles: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint32]]:
        """Return the area of the largest contact of labels 0 to n, mm2, and the neighbour; 0 where there is none.

        Of contacts of equal area the one with the lowest neighbour counts. Raise `CorruptDataError` when the file of
        the contacts cannot be read.
        """
        (output,) = self.outputs.values()
        return from_parquet(output, lambda file: _largest(file, particles), "segment again")


def _largest(file: pq.ParquetFile, particles: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.uint32]]:
    area, neighbour = np.zeros(particles + 1), np.zeros(particles + 1, np.uint32)
    for batch in file.iter_batches(ROWS, columns=["label_a", "label_b", "contact_area_mm2"]):
        lower, higher, areas = (np.asarray(column) for column in batch.columns)
        _keep_largest(lower, higher, areas, area, neighbour)
        _keep_largest(higher, lower, areas, area, neighbour)
    return area, neighbour


def _keep_largest(
    labels: npt.NDArray[np.uint32],
    others: npt.NDArray[np.uint32],
    areas: npt.NDArray[np.float64],
    area: npt.NDArray[np.float64],
    neighbour: npt.NDArray[np.uint32],
) -> None:
    order = np.lexsort((others, -areas, labels))
    labels, first = np.unique(labels[order], return_index=True)
    rows = order[first]
    same = (areas[rows] == area[labels]) & (others[rows] < neighbour[labels])
    better = (areas[rows] > area[labels]) | same
    area[labels[better]], neighbour[labels[better]] = areas[rows][better], others[rows][better]


def contact_area(crossings: npt.NDArray[np.int64], spacing: StatedSpacing) -> npt.NDArray[np.float64]:
    """Return areas (n,) in mm2 from crossings (n, kinds) and the edges of a voxel in mm."""
    return surface_area(crossings, spacing) / 2


def merged_counts(records: Sequence[Record], site: Site, kinds: int = CUBES) -> Iterator[PairCounts]:
    """Yield the counts of the whole volume in rising order of pairs, some at a time.

    Labels follow the order of first voxels, so what is still open lies in few blocks: a pair is complete as soon as
    the lower of its labels is below all labels of the blocks that were not read.
    """
    waiting = sorted((record["first"], index) for index, record in enumerate(records) if record["pairs"])
    open_counts = no_pairs(kinds)
    for (_, index), (following, _) in pairwise([*waiting, (2**32, -1)]):
        open_counts = merge_pairs(open_counts, PairCounts(**site.file(index).read_arrays()))
        complete = open_counts.lower < following
        if complete.any():
            yield open_counts.rows(complete)
            open_counts = open_counts.rows(~complete)


def in_batches(parts: Iterable[PairCounts], rows: int, kinds: int = CUBES) -> Iterator[PairCounts]:
    """Yield the rows of all `parts`, `rows` at a time: how they came does not show in the file."""
    waiting = no_pairs(kinds)
    for part in parts:
        waiting = waiting.followed_by(part)
        while len(waiting.pairs) >= rows:
            yield waiting.rows(slice(rows))
            waiting = waiting.rows(slice(rows, None))
    if len(waiting.pairs):
        yield waiting
