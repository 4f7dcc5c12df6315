"""No damage to a header makes a reader crash, hang, take much memory, or accept what others read otherwise."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.formats.file_format import all_formats

FEW, MANY = 15, 300
NAMES = [form.name for form in all_formats()]
TOGETHER = 8
BATCHES = [NAMES[start : start + TOGETHER] for start in range(0, len(NAMES), TOGETHER)]
"""Formats that are damaged in one process: to start one takes as long as a few damages of a few formats."""


@pytest.mark.parametrize(
    ("names", "damages"),
    [
        *(pytest.param(names, FEW, id=f"{names[0]} to {names[-1]}") for names in BATCHES),
        *(pytest.param([name], MANY, id=name, marks=pytest.mark.soak) for name in NAMES),
    ],
)
def test_damaged_headers(names, damages, tmp_path):
    command = [sys.executable, "-m", "tests.formats.fuzz", str(damages), str(tmp_path), *names]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"after {done.stdout}: {done.stderr[-2000:]}"
    assert dict(map(json.loads, done.stdout.splitlines())) == {name: [] for name in names}
