"""Prefect flows, and the `ps3d` command that runs them."""
