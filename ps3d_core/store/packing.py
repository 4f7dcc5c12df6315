"""Numbers that are stored for others: by the CF conventions a value is what is stored, times a factor, plus an offset.

Neither is applied here. Grey values are only compared with one another and normalised, which comes to the same; but who
knows the values from another program should hear of it.
"""

from __future__ import annotations

from typing import Any, Final

import zarr

_CHANGES_NOTHING: Final = {"scale_factor": 1, "add_offset": 0}


def packing_notes(array: zarr.Array[Any]) -> tuple[str, ...]:
    """Return a note on the factor and offset that the attributes of an opened `array` ask for; empty without any."""
    attributes: Any = array.metadata.attributes
    if not isinstance(attributes, dict):
        return ()
    asked = [
        f"{name} {attributes[name]}"
        for name, nothing in _CHANGES_NOTHING.items()
        if attributes.get(name, nothing) != nothing
    ]
    if not asked:
        return ()
    return (f"its attributes say {' and '.join(asked)}, which are not applied: voxels are taken as they are stored",)
