"""The reference's training targets and label resampling."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ps3d_core.border_core.vote import vote_labels
from ps3d_core.training.targets import border_core

DATA = Path(__file__).parent / "data"
HALF = Fraction(1, 2)
LABELS_LOOKED_AT = 8


def arrays(name: str) -> dict[str, npt.NDArray[Any]]:
    with np.load(DATA / name, allow_pickle=False) as stored:
        return dict(stored)


def test_border_core_is_equal_voxel_for_voxel() -> None:
    stored = arrays("train_bordercore_dense_128.npz")
    classes = border_core(stored["inst"], 3)
    assert classes.dtype == np.uint8
    np.testing.assert_array_equal(classes, stored["border_core"])


def test_resampled_labels_differ_only_where_no_label_has_more_than_half_the_weight() -> None:
    stored = arrays("train_resample_dense_128_to_96.npz")
    instances, expected = stored["inst"].astype(np.uint32), stored["resampled"]
    labels = vote_labels(instances, expected.shape, ties="higher")
    differing = [tuple(voxel) for voxel in np.argwhere(labels != expected).tolist()]
    assert 1 - len(differing) / expected.size >= 0.995

    shares = {voxel: exact_shares(instances, expected.shape, voxel) for voxel in differing}
    assert all(max(of_voxel.values()) <= HALF for of_voxel in shares.values())
    halves = [voxel for voxel, of_voxel in shares.items() if max(of_voxel.values()) == HALF]
    # Most have less than half, whatever the label. The rest are exact halves, where the higher label is right by the
    # rule; the reference computes with float32, in which that label's share comes out a millionth below half.
    assert len(halves) < len(differing) / 2
    assert all(shares[voxel][labels[voxel]] == HALF for voxel in halves)
    taken = Counter(int(labels[voxel]) for voxel in halves)
    for label, _ in taken.most_common(LABELS_LOOKED_AT):
        share = float32_share(instances == label, expected.shape)
        at_halves = np.array([share[voxel] for voxel in halves if labels[voxel] == label])
        assert ((at_halves < 0.5) & (at_halves > 0.5 - 1e-5)).all()


def exact_shares(labels: npt.NDArray[Any], shape: tuple[int, ...], voxel: tuple[int, ...]) -> dict[int, Fraction]:
    """Trilinear weight of every label at a voxel of a grid of `shape`."""
    centres = [Fraction((2 * t + 1) * n, 2 * m) - HALF for t, n, m in zip(voxel, labels.shape, shape, strict=True)]
    shares: dict[int, Fraction] = {}
    for corner in product((0, 1), repeat=3):
        weight, index = Fraction(1), []
        for centre, upper, n in zip(centres, corner, labels.shape, strict=True):
            fraction = centre - (centre // 1)
            weight *= fraction if upper else 1 - fraction
            index.append(min(max(centre // 1 + upper, 0), n - 1))
        label = int(labels[tuple(index)])
        shares[label] = shares.get(label, Fraction(0)) + weight
    return shares


def float32_share(mask: npt.NDArray[np.bool_], shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """One label's weight on a grid of `shape`, interpolated the way the reference does it."""
    image = torch.from_numpy(mask.astype(np.float32))[None, None]
    interpolated: npt.NDArray[np.float32] = torch.nn.functional.interpolate(image, shape, mode="trilinear")[
        0, 0
    ].numpy()
    return interpolated
