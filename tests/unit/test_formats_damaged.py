"""No damage to a header makes a reader crash, hang, take much memory, or accept what others read otherwise."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.formats.file_format import all_formats

FEW, MANY = 40, 300


@pytest.mark.parametrize("damages", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])
@pytest.mark.parametrize("form", all_formats(), ids=str)
def test_damaged_headers(form, damages, tmp_path):
    command = [sys.executable, "-m", "tests.formats.fuzz", form.name, str(damages), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads(done.stdout) == []
