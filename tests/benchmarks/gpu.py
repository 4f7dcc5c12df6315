"""What only a GPU can show, in one script of some minutes: exactness, resume, memory and speed of prediction.

    python tests/benchmarks/gpu.py [--device auto|cuda|cpu] [--json FILE] [--rehearse]

Nothing is downloaded: scans are phantoms, networks are the bundled one and one of nnU-Net's usual size (patches of 128
cubed, 32 features) with random weights. Prints a table, the timeline of a prediction, and last of all one line of JSON.
With --rehearse, and where there is no GPU, all is small and on the CPU, which takes a minute: it shows that the script
runs, and nothing of speed.

What is checked, and makes the exit status 1 when it fails:

    labels       of the device against those of the CPU: voxels that differ, and whether the particles are the same
    resume       a prediction that was killed and continued has the bytes of one that was not
    memory       of the process, against what the planner said
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from instances import PeakMemory

from ps3d_core import memory_model
from ps3d_core.border_core.labels import border_core_to_instances
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context
from ps3d_core.evaluation.evaluate import evaluate
from ps3d_core.geometry.boxes import Box, Shape
from ps3d_core.inference.plan import plan_prediction, walk_axis
from ps3d_core.inference.predict import Prediction, patch_bytes, predict
from ps3d_core.inference.sample import NetworkView, scan_intensity
from ps3d_core.network.architecture import Architecture
from ps3d_core.network.bundle import Bundle, ModelFacts, load_bundle, save_bundle
from ps3d_core.network.computation import computation_of
from ps3d_core.network.device import choose_device, free_batch, gpu_count
from ps3d_core.network.normalisation import PerScan
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.write import write_phantom
from ps3d_core.progress import Event, Progress, StageAdvanced
from ps3d_core.quality import LEVELS, PLAIN
from ps3d_core.store.arrays import open_array, read_box
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import open_image
from ps3d_core.timeline import recorded, timeline_text

SCAN = "scan"
MEMORY = 16 * 2**30
COMPILING_GIB = 0.2
"""Of compilers of kernels, which a fresh checkout needs once and no plan knows of."""
MOST_DIFFERENT = 0.002
LEAST_F1 = 0.99
GOAL = 1.1
QUALITY = replace(LEVELS["fast"], mirrorings=PLAIN)

Facts = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How large everything is, in voxels."""

    compared: Shape
    scan: Shape
    particle: float
    loops: int
    large_patch: int
    features: int
    stages: int


FULL = Sizes(
    compared=(192, 192, 192), scan=(768, 768, 768), particle=20.0, loops=12, large_patch=128, features=32, stages=6
)
SMALL = Sizes(compared=(160, 64, 64), scan=(64, 64, 64), particle=16.0, loops=1, large_patch=32, features=4, stages=3)


def large_bundle(place: Location, sizes: Sizes) -> Bundle:
    """A network as nnU-Net plans it for these patches, with random weights."""
    n = sizes.stages
    architecture = Architecture(
        n_stages=n,
        features_per_stage=tuple(min(320, sizes.features << stage) for stage in range(n)),
        kernel_sizes=((3, 3, 3),) * n,
        strides=((1, 1, 1), *((2, 2, 2),) * (n - 1)),
        n_conv_per_stage=(2,) * n,
        n_conv_per_stage_decoder=(2,) * (n - 1),
    )
    torch.manual_seed(0)
    facts = ModelFacts(
        name=f"nnU-Net {sizes.large_patch} cubed",
        architecture=architecture,
        patch_size=(sizes.large_patch,) * 3,
        target_particle_size=sizes.particle,
        normalisation=PerScan(),
        border_thickness=1.5,
    )
    return save_bundle(place, {0: architecture.build()}, facts)


def scan_of(place: Location, shape: Shape, particle: float) -> Location:
    """A phantom; its grey values."""
    params = PhantomParams(shape=shape, particle_size_voxels=particle, seed=5, dtype="uint16")
    write_phantom(params, place, SCAN, runner=Runner(workers=os.cpu_count() or 1))
    return Dataset(place).image(SCAN)


def prediction_of(bundle: Bundle, image: Location, place: Location, device: str) -> Prediction:
    """The scan on its own grid, in as many blocks as there are GPUs."""
    array = open_image(image)
    z, y, x = array.shape
    view = NetworkView(array, (z, y, x), walk_axis((z, y, x)))
    computation, workers = computation_of("torch", device=device), gpu_count(device)
    plan = plan_prediction(
        (z, y, x),
        bundle.info.patch_size,
        quality=QUALITY,
        memory_bytes=MEMORY * workers,
        workers=workers,
        network_bytes=memory_model.WORKER_BYTES + memory_model.torch_bytes() + host_activations(bundle, device),
        read_bytes=view.read_bytes,
    )
    return Prediction(
        image=image,
        output=place / "border-core.zarr",
        certainty=place / "certainty.zarr",
        work=place / "work",
        model=str(bundle.location),
        model_digest=bundle.info.digest,
        plan=plan,
        intensity=scan_intensity(NetworkView(array, (z, y, x)), PerScan()),
        fingerprint="gpu",
        computation=computation,
        threads=os.cpu_count(),
        runner=Runner(workers=workers),
    )


def host_activations(bundle: Bundle, device: str) -> int:
    """Memory of the process that a forward pass takes: of a GPU it takes its own."""
    return patch_bytes(bundle.info) * (os.cpu_count() or 1) if device == "cpu" else 0


def voxels_of(place: Location) -> np.ndarray:
    array = open_array(place)
    return read_box(array, Box.of(array.shape))


def compare_labels(place: Location, image: Location, device: str) -> Facts:
    """Border-core labels and particles of the device beside those of the CPU."""
    found = {}
    for name in dict.fromkeys(("cpu", device)):
        prediction = prediction_of(load_bundle(), image, place / name, name)
        predict(prediction)
        found[name] = prediction.output
        border_core_to_instances(
            prediction.output, place / name / "particles", place / name / "work", context=Context(memory_bytes=MEMORY)
        )
    ours, theirs = voxels_of(found[device]), voxels_of(found["cpu"])
    scores = evaluate(place / device / "particles", place / "cpu" / "particles", work=place / "evaluation")
    share, f1 = float((ours != theirs).mean()), float(scores.f1)
    return {"differing_voxels": share, "f1": f1, "ok": share <= MOST_DIFFERENT and f1 >= LEAST_F1}


def killed_after(patches: int) -> Progress:
    """A listener that kills this process, as nobody can prevent."""

    def hear(event: Event) -> None:
        if isinstance(event, StageAdvanced) and event.done >= patches:
            os.kill(os.getpid(), signal.SIGKILL)

    return Progress(hear)


def predict_until_killed(image: Location, place: Location, device: str) -> None:
    """Predict in this process, which is killed in the last of all rows of patches."""
    prediction = prediction_of(load_bundle(), image, place, device)
    patches = prediction.plan.patches
    rows = len(patches.touching(0, 0, patches.shape[0]))
    predict(prediction, progress=killed_after(prediction.plan.evaluated * (rows - 1) // rows + 1))


def compare_resumed(place: Location, image: Location, device: str) -> Facts:
    """Bytes of a prediction that was killed and continued, beside those of one that was not."""
    through, resumed = place / device, place / "killed"
    command = [sys.executable, __file__, "--killed", str(image), str(resumed), device]
    killed = subprocess.run(command, check=False).returncode == -signal.SIGKILL
    prediction = prediction_of(load_bundle(), image, resumed, device)
    again = predict(prediction)
    files = [
        {name: (at / name).read_bytes() for name in at.find()}
        for at in (through / "border-core.zarr", prediction.output)
    ]
    same, less = files[0] == files[1], again.patches_evaluated < prediction.plan.evaluated
    return {
        "killed": killed,
        "repeated_patches": again.patches_evaluated,
        "same_bytes": same,
        "ok": killed and same and less,
    }


@contextmanager
def measured_memory(device: str) -> Iterator[Facts]:
    """Peaks of the process and of every GPU while the body runs."""
    facts: Facts = {}
    gpus = range(gpu_count(device) if device == "cuda" else 0)
    for gpu in gpus:
        torch.cuda.reset_peak_memory_stats(gpu)
    with PeakMemory() as peak:
        yield facts
    facts["host_gib"] = peak.bytes / 2**30
    facts["cuda_gib"] = [torch.cuda.max_memory_allocated(gpu) / 2**30 for gpu in gpus]


def measure_prediction(place: Location, bundle: Bundle, image: Location, device: str) -> Facts:
    """A whole prediction: seconds, voxels, memory, and what overlapped; then its patches in a bare loop."""
    prediction = prediction_of(bundle, image, place, device)
    with measured_memory(device) as memory, recorded() as timeline:
        started = time.perf_counter()
        found = predict(prediction)
        seconds = time.perf_counter() - started
    per_patch = forward_seconds(
        bundle, device, batch_of(bundle, device), "channels_last" if device == "cuda" else "plain"
    )
    raw = per_patch * (found.patches_evaluated - found.patches_constant) / gpu_count(device)
    planned = prediction.plan.memory_bytes * prediction.plan.workers / 2**30
    return {
        "voxels": prod(prediction.plan.patches.shape),
        "patches": found.patches_evaluated,
        "seconds": seconds,
        "patches_per_second": found.patches_evaluated / seconds,
        "mvoxel_per_second": prod(prediction.plan.patches.shape) / seconds / 1e6,
        "over_raw_loop": seconds / raw,
        "batch": batch_of(bundle, device),
        **memory,
        "planned_gib": planned,
        "ok": memory["host_gib"] <= planned + COMPILING_GIB,
        "timeline": timeline_text(timeline).splitlines(),
    }


def batch_of(bundle: Bundle, device: str) -> int:
    """Patches of a batch, as prediction takes them."""
    return free_batch(torch.cuda.mem_get_info()[0], patch_bytes(bundle.info)) if device == "cuda" else 1


def variants(bundle: Bundle, device: str) -> dict[str, Callable[[torch.Tensor], Callable[[], object]]]:
    """Ways to evaluate a batch over and over, by name."""
    network = bundle.networks(choose_device(device))[0]

    def plain(batch: torch.Tensor) -> Callable[[], object]:
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return lambda: network(batch)

    def channels_last(batch: torch.Tensor) -> Callable[[], object]:
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        flat = batch.contiguous(memory_format=torch.channels_last_3d)
        return lambda: network(flat)

    def compiled(batch: torch.Tensor) -> Callable[[], object]:
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        flat, fast = batch.contiguous(memory_format=torch.channels_last_3d), torch.compile(network)
        return lambda: fast(flat)

    def graphed(batch: torch.Tensor) -> Callable[[], object]:
        return captured(channels_last(batch))

    usual: dict[str, Callable[[torch.Tensor], Callable[[], object]]] = {"plain": plain, "channels_last": channels_last}
    return usual | ({"compile": compiled, "graphs": graphed} if device == "cuda" else {})


def captured(once: Callable[[], object]) -> Callable[[], object]:
    """The same kernels without their launches: one CUDA graph."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            once()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        once()
    return graph.replay


def forward_seconds(bundle: Bundle, device: str, batch: int, variant: str, loops: int = 3) -> float:
    """Seconds per patch of the network alone, mean of some batches after two that warm up."""
    cuda = device == "cuda"
    patches = torch.randn(batch, 1, *bundle.info.patch_size, device=device)
    # Weights cast under autocast must not be kept across the capture of a graph.
    half = torch.autocast(device, torch.float16, enabled=cuda, cache_enabled=variant != "graphs")
    with torch.inference_mode(), half:
        once = variants(bundle, device)[variant](patches)
        for _ in range(2 if cuda else 1):
            once()
        if cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        for _ in range(loops):
            once()
        if cuda:
            torch.cuda.synchronize()
    return (time.perf_counter() - started) / loops / batch


def measure_variants(bundle: Bundle, device: str, loops: int) -> Facts:
    """Patches per second of the network alone, by variant and batch; text where one is not possible."""
    found: Facts = {}
    for variant in variants(bundle, device):
        for batch in sorted({1, batch_of(bundle, device)}):
            try:
                found[f"{variant}, batch {batch}"] = 1 / forward_seconds(bundle, device, batch, variant, loops)
            except Exception as error:  # whatever a compiler lacks, the rest counts
                found[f"{variant}, batch {batch}"] = f"{type(error).__name__}: {str(error)[:80]}"
            if device == "cuda":
                torch.cuda.empty_cache()
    return found


def run(device: str, sizes: Sizes) -> Facts:
    """Do everything; return what was found."""
    with TemporaryDirectory() as folder:
        place = Location.parse(Path(folder))
        networks = {"bundled": load_bundle(), "nnunet": large_bundle(place / "model", sizes)}
        small = scan_of(place / "small", sizes.compared, sizes.particle)
        facts: Facts = {"card": card(device), "gpus": gpu_count(device), "torch": torch.__version__}
        facts["labels"] = compare_labels(place / "compared", small, device)
        facts["resume"] = compare_resumed(place / "compared", small, device)
        scan = scan_of(place / "large", sizes.scan, sizes.particle)
        for name, bundle in networks.items():
            facts[f"predict {name}"] = measure_prediction(place / name, bundle, scan, device)
            facts[f"forward {name}"] = measure_variants(bundle, device, sizes.loops)
    return facts


def card(device: str) -> str:
    """Name of the device."""
    return torch.cuda.get_device_name() if device == "cuda" else f"CPU, {os.cpu_count()} cores"


def show(facts: Facts) -> bool:
    """Print all facts as a table; return whether all that is checked is as it should be."""
    good = True
    for name, value in facts.items():
        rows = value if isinstance(value, dict) else {"": value}
        for key, fact in rows.items():
            if key == "timeline":
                print("\n".join(fact))
                continue
            good &= fact if key == "ok" else True
            print(f"{name:18} {key:24} {f'{fact:.4g}' if isinstance(fact, float) else fact}")
    return good


def main() -> int:
    """Run, or rehearse; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", choices=("auto", "cuda", "cpu"), default="auto")
    parser.add_argument("--json", type=Path, help="file for the JSON, too")
    parser.add_argument("--rehearse", action="store_true", help="small, and on the CPU")
    parser.add_argument("--killed", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.killed:
        image, place, device = options.killed
        predict_until_killed(Location.parse(image), Location.parse(place), device)
        return 0
    device = "cuda" if not options.rehearse and choose_device(options.device).type == "cuda" else "cpu"
    started = time.perf_counter()
    facts = run(device, FULL if device == "cuda" else SMALL) | {"seconds": time.perf_counter() - started}
    good = show(facts)
    print(json.dumps(facts))
    if options.json:
        options.json.write_text(json.dumps(facts, indent=2))
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
