"""Prefect flows, and the `ps3d` command that runs them."""

import os

from ps3d_core.memory import share_heaps

# Every program of this project, the processes in which Prefect runs flows among them, begins here.
share_heaps()
# None of the processes that it starts takes modules from the folder where the user happens to be: a random.py of theirs
# would stand in for Python's.
os.environ["PYTHONSAFEPATH"] = "1"
# Prefect reports to its makers that it was imported, and says so on a terminal; nothing leaves the machine.
os.environ.setdefault("DO_NOT_TRACK", "1")
