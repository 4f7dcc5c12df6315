"""Which blocks of a stage are finished: the memory that lets a crashed run go on.

One small JSON file per block, written after the block's data. An entry counts only when it carries the fingerprint
of the stage's inputs and parameters, so changed parameters redo the stage and unchanged ones redo nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.store.location import Location

Record = dict[str, Any]


def fingerprint(*parts: Any) -> str:
    """Digest of JSON-able `parts`: 32 hexadecimal digits, the same on every machine."""
    text = json.dumps(parts, sort_keys=True, default=str, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def read_entry(location: Location) -> Record | None:
    """The record in a file, None when there is none, or a damaged one, as a machine that lost power may leave it."""
    try:
        entry = location.read_json()
    except (InputError, MissingDataError):
        return None
    return entry if isinstance(entry, dict) else None


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

    def finished(self) -> dict[int, Record]:
        """Records of all finished blocks by block index."""
        stems = [name.removesuffix(".json") for name in self.location.children() if name.endswith(".json")]
        records = {int(stem): read_entry(self.location / f"{stem}.json") for stem in stems if stem.isdecimal()}
        return {index: record for index, record in records.items() if record is not None}

    def record(self, block_index: int, record: Mapping[str, Any]) -> None:
        """Mark a block as finished, after all it writes is on the store."""
        (self.location / f"{block_index}.json").write_json(dict(record))

    def clear(self) -> None:
        """Forget all entries, because what they say was written is no longer there."""
        self.location.remove_tree()
