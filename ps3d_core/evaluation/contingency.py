"""Which predicted particle shares how many voxels with which true one.

The table is sparse: one entry per pair of labels that occur together, background (0) included. Both images are
walked once, along runs of an unchanging pair, and everything an evaluation needs (sizes, overlaps, unions) follows
from the entries. Entries of several blocks merge by adding up, in whole numbers, so the cut does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

from ps3d_core.errors import InputError
from ps3d_core.particles.label_index import as_labels

Labels = npt.NDArray[np.integer]
Integers = npt.NDArray[np.int64]

ENTRIES_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Contingency:
    """Pairs of labels and the voxels they share, sorted by (prediction, truth); three arrays of one length."""

    prediction: Integers
    truth: Integers
    voxels: Integers


def count_pairs(prediction: Labels, truth: Labels, names: tuple[str, str] = ("prediction", "truth")) -> Contingency:
    """Return the contingency table of two label arrays of one shape, which errors call by their `names`.

    Raise `InputError` when the shapes differ, or a label is negative, above 4294967295 or no whole number.
    """
    if prediction.shape != truth.shape:
        raise InputError(
            f"{names[0]} of {prediction.shape} voxels, {names[1]} of {truth.shape}: "
            "the shapes must be the same; give two label images of one scan"
        )
    pairs = as_labels(prediction, names[0]), as_labels(truth, names[1])
    keys, lengths = _runs(pairs[0].reshape(-1), pairs[1].reshape(-1))
    return _table(keys, lengths)


def merge(tables: Iterable[Contingency]) -> Contingency:
    """Return one table of everything the `tables` counted; they may arrive one at a time."""
    keys: list[npt.NDArray[np.uint64]] = []
    voxels: list[Integers] = []
    waiting = 0
    for table in tables:
        keys.append(_keys(table))
        voxels.append(table.voxels)
        waiting += len(table.voxels)
        if waiting > ENTRIES_AT_ONCE:
            merged = _table(np.concatenate(keys), np.concatenate(voxels))
            keys, voxels, waiting = [_keys(merged)], [merged.voxels], 0
    if not keys:
        return _table(np.empty(0, np.uint64), np.empty(0, np.int64))
    return _table(np.concatenate(keys), np.concatenate(voxels))


def _table(keys: npt.NDArray[np.uint64], voxels: Integers) -> Contingency:
    order = np.argsort(keys, kind="stable")
    keys, voxels = keys[order], voxels[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.empty(0, np.intp)
    unique = keys[starts]
    return Contingency(
        prediction=(unique >> np.uint64(32)).astype(np.int64),
        truth=(unique & np.uint64(0xFFFFFFFF)).astype(np.int64),
        voxels=np.add.reduceat(voxels, starts) if len(starts) else np.empty(0, np.int64),
    )


def _keys(table: Contingency) -> npt.NDArray[np.uint64]:
    return table.prediction.astype(np.uint64) << np.uint64(32) | table.truth.astype(np.uint64)


@njit(nogil=True, cache=True)
def _runs(
    prediction: npt.NDArray[np.uint32], truth: npt.NDArray[np.uint32]
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Runs of one unchanging pair: its key (prediction << 32 | truth) and its length."""
    n = prediction.size
    runs = min(n, 1)
    for i in range(1, n):
        if prediction[i] != prediction[i - 1] or truth[i] != truth[i - 1]:
            runs += 1
    keys = np.empty(runs, np.uint64)
    lengths = np.empty(runs, np.int64)
    run = 0
    start = 0
    for i in range(1, n + 1):
        if i == n or prediction[i] != prediction[start] or truth[i] != truth[start]:
            keys[run] = np.uint64(prediction[start]) << np.uint64(32) | np.uint64(truth[start])
            lengths[run] = i - start
            run += 1
            start = i
    return keys, lengths
