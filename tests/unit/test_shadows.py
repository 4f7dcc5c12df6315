"""Nothing in site-packages stands in for a module of Python itself.

nnU-Net's dependencies bring an argparse of 2010. Python takes its own, but a program that puts site-packages first on
its path takes that one and dies of it, like the servers that Prefect starts in the background.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def test_python_s_own_modules_are_not_hidden() -> None:
    packages = Path(sysconfig.get_path("purelib"))
    there = {path.stem for path in packages.glob("*.py")} | {
        path.parent.name for path in packages.glob("*/__init__.py")
    }
    hidden = there & sys.stdlib_module_names
    assert not hidden, f"remove {packages}/{hidden.pop()}.py, as `make setup` does"
