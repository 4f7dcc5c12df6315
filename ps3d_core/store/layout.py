"""Where everything lies: a dataset of scans, and the results of one scan."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.geometry.spacing import Spacing, StatedSpacing, mean_spacing, per_axis
from ps3d_core.invalid import first_problem
from ps3d_core.quantities import StatedPolarity, StatedSize, VoxelEdges
from ps3d_core.spelling import meant
from ps3d_core.store.lease import Say, in_turn
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import (
    WORK_FILES,
    ZARR_FILES,
    remove_if_empty,
    remove_own,
    work_is_own,
    zarr_is_own,
)
from ps3d_core.store.publishing import RECEIPT, is_published, read_receipt, withdraw, withdraw_products
from ps3d_core.store.staging import is_unfinished

RUN, WORK, LEASE = "run.json", ".work", ".lease"
MAX_NAME = 128
USABLE = f"1 to {MAX_NAME} bytes of printable characters, none of them / \\ * ? [, and not begin with a dot"
_SPECIAL = set("/\\*?[")


class ScanInfo(BaseModel):
    """Entry of metadata.json: what is known of a scan besides its voxels."""

    model_config = ConfigDict(frozen=True, extra="allow")

    spacing: VoxelEdges = Field(description="edge of a voxel, mm; three (z, y, x) where they differ")
    particle_size: StatedSize = Field(description="mean particle diameter, mm, or auto: a look at the scan finds it")
    particles: StatedPolarity = Field(
        default="bright", description="particles are brighter or darker than what is around them; auto: as a look finds"
    )

    @property
    def spacing_zyx(self) -> Spacing:
        """Edges of a voxel (z, y, x), mm."""
        return per_axis(self.spacing)

    @property
    def mean_spacing(self) -> float:
        """Edge of the cube that has the volume of a voxel, mm: for what is counted in voxels along no axis."""
        return mean_spacing(self.spacing)

    @property
    def particle_size_mm(self) -> float:
        """Mean particle diameter, mm; raise `InputError` where it is still to be found."""
        if self.particle_size == "auto":
            raise InputError(
                "particle size auto: it has not been found yet; look for it with ps3d inspect, and state it"
            )
        return self.particle_size

    @property
    def is_dark(self) -> bool:
        """Whether particles are darker than what is around them; raise `InputError` where it is still to be found."""
        if self.particles == "auto":
            raise InputError(
                "particles auto: it has not been found yet whether they are bright or dark; look with ps3d inspect, "
                "and state it"
            )
        return self.particles == "dark"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A folder of scans with metadata.json."""

    root: Location

    @property
    def metadata(self) -> Location:
        """metadata.json: {name: {"spacing": mm or [z, y, x] in mm, "particle_size": mm}}."""
        return self.root / "metadata.json"

    @property
    def zscore(self) -> Location:
        """zscore.json: mean and standard deviation of grey values over the dataset."""
        return self.root / "zscore.json"

    @property
    def zscore_work(self) -> Location:
        """Folder of what an unfinished z-score has found so far."""
        return self.root / ".zscore"

    def sample(self, name: str) -> Location:
        """File of what a laboratory says of the sample of a scan: {field: text}. People may edit it."""
        return self.root / "samples" / f"{checked_name(name)}.json"

    def inspections(self, name: str) -> Location:
        """Folder of what models saw when they looked at a scan."""
        return self.root / "inspections" / checked_name(name)

    def image(self, name: str) -> Location:
        """OME-Zarr image of a scan."""
        return self.root / "images" / f"{checked_name(name)}.zarr"

    def truth(self, name: str) -> Location:
        """OME-Zarr instance labels of a scan, for training and evaluation."""
        return self.root / "instance_seg" / f"{checked_name(name)}.zarr"

    def composition(self, name: str) -> Location:
        """Table of what the particles of a synthetic scan are made of."""
        return self.root / "composition" / f"{checked_name(name)}.csv"

    def names(self) -> list[str]:
        """Return the names of the scans in images/, sorted."""
        images = self.root / "images"
        names = [name for name in images.children() if name.endswith(".zarr") and (images / name).exists()]
        return [name.removesuffix(".zarr") for name in names]

    def require_names(self) -> list[str]:
        """Return the names of the scans in images/, sorted; raise `InputError` when there are none."""
        if not (names := self.names()):
            raise self.without_scans()
        return names

    def without_scans(self) -> InputError:
        """Return the error for a place given as a dataset that has no scans: what is there, and what to do."""
        if not self.root.exists():
            return InputError(f"{self.root}: nothing there; check the path, or bring a scan in with ps3d ingest")
        files = [name for name in self.root.children() if not name.startswith(".")]
        if not self.root.is_dir() or "zarr.json" in files or ".zattrs" in files or ".zarray" in files:
            return InputError(f"{self.root}: a scan, not a dataset; bring it into one with ps3d ingest")
        if (self.root / "images").exists() or not files:
            return InputError(f"{self.root}: no scans in images/; bring one in with ps3d ingest")
        return InputError(f"{self.root}: no dataset, there is no images/ in it; make one with ps3d ingest")

    def read_metadata(self) -> dict[str, ScanInfo]:
        """Return all entries of metadata.json by scan name, validated; empty when there is no such file.

        Raise `InputError` when an entry is not valid.
        """
        if not self.metadata.exists():
            return {}
        try:
            return _METADATA.validate_python(self.metadata.read_json())
        except ValidationError as error:
            raise InputError(f"{self.metadata}: {first_problem(error)}") from error

    def scan_info(self, name: str) -> ScanInfo:
        """Return spacing and particle size (mm) of one scan; raise `InputError` when metadata.json lacks it."""
        metadata = self.read_metadata()
        if not metadata and not self.names():
            raise self.without_scans()
        if name not in metadata:
            raise InputError(f"scan {name!r}: not in {self.metadata} ({instead_of(name, metadata)})", *ABSENT)
        return metadata[name]

    def require_image(self, name: str) -> Location:
        """Return the image of a scan, which must exist.

        Raise `MissingDataError` when it does not, `InputError` when its ingest has not ended or was interrupted.
        """
        image = self.image(name)
        if not image.exists():
            raise MissingDataError(f"scan {name!r}: no image at {image}", "ingest it first (ps3d ingest)")
        if is_unfinished(image):
            raise InputError(
                f"scan {name!r}: its ingest has not ended, or was interrupted, {image}; wait for it, or give it again"
            )
        return image

    def add_scan(
        self,
        name: str,
        spacing: StatedSpacing,
        particle_size: StatedSize,
        say: Say = lambda text: None,
        *,
        particles: StatedPolarity = "bright",
    ) -> None:
        """Enter a scan in metadata.json, replacing an entry of the same name. Others may enter scans meanwhile.

        `say` is told when it takes a minute to find out whether one of them is still at it.
        """
        try:
            info = ScanInfo(spacing=spacing, particle_size=particle_size, particles=particles)
        except ValidationError as error:
            raise InputError(f"{first_problem(error).text}; give a length in mm") from error
        with self._metadata_for_us(say):
            self.metadata.write_json({**self._entries(), checked_name(name): _entry(info)})

    def remove_scan(self, name: str) -> None:
        """Remove a scan's image and its entry in metadata.json; absence is fine."""
        with self._metadata_for_us():
            entries = self._entries()
            if entries.pop(name, None) is not None:
                self.metadata.write_json(entries)
        self.sample(name).remove_tree()
        if zarr_is_own(self.image(name)):
            remove_own(self.image(name), ZARR_FILES)

    def _entries(self) -> dict[str, Any]:
        return {key: _entry(info) for key, info in self.read_metadata().items()}

    def _metadata_for_us(self, say: Say = lambda text: None) -> AbstractContextManager[None]:
        # Several processes may bring scans in at the same time, and each writes the whole file.
        return in_turn(self.root / ".metadata", f"{self.metadata}", say, tidy=True)


@dataclass(frozen=True, slots=True)
class Result:
    """The results of one scan: OUTPUT/NAME/."""

    output: Location
    scan: str

    @property
    def root(self) -> Location:
        """Folder of all files of the result, OUTPUT/NAME/."""
        return self.output / checked_name(self.scan)

    @property
    def labels(self) -> Location:
        """OME-Zarr label image, uint32, shape of the scan."""
        return self.root / f"{self.scan}.zarr"

    @property
    def table_parquet(self) -> Location:
        """Table with one row per particle, as Parquet."""
        return self.root / "particles.parquet"

    @property
    def table_csv(self) -> Location:
        """Table with one row per particle, as text."""
        return self.root / "particles.csv"

    @property
    def report(self) -> Location:
        """Self-contained page with pictures and the size distribution."""
        return self.root / "report.html"

    @property
    def pdf(self) -> Location:
        """The page as it was printed, where somebody wanted it on paper; no part of the result."""
        return self.root / "report.pdf"

    @property
    def crate(self) -> Location:
        """RO-Crate metadata: what the files are and how they came about, for repositories of research data."""
        return self.root / "ro-crate-metadata.json"

    @property
    def parts(self) -> dict[str, Location]:
        """Parts of a whole result besides run.json, by their names in run.json."""
        return {
            "labels": self.labels,
            "parquet": self.table_parquet,
            "csv": self.table_csv,
            "report": self.report,
            "crate": self.crate,
        }

    @property
    def run(self) -> Location:
        """run.json: written last; what was run, on what, and how it went."""
        return self.root / RUN

    @property
    def work(self) -> Location:
        """Folder of intermediates and ledger, removed after success."""
        return self.root / WORK

    @property
    def lease(self) -> Location:
        """Folder that says who works on this result at present."""
        return self.root / LEASE

    def remove_work(self) -> None:
        """Remove intermediates; what says that they are whole goes first, in case this is interrupted."""
        if work_is_own(self.work):
            for part in (self.work / "ledger", self.work):
                remove_own(part, WORK_FILES)

    def remove(self) -> None:
        """Remove what a run has made here, whole or broken off; the folder when nothing else is in it."""
        # What marks a whole result goes first, in case this is interrupted.
        for name in sorted(read_receipt(self.root), key=RUN.__ne__):
            if is_published(self.root / name):
                withdraw(self.root / name)
        self.remove_work()
        withdraw_products(self.labels)
        if zarr_is_own(self.labels):
            remove_own(self.labels, ZARR_FILES)
        (self.root / RECEIPT).remove_tree()
        if (path := self.root.local_path) is not None:
            remove_if_empty(path)


def checked_name(name: str) -> str:
    """Return `name`; raise `InputError` unless it can safely be one folder name on every store."""
    if not is_usable(name):
        raise InputError(f"scan name {name[:60]!r}: must be {USABLE}", "give another <name>")
    return name


def is_usable(name: str) -> bool:
    """Return whether `name` can be a scan's: one folder name on every store, and no pattern that matches others."""
    return bool(
        name and name.isprintable() and not set(name) & _SPECIAL and name[0] != "." and len(name.encode()) <= MAX_NAME
    )


_NAMED: Final = 10
ABSENT: Final = ("ingest it first", "give another <name>")


def instead_of(name: str, names: Collection[str]) -> str:
    """Return a text on the scans there are instead of `name`: the one that was probably meant, or some of all."""
    if (close := meant(name.removesuffix(".zarr"), names)) is not None:
        return f"did you mean {close!r}?"
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"there: {', '.join(sorted(names)[:_NAMED]) or 'none'}{more}"


def _entry(info: ScanInfo) -> dict[str, Any]:
    """What metadata.json says of a scan; of what is usual it says nothing, as other programs expect it."""
    return info.model_dump(exclude_defaults=True)


_METADATA = TypeAdapter(dict[str, ScanInfo])
