"""What lies at a place that cannot be used as it is: said in words, with what to give or to do instead.

Whoever needs a volume, a table or a result and is given another thing of ps3d's asks here what it is.
"""

from __future__ import annotations

from typing import Final, Literal

from ps3d_core.errors import InputError
from ps3d_core.store.layout import RUN, WORK
from ps3d_core.store.location import Location

Need = Literal["volume", "table", "result"]

MEASURING: Final = ".measure"
"""Folder of intermediates beside a table that is being made."""
_TABLE: Final = "particles.parquet"
_ZARR: Final = {"zarr.json", ".zgroup", ".zarray", ".zattrs"}
_TRAINING: Final = {"imagesTr", "labelsTr", "dataset.json"}
_RESULT: Final = "give the folder of a result, OUTPUT/NAME of ps3d segment"
_MEASURED: Final = "give the folder of a result, or of a table of ps3d measure"
_VOLUME: Final = "give a label image or a scan"
_OTHERWISE: Final[dict[Need, str]] = {"volume": _VOLUME, "table": _MEASURED, "result": _RESULT}

_NAME: Final[dict[Need, str]] = {"volume": "one volume", "table": "a table", "result": "a result"}
_OF_IMAGE: Final[dict[Need, str]] = {"table": "make one of labels with ps3d measure", "result": _RESULT}


def not_usable(place: Location, need: Need) -> InputError | None:
    """Return the error for a place that is given where `need` is needed: what is there, and a remedy.

    None where what is there is not known, or might be what is needed.
    """
    if not place.exists():
        return InputError(f"{place}: nothing there; check the path")
    names = set(place.children()) if place.is_dir() else None
    said = _of_file(place, need) if names is None else _of_folder(place, names, need)
    return None if said is None else InputError(f"{place}: {said}")


def unfinished(folder: Location) -> InputError | None:
    """Return the error for a folder whose result or table is not whole, or None."""
    said = _unfinished({name for name in (RUN, WORK, MEASURING) if (folder / name).exists()})
    return None if said is None else InputError(f"{folder}: {said}")


def _unfinished(names: set[str]) -> str | None:
    if WORK in names and RUN not in names:
        return "an unfinished result; wait for its run, or give ps3d segment again, which goes on with it"
    if MEASURING in names:
        return "an unfinished table; wait for its run, or give ps3d measure again"
    return None


def _of_file(place: Location, need: Need) -> str | None:
    if place.name.endswith(".parquet"):
        return {
            "volume": "a table, which has no labels; give the label image that was measured",
            "table": None,
            "result": f"a table, not a result; {_RESULT}",
        }[need]
    if need == "volume":
        return None
    if need == "table" and place.name.endswith(".csv"):
        return "a text table; give particles.parquet, which lies beside it"
    if need == "table" and place.read_start(4) == b"PAR1":
        return None
    if place.name == RUN:
        return f"the record of a result; give its folder, {place.parent}"
    return f"a file, not {_NAME[need]}; {_OTHERWISE[need]}"


def _of_folder(folder: Location, names: set[str], need: Need) -> str | None:
    if (said := _unfinished(names)) is not None:
        return said
    if RUN in names:
        labels = next((name for name in sorted(names) if name.endswith(".zarr")), "NAME.zarr")
        return f"a result, not one volume; give its label image, {folder / labels}" if need == "volume" else None
    if _TABLE in names:
        return {
            "volume": "a table of particles and no labels; give the label image that was measured",
            "table": None,
            "result": f"a table of ps3d measure, and no result, which has labels and a report; {_RESULT}",
        }[need]
    if _ZARR & names:
        return None if need == "volume" else f"an image, not {_NAME[need]}; {_OF_IMAGE[need]}"
    return _of_others(folder, names, need)


def _of_others(folder: Location, names: set[str], need: Need) -> str | None:
    """What a folder is that holds neither result nor image."""
    if not {name for name in names if not name.startswith(".")}:
        return f"an empty folder; check the path, or {_OTHERWISE[need]}"
    if "images" in names and (folder / "images").is_dir():
        instead = "segment its scans with ps3d segment, and give OUTPUT/NAME"
        if need == "volume":
            instead = f"give one of its scans, like {folder / 'images' / 'NAME.zarr'}"
        return f"a dataset, not {_NAME[need]}; {instead}"
    if "bundle.json" in names:
        return f"a model, not {_NAME[need]}; {_OTHERWISE[need]}"
    if _TRAINING & names:
        return f"training data, not {_NAME[need]}; {_OTHERWISE[need]}"
    results = sorted(name for name in names if not name.startswith(".") and (folder / name / RUN).is_file())
    if results:
        return f"a folder of results, not one of them; give one, like {folder / results[0]}"
    lacking = {"table": f"no {_TABLE} in it, nor in its folders", "result": f"no {RUN} in it"}.get(need)
    return None if lacking is None else f"{lacking}; {_OTHERWISE[need]}"
