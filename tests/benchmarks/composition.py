"""Composition against particles of known minerals, beside plain thresholds: noise, blur, sizes; and what it costs."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from ps3d_core.composition.measure import Composition
from ps3d_core.phases import Phases, phases_of
from tests.composed import Composed, composed


class Scheme(NamedTuple):
    """Grey values that phases have, and the intervals that are asked for."""

    greys: tuple[float, ...]
    edges: tuple[float, ...]

    @property
    def phases(self) -> Phases:
        pairs = zip(self.edges[:-1], self.edges[1:], strict=True)
        return phases_of([f"p{p}={low:g}:{high:g}" for p, (low, high) in enumerate(pairs)])


THREE = Scheme((90.0, 150.0, 220.0), (55, 120, 185, 260))
CLOSE = Scheme((100.0, 130.0, 200.0), (60, 115, 165, 235))
FOUR = Scheme((80.0, 130.0, 180.0, 240.0), (50, 105, 155, 210, 270))
CASES = {"middle absent": (0, 2), "all three": (0, 1, 2), "dark and middle": (0, 1), "bright alone": (2,)}


def thresholds(sample: Composed, scheme: Scheme) -> np.ndarray:
    """Shares by the phase that each voxel's own grey value is in."""
    phase = np.digitize(sample.grey, scheme.edges[1:-1])
    n = len(scheme.greys)
    counts = [np.bincount(sample.labels[phase == p], minlength=len(sample.voxels) + 1)[1:] for p in range(n)]
    return np.stack(counts, axis=1) / sample.voxels[:, None]


def measured(sample: Composed, phases: Phases) -> tuple[np.ndarray, np.ndarray]:
    values = Composition(phases).values(sample.cutout)
    return (
        np.stack([values[f"phase_{name}_share"] for name in phases.names], axis=1),
        np.stack([values[f"phase_{name}_exposed"] for name in phases.names], axis=1),
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
    for p in range(shares.shape[1]):
        whole = (sample.truth[:, p] * sample.voxels).sum()
        if whole > 0.02 * sample.voxels.sum():
            curves = []
            for grades in (shares[:, p], sample.truth[:, p]):
                own = grades * sample.voxels
                curves.append([own[grades >= cut - 0.005].sum() / own.sum() for cut in np.linspace(0.05, 0.95, 19)])
            worst = max(worst, float(np.mean(np.abs(np.subtract(*curves)))))
    return 100 * worst


def row(name: str, sample: Composed, scheme: Scheme = THREE, blur: float | None = None) -> None:
    shares, exposed = measured(sample, scheme.phases.model_copy(update={"blur_voxels": blur} if blur else {}))
    off = np.abs(exposed - sample.surface).max(axis=1)
    plain = thresholds(sample, scheme)
    print(
        f"{name:40} | {line(sample, plain)} {liberation(sample, plain):5.1f} | {line(sample, shares)}"
        f" {liberation(sample, shares):5.1f} | {100 * np.mean(off <= 0.1):3.0f} %",
        flush=True,
    )


def accuracy(number: int, blurs: tuple[float, ...], noises: tuple[float, ...]) -> None:
    for name, minerals in CASES.items():
        for blur in blurs:
            for noise in noises:
                s = composed(number, 20.0, minerals, THREE.greys, blur=blur, noise=noise, seed=1)
                row(f"{name}, blur {blur}, noise {noise:g}", s)
    for cover, what in ((0.3, "large"), (0.7, "small")):
        s = composed(number, 20.0, (0, 2), THREE.greys, blur=1.0, noise=5.0, seed=1, cover=cover)
        row(f"middle absent, labels too {what}", s)
    for minerals in ((0, 1), (0, 2), (0, 1, 2)):
        s = composed(number, 20.0, minerals, THREE.greys, blur=0.8, noise=5.0, seed=1, kinds=("rim",))
        row(f"rims of 1.6 to 4 voxels, minerals {minerals}", s)


def hard(number: int) -> None:
    """Small particles, close grey values, more phases asked for than there are; and large particles, blur told."""
    for diameter, blur, noise in ((16.0, 1.0, 20.0), (16.0, 1.5, 10.0), (30.0, 1.5, 10.0)):
        for minerals in ((0, 2), (0, 1, 2)):
            s = composed(number, diameter, minerals, THREE.greys, blur=blur, noise=noise, seed=1)
            row(f"{diameter:g} voxels, {minerals}, blur {blur}, noise {noise:g}", s)
    for scheme, minerals, blur, noise in (
        (CLOSE, (0, 2), 1.0, 10.0),
        (CLOSE, (0, 2), 1.5, 10.0),
        (CLOSE, (0, 1, 2), 1.0, 10.0),
        (FOUR, (0, 3), 1.0, 10.0),
        (FOUR, (0, 3), 1.5, 10.0),
        (FOUR, (0, 1, 2, 3), 1.0, 10.0),
        (FOUR, (0, 1, 2, 3), 1.5, 10.0),
    ):
        s = composed(number, 20.0, minerals, scheme.greys, blur=blur, noise=noise, seed=1)
        row(f"greys {scheme.greys}, {minerals}, blur {blur}", s, scheme)
    s = composed(number, 20.0, (0, 2), THREE.greys, blur=1.5, noise=10.0, seed=1)
    row("middle absent, blur 1.5, noise 10, told", s, blur=1.5)


def speed() -> None:
    for diameter in (10, 20, 60):
        number = {10: 400, 20: 200, 60: 9}[diameter]
        s = composed(number, diameter, (0, 1, 2), THREE.greys, seed=2)
        for noise in (0.0, 20.0):
            phases = THREE.phases.model_copy(update={"noise": {"grey": noise}})
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
    NUMBER = int(sys.argv[1]) if len(sys.argv) > 1 else 80
    print("error of the modal composition, points, from dark to bright; particles within 5 points; mean distance of")
    print("the liberation curve, points: by thresholds | by ps3d | exposed shares within 10 points")
    hard(NUMBER)
    accuracy(NUMBER, (0.5, 1.0, 1.5), (3.0, 10.0, 20.0))
    speed()
