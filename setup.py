"""Which folders go into a wheel, and under which names; everything else stands in pyproject.toml.

`flows`, `tasks` and `deployments` are names that people give their own packages, so an installation has ours inside
`ps3d_app`.
"""

from setuptools import find_packages, setup

APP = ("flows", "tasks", "deployments")

setup(
    packages=[
        *find_packages(include=["ps3d_core*"]),
        *(f"ps3d_app.{package}" for name in APP for package in find_packages(include=[name, f"{name}.*"])),
    ],
    package_dir={f"ps3d_app.{name}": name for name in APP},
)
