"""Thin Prefect tasks: each checks its input, calls one function of ps3d_core and returns a small reference."""
