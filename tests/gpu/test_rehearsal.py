"""The script for a GPU runs from start to end on a CPU, before anybody waits for it on a rented machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.mark.soak
def test_rehearsal_on_the_cpu():
    environment = {**os.environ, "PYTHONSAFEPATH": ""}  # the script finds its neighbours, as by hand
    command = [sys.executable, SCRIPT, "--rehearse"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["labels"]["differing_voxels"] == 0
    assert facts["resume"]["killed"]
    assert facts["resume"]["same_bytes"]
    assert facts["predict nnunet"]["patches"] == 27
