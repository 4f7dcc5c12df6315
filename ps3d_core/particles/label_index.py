"""Rows for the labels of one block: a block knows its own labels only, whatever numbers they carry.

Labels may be any 32-bit numbers with gaps, so an array over all labels of the scan would be wasteful or impossible.
An open-addressing hash table with linear probing maps the labels of the block to rows 0, 1, ... in rising order of
label. Background is 0, which marks empty places. Kernels look a label up once per run of equal voxels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.errors import InputError

Labels = npt.NDArray[np.uint32]

MAX_LABEL = 2**32 - 1
_FIRST_PLACES = 1 << 10


class LabelIndex(NamedTuple):
    """Table of `labels` in rising order; `row_of` finds the position of one through `places` and `rows`."""

    labels: Labels
    places: Labels
    rows: npt.NDArray[np.int32]


def as_labels(array: npt.NDArray[Any], what: str) -> Labels:
    """Return `array` as uint32, whatever type of numbers holds the whole ones.

    Raise `InputError`, which calls the array `what`, when there is any other number.
    """
    if array.dtype == np.uint32:
        return array
    if array.dtype.kind not in "iubf":
        raise InputError(f"{what} of type {array.dtype}: labels must be integers; give a label image")
    if array.dtype.kind == "f":
        wrong = array[~(np.isfinite(array) & (np.rint(array) == array))]
        if wrong.size:
            raise InputError(f"{what} with value {wrong[0]}: labels are whole numbers; give a label image")
    if array.size and (array.dtype.kind in "if" or array.dtype.itemsize > 4):
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > MAX_LABEL:
            raise InputError(f"{what} with labels {low} to {high}: the limits are 0 and {MAX_LABEL}; number them anew")
    return array.astype(np.uint32)


def index_labels(labels: Labels) -> LabelIndex:
    """Return an index of all labels above 0 in a (z, y, x) block."""
    found, places = _distinct(labels)
    found.sort()
    rows = np.empty(len(places), np.int32)
    _number(found, places, rows)
    return LabelIndex(found, places, rows)


@njit(nogil=True, cache=True)
def row_of(label: np.uint32, index: LabelIndex) -> int:
    """Return the row of a label that is in the index. For kernels."""
    return int(index.rows[_place(label, index.places)])


@njit(nogil=True, cache=True)
def _place(label: np.uint32, places: Labels) -> int:
    """Where `label` is, or where it would go."""
    last = places.size - 1
    # Multiplication by an odd constant near 2^32 / golden ratio spreads consecutive labels over the table.
    place = int(label) * 2654435761 >> 7 & last
    while places[place] != 0 and places[place] != label:
        place = (place + 1) & last
    return place


@njit(nogil=True, cache=True)
def _distinct(labels: Labels) -> tuple[Labels, Labels]:
    """Labels above 0 in order of appearance, and the hash table that holds them."""
    places = np.zeros(_FIRST_PLACES, np.uint32)
    found = np.empty(_FIRST_PLACES // 2, np.uint32)
    n = 0
    nz, ny, nx = labels.shape
    for z in range(nz):
        for y in range(ny):
            before = np.uint32(0)
            for x in range(nx):
                label = labels[z, y, x]
                if label == before:
                    continue
                before = label
                if label == 0:
                    continue
                place = _place(label, places)
                if places[place] == label:
                    continue
                if n == found.size:
                    # Half full: twice the places keep the probes short.
                    found = np.concatenate((found, np.empty(n, np.uint32)))
                    places = np.zeros(2 * places.size, np.uint32)
                    for i in range(n):
                        places[_place(found[i], places)] = found[i]
                    place = _place(label, places)
                places[place] = label
                found[n] = label
                n += 1
    return found[:n].copy(), places


@njit(nogil=True, cache=True)
def _number(found: Labels, places: Labels, rows: npt.NDArray[np.int32]) -> None:
    for i in range(found.size):
        rows[_place(found[i], places)] = i
