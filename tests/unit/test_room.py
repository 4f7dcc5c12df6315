"""What cannot fit on the disk is refused before it is begun; what might fit is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ps3d_core.errors import InputError
from ps3d_core.store.location import Location
from ps3d_core.store.room import free_bytes, require_room


def test_the_disk_is_that_of_the_nearest_folder(tmp_path: Path) -> None:
    there = shutil.disk_usage(tmp_path).free
    assert free_bytes(Location.parse(tmp_path / "not" / "yet")) == pytest.approx(there, rel=0.1)
    assert free_bytes(Location.parse("memory://place")) is None


def test_only_what_cannot_fit_is_refused(tmp_path: Path) -> None:
    place, free = Location.parse(tmp_path), shutil.disk_usage(tmp_path).free
    require_room(place, 2 * free)  # labels compress well
    require_room(Location.parse("memory://place"), 10**20)
    with pytest.raises(InputError, match=r"GiB free; at least .* GiB will be written there.*make room, or wait"):
        require_room(place, 100 * free, "wait")
