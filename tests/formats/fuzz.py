"""Program: damage headers of formats in many ways, and say what is not refused as it should be.

    python -m tests.formats.fuzz 300 FOLDER "MetaImage .mhd" "NRRD" ...

Prints a line of JSON for each format: its name, and a list of texts, one for each damage that made a traceback, hung,
took too much memory, or was accepted with voxels that neither are the right ones nor what the independent reader makes
of the file. A format without a line has ended the process.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np

from ps3d_core.errors import Ps3dError
from ps3d_core.params import SourceParams
from ps3d_core.scan.sources import open_scan
from tests.formats.file_format import SPACING, FileFormat, Part, Volume, format_named, sample
from tests.formats.others import Others

SECONDS = 10
MEMORY = 128 * 2**20
ADDRESSES = 3 * 2**30
NUMBERS = [b"0", b"-1", b"1", b"7", b"65536", b"99999999", b"4294967296", b"1e300", b"nan", b"", b"x"]


def damaged(content: bytes, start: int, stop: int, rng: np.random.Generator) -> tuple[bytes, str]:
    """The file with some bytes from `start` to `stop` changed, and how they were."""
    kind = rng.choice(["flip", "zero", "ones", "cut", "gone", "extra", "number", "swap"])
    header = bytearray(content[start:stop])
    at = int(rng.integers(0, len(header)))
    length = int(rng.integers(1, 9))
    match kind:
        case "flip":
            for position in rng.integers(0, len(header), length):
                header[position] ^= int(rng.integers(1, 256))
        case "zero" | "ones":
            header[at : at + length] = (b"\0" if kind == "zero" else b"\xff") * len(header[at : at + length])
        case "cut":
            return content[: start + at], f"cut at {start + at}"
        case "gone":
            del header[at : at + length]
        case "extra":
            header[at:at] = rng.bytes(length)
        case "number":
            digits = [i for i, byte in enumerate(header) if chr(byte).isdigit()]
            at = int(rng.choice(digits)) if digits else at
            end = at
            while end < len(header) and chr(header[end]).isdigit():
                end += 1
            header[at:end] = NUMBERS[int(rng.integers(len(NUMBERS)))]
        case "swap":
            other = int(rng.integers(0, len(header)))
            header[at], header[other] = header[other], header[at]
    return content[:start] + bytes(header) + content[stop:], f"{kind} at {start + at}"


def outcome(form: FileFormat, source: Path, right: Volume, independent: Others) -> str | None:
    """What is wrong with how a damaged source is read; None when nothing is."""
    signal.alarm(SECONDS)
    try:
        with open_scan(str(source), SourceParams(**form.params(right))) as reader:
            values = reader.read(0, reader.shape[0])
    except Ps3dError as error:
        return f"no text: {error!r}" if "\n" in str(error) or not str(error) else None
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    if values.dtype == right.dtype and np.array_equal(values, right):
        return None
    others = independent.read(source)
    if others is not None and values.shape == others.shape and np.allclose(values, others, rtol=1e-5, equal_nan=True):
        return None
    read = None if others is None else f"{others.shape} {others.dtype}"
    return f"accepted with wrong values, {values.shape} {values.dtype}; others: {read}"


def _hung(*_: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


def faults_of(name: str, count: int, folder: Path) -> list[str]:
    """All that went wrong in `count` damages of one format."""
    form = format_named(name)
    right = sample(form.dtypes[0] if "uint16" not in form.dtypes else "uint16")
    whole = folder / "whole"
    whole.mkdir(parents=True)
    given = form.write(whole, right, SPACING)
    faults, independent = [], Others(name)
    for seed in range(count):
        rng = np.random.default_rng(seed)
        broken = folder / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        shutil.copytree(whole, broken)
        source = broken / given.relative_to(whole)
        parts: list[Part] = form.headers(source)
        file, start, stop = parts[int(rng.integers(len(parts)))]
        content, how = damaged(file.read_bytes(), start, stop, rng)
        file.write_bytes(content)
        tracemalloc.reset_peak()
        wrong = outcome(form, source, right, independent)
        if (peak := tracemalloc.get_traced_memory()[1]) > MEMORY:
            wrong = f"took {peak / 2**20:.0f} MiB"
        if wrong is not None:
            faults.append(f"seed {seed}, {file.name}, {how}: {wrong[:300]}")
    independent.close()
    return faults


def main(count: int, folder: Path, names: list[str]) -> None:
    """Print what went wrong, format by format."""
    signal.signal(signal.SIGALRM, _hung)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    tracemalloc.start()
    for number, name in enumerate(names):
        print(json.dumps([name, faults_of(name, count, folder / str(number))]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
