"""Prefect flows, and the `ps3d` command that runs them."""

from ps3d_core.memory import share_heaps

# Every program of this project, the processes in which Prefect runs flows among them, begins here.
share_heaps()
