"""Probabilities of patches, in the order they come: batches on a GPU, one patch per core on a CPU.

On a CPU every patch has a thread of its own, which computes alone. All cores sharing each convolution would have to
meet some hundred times per patch, and the sums inside a convolution would depend on how many they are; this way
the bits do not depend on the number of cores.

A patch of one single grey value (air, black corners, padding) gives the same answer wherever it lies: it is evaluated
once per value and remembered. One that is surely empty is background, and never evaluated.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import torch

from ps3d_core.inference.empty import background, surely_empty
from ps3d_core.network.architecture import CLASSES
from ps3d_core.network.ensemble import Predictor
from ps3d_core.timeline import activity

GPU_BATCH = 8
CONSTANT_PATCHES_KEPT = 8


class PatchEvaluator:
    """Evaluator of patches with a predictor; a context manager, since it holds threads.

    `patches` counts those evaluated, `constant` those of them that were answered from memory, and `empty` those that
    were background without a look; `forward_seconds` is the time that the network took, averaged over threads.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        batch_size: int | None = None,
        threads: int | None = None,
        skip_empty: bool = False,
    ) -> None:
        """Use `threads` cores of a CPU (default: those of torch); elsewhere one thread feeds the device.

        `skip_empty` takes patches for background that are surely empty, see `ps3d_core.inference.empty`.
        """
        on_cpu = predictor.device.type == "cpu"
        self._predictor = predictor
        self._batch_size = batch_size or (1 if on_cpu else GPU_BATCH)
        self._torch_threads = torch.get_num_threads()
        self._threads = (threads or self._torch_threads) if on_cpu else 1
        self._pool = ThreadPoolExecutor(self._threads, "patches", initializer=_compute_alone if on_cpu else None)
        self._known: dict[float, torch.Tensor] = {}
        self._known_lock = threading.Lock()
        self._count_lock = threading.Lock()
        self._seconds = 0.0
        self.patches = 0
        self.constant = 0
        self.empty = 0
        self._skip_empty = skip_empty

    def __enter__(self) -> PatchEvaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._torch_threads)

    @property
    def forward_seconds(self) -> float:
        """Time in the network so far, seconds, averaged over threads."""
        return self._seconds / self._threads

    def __call__(self, rows: Iterable[Iterable[torch.Tensor]]) -> Iterator[torch.Tensor]:
        """Yield the probabilities (3, z, y, x) of each patch (z, y, x), float32, of each of `rows`, in their order.

        Patches may be views: they are copied before the next one is asked for. The next row is begun before the answers
        to the last one have come, so that no core waits in between; no batch has patches of two.
        """
        batches = self._batches(rows)
        ahead: deque[Future[list[torch.Tensor]]] = deque()
        while True:
            while len(ahead) <= self._threads and (batch := next(batches, None)) is not None:
                ahead.append(self._pool.submit(self._evaluate, batch))
            if not ahead:
                return
            yield from ahead.popleft().result()

    def _batches(self, rows: Iterable[Iterable[torch.Tensor]]) -> Iterator[torch.Tensor]:
        for row in rows:
            patches = iter(row)
            while batch := list(islice(patches, self._batch_size)):
                yield torch.stack(batch)

    def _evaluate(self, batch: torch.Tensor) -> list[torch.Tensor]:
        low, high = torch.aminmax(batch.flatten(1), dim=1)
        empty = surely_empty(batch) if self._skip_empty else torch.zeros_like(low, dtype=torch.bool)
        varied = (low != high) & ~empty
        answers = iter(self._forward(batch[varied]) if bool(varied.any()) else ())
        with self._count_lock:
            self.patches += len(batch)
            self.empty += int(empty.sum())
        facts = zip(batch, low.tolist(), varied.tolist(), empty.tolist(), strict=True)
        return [
            next(answers) if is_varied else background(patch, CLASSES) if is_empty else self._constant(patch, value)
            for patch, value, is_varied, is_empty in facts
        ]

    def _constant(self, patch: torch.Tensor, value: float) -> torch.Tensor:
        with self._known_lock:
            if value in self._known:
                self.constant += 1
                return self._known[value]
            answer = self._forward(patch[None])[0]
            if len(self._known) < CONSTANT_PATCHES_KEPT:
                self._known[value] = answer
            return answer

    def _forward(self, batch: torch.Tensor) -> torch.Tensor:
        started = time.perf_counter()
        with activity("network"):
            probabilities = self._predictor(batch[:, None])
        with self._count_lock:
            self._seconds += time.perf_counter() - started
        return probabilities


def _compute_alone() -> None:
    torch.set_num_threads(1)
