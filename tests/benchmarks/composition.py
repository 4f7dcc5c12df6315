"""Composition against particles of known minerals, beside plain thresholds: noise, blur, sizes; and what it costs."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from ps3d_core.composition.measure import Composition
from ps3d_core.phases import Phases, phases_of
from tests.composed import Composed, composed

GREYS = (90.0, 150.0, 220.0)
NAMES = ("dark", "middle", "bright")
TEXTS = ("dark=55:120", "middle=120:185", "bright=185:260")
CASES = {"middle absent": (0, 2), "all three": (0, 1, 2), "dark and middle": (0, 1), "bright alone": (2,)}


def thresholds(sample: Composed) -> np.ndarray:
    """Shares by the phase that each voxel's own grey value is in."""
    phase = np.digitize(sample.grey, [120, 185])
    counts = [np.bincount(sample.labels[phase == p], minlength=len(sample.voxels) + 1)[1:] for p in range(3)]
    return np.stack(counts, axis=1) / sample.voxels[:, None]


def measured(sample: Composed, phases: Phases) -> tuple[np.ndarray, np.ndarray]:
    values = Composition(phases).values(sample.cutout)
    return (
        np.stack([values[f"phase_{name}_share"] for name in NAMES], axis=1),
        np.stack([values[f"phase_{name}_exposed"] for name in NAMES], axis=1),
    )


def modal(shares: np.ndarray, voxels: np.ndarray) -> np.ndarray:
    return 100 * (shares * voxels[:, None]).sum(axis=0) / voxels.sum()


def line(sample: Composed, shares: np.ndarray) -> str:
    off = np.abs(shares - sample.truth).max(axis=1)
    wrong = modal(shares, sample.voxels) - modal(sample.truth, sample.voxels)
    return f"{' '.join(f'{w:+5.1f}' for w in wrong)}   {100 * np.mean(off <= 0.05):4.0f} %"


def liberation(sample: Composed, shares: np.ndarray) -> float:
    """Largest distance of a liberation curve to the true one, points."""
    worst = 0.0
    for p in range(3):
        whole = (sample.truth[:, p] * sample.voxels).sum()
        if whole > 0.02 * sample.voxels.sum():
            curves = []
            for grades in (shares[:, p], sample.truth[:, p]):
                own = grades * sample.voxels
                curves.append([own[grades >= cut - 0.005].sum() / own.sum() for cut in np.linspace(0.05, 0.95, 19)])
            worst = max(worst, float(np.mean(np.abs(np.subtract(*curves)))))
    return 100 * worst


def row(name: str, sample: Composed) -> str:
    shares, exposed = measured(sample, phases_of(TEXTS))
    off = np.abs(exposed - sample.surface).max(axis=1)
    plain = thresholds(sample)
    return (
        f"{name:40} | {line(sample, plain)} {liberation(sample, plain):5.1f} | {line(sample, shares)}"
        f" {liberation(sample, shares):5.1f} | {100 * np.mean(off <= 0.1):3.0f} %"
    )


def accuracy(number: int, blurs: tuple[float, ...], noises: tuple[float, ...]) -> None:
    print("error of the modal composition, points: dark middle bright; particles within 5 points; mean distance of the")
    print("liberation curve, points: by thresholds | by ps3d | exposed shares within 10 points")
    for name, minerals in CASES.items():
        for blur in blurs:
            for noise in noises:
                s = composed(number, 20.0, minerals, GREYS, blur=blur, noise=noise, seed=1)
                print(row(f"{name}, blur {blur}, noise {noise:g}", s), flush=True)
    for cover, what in ((0.3, "large"), (0.7, "small")):
        s = composed(number, 20.0, (0, 2), GREYS, blur=1.0, noise=5.0, seed=1, cover=cover)
        print(row(f"middle absent, labels too {what}", s), flush=True)
    for minerals in ((0, 1), (0, 2), (0, 1, 2)):
        s = composed(number, 20.0, minerals, GREYS, blur=0.8, noise=5.0, seed=1, kinds=("rim",))
        print(row(f"rims of 1.6 to 4 voxels, {len(minerals)} minerals", s), flush=True)


def speed() -> None:
    for diameter in (10, 20, 60):
        number = {10: 400, 20: 200, 60: 9}[diameter]
        s = composed(number, diameter, (0, 1, 2), GREYS, seed=2)
        for noise in (0.0, 20.0):
            phases = phases_of(TEXTS).model_copy(update={"noise": {"grey": noise}})
            measure, cutout = Composition(phases), s.cutout
            measure.values(cutout)
            best = min(timed(measure, cutout) for _ in range(3))
            kind = "smoothed" if noise else "as it is"
            print(f"{diameter:3} voxels, {kind}: {1e6 * best / number:8.0f} us per particle")


def timed(measure: Composition, cutout) -> float:
    start = time.perf_counter()
    measure.values(cutout)
    return time.perf_counter() - start


if __name__ == "__main__":
    accuracy(80, (0.5, 1.0, 1.5), (3.0, 10.0, 20.0))
    speed()
