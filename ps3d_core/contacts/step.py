"""Step: contacts and packing of a label image, whoever made it.

ContactMeasurement    base: counts per block, and the files that are made of all of them
GivenContacts         step for labels that somebody gives
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field

from ps3d_core.contacts import packing, table
from ps3d_core.contacts.merged import in_batches, merged_counts
from ps3d_core.contacts.packing import Packing, merged_packing, packing_of
from ps3d_core.contacts.pair_counts import count_pairs_of
from ps3d_core.contacts.profile import profiles_of, write_profiles
from ps3d_core.contacts.table import ROWS, contact_area, contact_rows, write_contacts
from ps3d_core.engine.block_step import BlockStep, Site
from ps3d_core.geometry.blocks import Block
from ps3d_core.geometry.boxes import Shape
from ps3d_core.geometry.spacing import StatedSpacing
from ps3d_core.memory_model import CONTACTS_BYTES
from ps3d_core.particles.padded import HALO, read_padded
from ps3d_core.particles.surface import kinds_of_directions
from ps3d_core.region.region import Region
from ps3d_core.store.ledger import Record
from ps3d_core.store.location import Location
from ps3d_core.store.ome import image_origin, open_image

UINT32_BYTES = 4


class Contacts(BaseModel):
    """Number and area of all contacts, and how densely particles lie."""

    model_config = ConfigDict(frozen=True)

    pairs: int = Field(description="pairs of particles that touch, by faces, edges or corners of voxels")
    area_mm2: float = Field(description="of all contacts together")
    region_mm3: float = Field(description="volume of the scan, or of the region that was segmented")
    packing_fraction: float | None = Field(description="volume of particles there / its volume; None where it is empty")


@dataclass(frozen=True)
class ContactMeasurement(BlockStep[Contacts]):
    """Base of the steps that find which particles touch, where and how much, and how densely they lie."""

    name, title, found = "contacts", "contacts", Contacts
    halo = HALO

    @property
    @abstractmethod
    def spacing(self) -> StatedSpacing:
        """Edges of a voxel, mm."""

    @property
    @abstractmethod
    def results(self) -> Location:
        """Folder that gets the files."""

    @property
    def region(self) -> Region:
        """What packing is measured of; all of the scan by default."""
        return Region()

    @property
    def versions(self) -> tuple[int, ...]:
        """Versions of the table of pairs and of the profiles."""
        return (table.VERSION, packing.VERSION)

    @property
    def outputs(self) -> dict[str, Location]:
        """Files of the table of pairs and of the profiles, by their names in run.json."""
        names = {"contacts": "contacts.parquet", "contacts_csv": "contacts.csv", "packing": "packing.csv"}
        return {part: self.results / name for part, name in names.items()}

    @property
    def bytes_per_voxel(self) -> float:
        """Peak of memory of a block: labels as they are stored and inside their halo, and what is inside the region."""
        stored = open_image(self.volume).dtype.itemsize - UINT32_BYTES
        return CONTACTS_BYTES + stored + (1 if self.region else 0)

    def work(self, block: Block, site: Site) -> Record:
        """Count what the labels of one block share with each other and with those around it, and their voxels."""
        padded = read_padded(open_image(self.volume), block, str(self.volume))
        counts = count_pairs_of(padded, kinds_of_directions(self.spacing), block.core.start)
        site.file(block.index).write_arrays(**counts._asdict())
        filled = packing_of(padded[1:-1, 1:-1, 1:-1], block.core, self.region, site.grid.shape)
        _packing_file(site, block.index).write_arrays(**filled.to_arrays())
        return {"pairs": len(counts.pairs)}

    def merge(self, records: Sequence[Record], site: Site) -> Contacts:
        """Add up the blocks' counts and write the files; return number and area of all contacts, and the packing."""
        total = np.zeros(kinds_of_directions(self.spacing), np.int64)
        pairs = write_contacts(self._rows(records, site, total), self.outputs["contacts"], self.outputs["contacts_csv"])
        parts = (Packing.from_arrays(_packing_file(site, k).read_arrays()) for k in range(len(records)))
        filled = merged_packing(parts, site.grid.shape, self.region)
        profiles = profiles_of(filled, self.spacing, image_origin(self.volume))
        write_profiles(self.outputs["packing"], profiles)
        return Contacts(
            pairs=pairs,
            area_mm2=float(contact_area(total[None], self.spacing)[0]),
            region_mm3=float(profiles.along_z.volume.sum()),
            packing_fraction=profiles.whole,
        )

    def _rows(self, records: Sequence[Record], site: Site, total: np.ndarray[Any, Any]) -> Iterator[pa.Table]:
        """Row groups of the table; the crossings of all are added to `total`."""
        origin, kinds = image_origin(self.volume), len(total)
        for counts in in_batches(merged_counts(records, site, ROWS), ROWS, kinds):
            total += counts.crossings.sum(axis=0)
            yield contact_rows(counts, self.spacing, origin)


@dataclass(frozen=True)
class GivenContacts(ContactMeasurement):
    """Step that finds the contacts of labels that somebody gives.

    Attributes:
        labels: label image (z, y, x), 0 is background.
        identity: what tells its content from others.
        stated_spacing: edges of a voxel, mm: one, or three (z, y, x).
        output: folder that gets contacts.parquet, contacts.csv and packing.csv.
        place: folder of the ledgers, and of the counts of blocks.
        within: what packing is measured of, in voxels of the image; all of it when absent.
        block_shape: of blocks, (z, y, x); the largest that is good and fits when absent.

    """

    labels: Location
    identity: str
    stated_spacing: StatedSpacing
    output: Location
    place: Location
    within: Region = field(default_factory=Region)
    block_shape: Shape | None = None

    @property
    def parameters(self) -> tuple[Any, ...]:
        """Content of the image, the edge of a voxel, the region, and where the files are."""
        return (self.identity, self.stated_spacing, self.within.facts, self.output.seen_from(self.place))

    @property
    def volume(self) -> Location:
        """Label image."""
        return self.labels

    @property
    def folder(self) -> Location:
        """Folder of the ledgers, and of the counts of blocks."""
        return self.place

    @property
    def spacing(self) -> StatedSpacing:
        """Edges of a voxel, mm."""
        return self.stated_spacing

    @property
    def results(self) -> Location:
        """Folder that gets the files."""
        return self.output

    @property
    def region(self) -> Region:
        """What packing is measured of."""
        return self.within


def _packing_file(site: Site, block: int) -> Location:
    return site.place / f"{block}-packing.npz"
