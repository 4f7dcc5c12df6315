"""The tutorial as printed, on a scan of a sixth of the size: from slices to a report, then its Python."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ps3d_core.record import read_record
from ps3d_core.store.layout import Result
from ps3d_core.store.location import Location
from tests.unit.test_docs import WRITTEN

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("server")]

TUTORIAL = WRITTEN["docs/tutorial/first-scan.md"]
PRINTED, SMALL = "--shape 64 96 96", "--shape 40 48 48"


def blocks(language: str) -> str:
    return "".join(re.findall(rf"^```{language}\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL))


def test_the_tutorial_leads_to_what_it_says(tmp_path: Path) -> None:
    script = blocks("sh")
    assert script.count(PRINTED) == 1
    run = ["/bin/sh", "-euc", script.replace(PRINTED, SMALL)]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = Result(Location.parse(tmp_path / "results"), "sand")
    record = read_record(result.run)
    assert record is not None
    assert record.particles > 3
    assert f"particles            {record.particles} found" in done.stdout
    assert result.report.exists()
    assert len(list((tmp_path / "labels").iterdir())) == 40
    python = subprocess.run([sys.executable, "-c", blocks("python")], cwd=tmp_path, capture_output=True, text=True)
    assert python.returncode == 0, python.stderr
    assert python.stdout.startswith(f"{record.particles} particles, ")
