"""What computes a network: seconds per patch of 64 voxels cubed, in one thread and in several, and voxels that differ.

Usage: python tests/benchmarks/engines.py [ENGINE ...] [--threads 2] [--rounds 3]

Engines take turns, so that a busy machine slows all of them alike; the fastest of the rounds counts. Those that are not
installed are left out: onnxruntime is none of the dependencies.
"""

import argparse
import io
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn

from ps3d_core.network.architecture import Architecture
from ps3d_core.network.bundle import load_bundle
from ps3d_core.network.intensity import per_scan_intensity
from ps3d_core.network.openvino import OpenVinoNetwork
from ps3d_core.phantom.params import PhantomParams
from ps3d_core.phantom.render import render

Network = Callable[[torch.Tensor], torch.Tensor]

SIDE = 64
SLIM = Architecture(
    n_stages=5,
    features_per_stage=(8, 32, 64, 128, 160),
    kernel_sizes=((3, 3, 3),) * 5,
    strides=((1, 1, 1), *((2, 2, 2),) * 4),
    n_conv_per_stage=(1, 2, 2, 2, 2),
    n_conv_per_stage_decoder=(2, 2, 2, 2),
)


def autocast(network: nn.Module, threads: int) -> Network:
    """PyTorch with bfloat16; hours where the processor has no instructions for it."""

    def call(x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return network(x).float()

    return call


def onnxruntime(network: nn.Module, threads: int) -> Network:
    """ONNX Runtime, on what PyTorch exports."""
    import onnxruntime as ort

    exported = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(1, 1, SIDE, SIDE, SIDE),), exported, input_names=["x"], dynamo=False)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(exported.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


ENGINES: dict[str, Callable[[nn.Module, int], Network]] = {
    "torch": lambda network, threads: network,
    "torch.compile": lambda network, threads: torch.compile(network),
    "onnxruntime": onnxruntime,
    "openvino": lambda network, threads: OpenVinoNetwork(network, threads=threads),
    "openvino bfloat16": lambda network, threads: OpenVinoNetwork(network, "bfloat16", threads),
    "torch bfloat16": autocast,
}
USUAL = [name for name in ENGINES if name != "torch bfloat16"]


def real_patch() -> torch.Tensor:
    """A patch of a synthetic scan, (1, 1, z, y, x), normalised as a run does."""
    scan, _ = render(PhantomParams(shape=(SIDE,) * 3, particle_size_voxels=20, seed=5, dtype="float32"))
    return torch.from_numpy(per_scan_intensity(scan.reshape(-1, 16, 16, 16)).normalise(scan))[None, None]


def seconds_per_patch(network: Network, patch: torch.Tensor, threads: int) -> float:
    """One patch after the other in each thread."""
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        started = time.perf_counter()
        list(pool.map(torch.inference_mode()(network), [patch] * (2 * threads)))
        return (time.perf_counter() - started) / (2 * threads)


def compare(network: nn.Module, names: list[str], threads: int, rounds: int) -> None:
    """Print a line for each engine."""
    patch = real_patch()
    ready: dict[str, tuple[float, list[Network]]] = {}
    for name in names:
        started = time.perf_counter()
        try:
            made = [ENGINES[name](network, count) for count in (1, threads)]
            for each in made:
                seconds_per_patch(each, patch, 1)
        except Exception as error:
            print(f"  {name:20}{str(error).splitlines()[0][:90]}")
            continue
        ready[name] = (time.perf_counter() - started) / 2, made
    best = {(name, count): float("inf") for name in ready for count in (1, threads)}
    for _ in range(rounds):
        for name, (_, made) in ready.items():
            for count, each in zip((1, threads), made, strict=True):
                best[name, count] = min(best[name, count], seconds_per_patch(each, patch, count))
    with torch.inference_mode():
        expected = network(patch).argmax(1)
        for name, (first, made) in ready.items():
            differ = int((made[0](patch).argmax(1) != expected).sum())
            alone, several = best[name, 1], best[name, threads]
            print(f"  {name:20}{alone:10.3f} s{several:12.3f} s{first:12.1f} s{differ:12}")


def main() -> None:
    """Compare the engines on the bundled network, and on one with fewer features where it is finest."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "engines", nargs="*", metavar="ENGINE", help=f"{', '.join(ENGINES)} (default: all but the last)"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    (bundled,) = load_bundle().networks(torch.device("cpu"))
    torch.manual_seed(0)
    slim = SLIM.build().eval().requires_grad_(False)
    columns = f"{'1 thread':>12}{f'{args.threads} threads':>14}{'to begin':>14}{'differ':>12}"
    for title, network in (("bundled", bundled), ("slim, random weights", slim)):
        print(f"{title:22}{columns}", flush=True)
        compare(network, args.engines or USUAL, args.threads, args.rounds)


if __name__ == "__main__":
    main()
