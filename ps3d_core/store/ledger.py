"""What is finished: the memory that lets a crashed run go on, and trusts nothing that has changed since.

One small JSON file per block, written after the block's data: what the block found, and size and digest of every
object that it wrote. An entry counts as long as it is what was written, for this stage, these inputs and parameters
and this block, and every object is still what the entry says. So changed parameters redo the stage, damage redoes the
blocks that it hit, and unchanged ones redo nothing. A step that is done as a whole is a ledger of one entry.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.store.digest import Digest
from ps3d_core.store.location import Location
from ps3d_core.store.seal import sealed, unsealed
from ps3d_core.store.whole import digest_of, still_as_written
from ps3d_core.store.written import Written

Record = dict[str, Any]


def fingerprint(*parts: Any) -> str:
    """Return a digest of JSON-able `parts`: 32 hexadecimal digits, the same on every machine."""
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Entry:
    """Record and digests that a finished block, or step, left behind.

    record: what it found.
    wrote: digests of what it wrote, by place relative to the ledger's root: a folder may be moved with its ledger.
    """

    record: Record
    wrote: dict[str, Digest]


@dataclass(frozen=True, slots=True)
class Ledger:
    """Finished blocks of one `stage` below `root` for inputs and parameters with this `fingerprint`."""

    root: Location
    stage: str
    fingerprint: str

    @property
    def location(self) -> Location:
        """Folder of the entries; another fingerprint has another folder."""
        return self.root / "ledger" / self.stage / self.fingerprint

    def entries(self) -> dict[int, Entry]:
        """Return the undamaged entries by block index, whether or not what they wrote is still there."""
        stems = [name.removesuffix(".json") for name in self.location.children() if name.endswith(".json")]
        entries = {int(stem): self._read(int(stem)) for stem in stems if stem.isdecimal()}
        return {index: entry for index, entry in entries.items() if entry is not None}

    def records(self) -> dict[int, Record]:
        """Return the records of all entries, for callers who know that they are whole: the stage has just been run."""
        return {index: entry.record for index, entry in self.entries().items()}

    def finished(self) -> dict[int, Record]:
        """Return the records, by block index, of finished blocks whose objects are all as they were written."""
        entries = self.entries()
        whole = still_as_written(
            {self._at(name): digest for entry in entries.values() for name, digest in entry.wrote.items()}
        )
        return {
            index: entry.record
            for index, entry in entries.items()
            if all(self._at(name) in whole for name in entry.wrote)
        }

    def written(self) -> Written:
        """Return all that undamaged entries say was written: digests by URL."""
        return {self._at(name).url: digest for entry in self.entries().values() for name, digest in entry.wrote.items()}

    def kept(self) -> Entry | None:
        """Return the entry of a step that is done as a whole, if what it wrote is as it was, else None."""
        entry = self.entries().get(0)
        if entry is None:
            return None
        return entry if all(digest_of(self._at(name)) == digest for name, digest in entry.wrote.items()) else None

    def keep(self, record: Mapping[str, Any], outputs: Mapping[Location, Digest]) -> None:
        """Enter a step that is done as a whole and wrote these `outputs`."""
        self._write(0, record, {output.url: digest for output, digest in outputs.items()})

    def record(self, block_index: int, record: Mapping[str, Any], written: Written | None = None) -> None:
        """Mark a block as finished, after all it writes is on the store; `written` is what `noting_writes` saw."""
        self._write(block_index, record, written or {})

    def clear(self) -> None:
        """Forget all entries, because what they say was written is no longer there."""
        self.location.remove_tree()

    def _write(self, index: int, record: Mapping[str, Any], wrote: Mapping[str, Digest]) -> None:
        names = {Location(url).seen_from(self.root): asdict(digest) for url, digest in wrote.items()}
        content = sealed({"record": dict(record), "wrote": names}, self.stage, self.fingerprint, index)
        (self.location / f"{index}.json").write_json(content)

    def _read(self, index: int) -> Entry | None:
        try:
            stored = (self.location / f"{index}.json").read_json()
        except (InputError, MissingDataError):
            return None
        content = unsealed(stored, self.stage, self.fingerprint, index)
        if content is None:
            return None
        return Entry(content["record"], {name: Digest(**digest) for name, digest in content["wrote"].items()})

    def _at(self, name: str) -> Location:
        place = self.root
        while name.startswith("../"):
            place, name = place.parent, name.removeprefix("../")
        return place / name
