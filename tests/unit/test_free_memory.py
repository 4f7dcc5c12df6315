"""What is free: of the machine, or below a container's limit."""

from pathlib import Path

import psutil
import pytest

from ps3d_core.free_memory import free_bytes

MIB = 2**20


def group(folder: Path, limit: str, used: int, inactive: int) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\nactive_file 7\ninactive_file {inactive}\n")
    return folder


def test_below_a_limit_what_is_left_counts_and_copies_of_files_do_not(tmp_path: Path) -> None:
    assert free_bytes(group(tmp_path, str(64 * MIB), used=50 * MIB, inactive=20 * MIB)) == 34 * MIB


def test_above_its_limit_nothing_is_free(tmp_path: Path) -> None:
    assert free_bytes(group(tmp_path, str(64 * MIB), used=70 * MIB, inactive=0)) == 0


@pytest.mark.parametrize("limit", ["max", str(2**62), "nonsense"])
def test_without_a_limit_that_says_something_the_machine_counts(tmp_path: Path, limit: str) -> None:
    assert_is_of_the_machine(group(tmp_path, limit, used=0, inactive=0))


def test_without_control_groups_the_machine_counts(tmp_path: Path) -> None:
    assert_is_of_the_machine(tmp_path)


def assert_is_of_the_machine(folder: Path) -> None:
    """Others take and give back memory meanwhile."""
    before, found, after = psutil.virtual_memory().available, free_bytes(folder), psutil.virtual_memory().available
    assert 0.7 * min(before, after) < found < 1.3 * max(before, after)
