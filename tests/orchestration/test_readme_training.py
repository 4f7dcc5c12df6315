"""The script in the README's chapter on training one's own model, run as it is printed there."""

from __future__ import annotations

import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from ps3d_core.network.bundle import load_bundle
from ps3d_core.record import read_record
from ps3d_core.store.layout import Result
from ps3d_core.store.location import Location

README = Path(__file__).parents[2] / "README.md"

pytestmark = pytest.mark.usefixtures("server")  # commands join it instead of starting one each


def script() -> str:
    [chapter] = re.findall(r"^## Your own model\n(.*?)^## ", README.read_text(), re.MULTILINE | re.DOTALL)
    return textwrap.dedent("".join(re.findall(r"^    .*\n", chapter, re.MULTILINE)))


def test_from_slices_and_labels_to_a_model_in_use(tmp_path: Path) -> None:
    done = subprocess.run(["/bin/sh", "-euc", script()], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    bundle = load_bundle(str(tmp_path / "my-model"))
    assert bundle.info.target_particle_size == 14
    assert len(bundle.info.accuracy) == 2
    result = Result(Location.parse(tmp_path / "results"), "ore-1")
    record = read_record(result.run)
    assert record is not None
    assert record.model["digest"] == bundle.info.digest
    assert record.particles >= 1
    assert result.table_csv.exists()
    assert "ps3d segment DATA RESULTS --model my-model" in done.stdout
