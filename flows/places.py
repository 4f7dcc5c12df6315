"""Folders and URLs that flows are given: a worker runs elsewhere than where the form was filled in."""

from __future__ import annotations

from pathlib import Path

from prefect.runtime import deployment

from ps3d_core.errors import InputError
from ps3d_core.store.location import Location


def place(text: str) -> Location:
    """Return the location that a text names.

    Raise `InputError` when the path is relative in a run of a deployment, whose folder is a passing one.
    """
    if deployment.id and "://" not in text and not Path(text).expanduser().is_absolute():
        raise InputError(
            f"{text!r}: a relative path means nothing to a worker; give a URL like s3://bucket/folder, or an absolute "
            "path on the worker's machine"
        )
    return Location.parse(text)
