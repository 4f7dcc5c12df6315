"""Damage to the files of a run, at random: whatever is done to them, a run never ends well with another result.

    python -m tests.integration.damage_campaign --damages 2000 --seed 1 [--kills 7] [--store folder|s3]

A small scan is segmented in many blocks. Its result, whole and as kills at several moments leave it, is damaged in one
place at a time: a bit flipped, a file cut off, removed, or changed places with another of its kind. The same run is
then given again, and must either say what is wrong or end with the bytes of the undamaged one. Prints what happened
and ends with status 1 when anything else did.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.integration.small_run import SCAN, count_writes, cut_small

if TYPE_CHECKING:
    from ps3d_core.plan import SegmentJob
    from ps3d_core.store.layout import Result
    from ps3d_core.store.location import Location

Files = dict[str, bytes]

KINDS: Final = ("bit flip", "cut", "deletion", "swap")
MOMENTS: Final = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 0.97)
"""When kills come, as shares of all writes."""
SAME, REFUSED, WRONG, RAW = "same result", "refused", "ANOTHER RESULT", "RAW ERROR"


def main() -> None:
    """Run the campaign, or, with --deadly, the run that is killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--damages", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=len(MOMENTS), help="moments of a run to damage what is there then")
    parser.add_argument("--store", choices=("folder", "s3"), default="folder")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="do no further damage after so long")
    parser.add_argument("--only", type=int, help="number of a single damage to repeat")
    parser.add_argument("--place", help=argparse.SUPPRESS)
    parser.add_argument("--deadly", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    cut_small()
    if args.deadly is not None:
        _die_while_writing(args.place, args.deadly)
        return
    with _store(args.store) as place:
        numbers = range(args.damages) if args.only is None else [args.only]
        counts = Campaign(place, args.seed, args.kills).run(numbers, 60 * args.minutes)
    for what, count in sorted(counts.items()):
        print(f"{count:6} {what}")
    sys.exit(any(what.startswith((WRONG, RAW)) for what in counts))


@contextmanager
def _store(kind: str) -> Iterator[str]:
    from tests.integration.s3_server import BUCKET, seaweedfs

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ps3d-damage-")))
        if kind == "folder":
            yield str(folder)
            return
        (folder / "s3").mkdir()
        server = stack.enter_context(seaweedfs(folder / "s3"))
        os.environ |= server.environment
        yield f"s3://{BUCKET}/damage"


class Campaign:
    """A run at `place`, what it leaves, and what damage to that leads to."""

    def __init__(self, place: str, seed: int, kills: int) -> None:
        from ps3d_core.store import lease

        lease.STALE_SECONDS, lease.LOOK_SECONDS = 0.3, 0.05  # owners that a damaged lease speaks of are all dead
        self._job = job_in(place, keep_work=True)
        self._seed = seed
        make_inputs(self._job)
        writes = self._undisturbed()
        self._expected = result_of(self._job.result)
        self._states = {"finished": self._files(), "finished, intermediates removed": self._without_work()}
        for moment in MOMENTS[:: ceil(len(MOMENTS) / kills)]:
            self._states[f"killed at {moment:.0%}"] = self._killed(place, int(moment * writes))

    @property
    def _root(self) -> Location:
        return self._job.result.root

    def run(self, numbers: range | list[int], seconds: float = float("inf")) -> Counter[str]:
        """Do the damages with these numbers, as many as the time allows; how often what came of it, by kind."""
        counts: Counter[str] = Counter()
        started = time.perf_counter()
        for number in numbers:
            if time.perf_counter() - started > seconds:
                break
            draw = random.Random(f"{self._seed} {number}")
            state = draw.choice(list(self._states))
            files, what, kind = damaged(self._states[state], draw)
            outcome, error = self._outcome(files)
            counts[outcome] += 1
            counts[f"{outcome} after {kind}"] += 1
            if outcome in (WRONG, RAW):
                print(f"damage {number}: {state}, {what}: {outcome} {error}", flush=True)
            elif outcome == REFUSED:
                counts[f"{REFUSED}: {type(error).__name__}"] += 1
            if (number + 1) % 100 == 0:
                print(f"{number + 1} damages, {time.perf_counter() - started:.0f} s", flush=True)
        done = sum(counts[outcome] for outcome in (SAME, REFUSED, WRONG, RAW))
        print(f"{done} damages in {time.perf_counter() - started:.0f} s", flush=True)
        return counts

    def _outcome(self, files: Files) -> tuple[str, BaseException | None]:
        from ps3d_core.errors import Ps3dError
        from ps3d_core.pipeline import segment

        self._put(files)
        _forget_tables()
        try:
            segment(self._job)
        except Ps3dError as error:
            return REFUSED, error
        except Exception as error:
            return RAW, error
        return (SAME if result_of(self._job.result) == self._expected else WRONG), None

    def _undisturbed(self) -> int:
        from ps3d_core.pipeline import segment

        with count_writes() as writes:
            record = segment(self._job)
        print(f"{record.particles} particles, {writes.count} writes", flush=True)
        return writes.count

    def _killed(self, place: str, write: int) -> Files:
        self._root.remove_tree()
        command = [sys.executable, "-m", "tests.integration.damage_campaign", "--place", place, "--deadly", str(write)]
        subprocess.run(command, start_new_session=True, capture_output=True, check=False)
        assert not self._job.result.run.exists(), "the kill came too late"
        return self._files()

    def _files(self) -> Files:
        return {name: (self._root / name).read_bytes() for name in sorted(self._root.find(hidden=True))}

    def _without_work(self) -> Files:
        return {name: content for name, content in self._files().items() if not name.startswith(".work/")}

    def _put(self, files: Files) -> None:
        """Have exactly these files there; what an object store lists as the same stays."""
        from ps3d_core.store.ownership import remove_if_empty

        there = self._root.find(hidden=True)
        self._root.remove_files([name for name in there if name not in files])
        if (path := self._root.local_path) is not None:
            for folder, _, _ in os.walk(path, topdown=False):
                remove_if_empty(Path(folder))
        with ThreadPoolExecutor(8) as pool:
            for name, content in files.items():
                listed = str(there.get(name, {}).get("ETag", "")).strip('"')
                if listed != hashlib.md5(content, usedforsecurity=False).hexdigest():
                    pool.submit((self._root / name).write_bytes, content)


def damaged(files: Files, draw: random.Random) -> tuple[Files, str, str]:
    """A copy of `files` with one damage, what it is in words, and its kind."""
    name, kind = draw.choice(list(files)), draw.choice(KINDS)
    content, files = files[name], dict(files)
    match kind:
        case "bit flip" if content:
            position, bit = draw.randrange(len(content)), draw.randrange(8)
            flipped = bytearray(content)
            flipped[position] ^= 1 << bit
            files[name] = bytes(flipped)
            return files, f"bit {bit} of byte {position} of {name} flipped", kind
        case "cut" if content:
            length = draw.randrange(len(content))
            files[name] = content[:length]
            return files, f"{name} cut off after {length} of {len(content)} bytes", kind
        case "swap" if others := [other for other in files if _alike(name, other) and files[other] != content]:
            other = draw.choice(others)
            files[name], files[other] = files[other], content
            return files, f"{name} and {other} swapped", kind
    del files[name]
    return files, f"{name} removed", "deletion"


def _alike(one: str, other: str) -> bool:
    """Whether two files are of one kind: both chunks, or of one suffix."""
    return ("/c/" in one) == ("/c/" in other) and Path(one).suffix == Path(other).suffix


def result_of(result: Result) -> Files:
    """All that a user takes away, byte by byte; of run.json, which has times, what it says of the result."""
    from ps3d_core.record import read_record

    files = {
        f"{name}/{below}": (part / below if below else part).read_bytes()
        for name, part in result.parts.items()
        if name != "crate"  # which has times in it
        for below in part.find()
    }
    record = read_record(result.run)
    assert record is not None
    parts = {name: digest for name, digest in record.parts.items() if name != "crate"}
    files["run.json"] = repr((record.fingerprint, record.particles, parts)).encode()
    return files


def job_in(place: str, **changes: Any) -> SegmentJob:
    """The run, in blocks of one shard, with `changes` to it."""
    from ps3d_core.params import PredictParams, Resources, SegmentParams
    from ps3d_core.plan import SegmentJob
    from ps3d_core.store.layout import Dataset
    from ps3d_core.store.location import Location

    root = Location.parse(place)
    job = SegmentJob(
        dataset=Dataset(root / "dataset"),
        scan=SCAN,
        output=root / "output",
        model=str(root / "model"),
        params=SegmentParams(predict=PredictParams(mirror=False, device="cpu")),
        resources=Resources(workers=1, memory_gib=0.4),  # just enough for blocks of one shard
    )
    return replace(job, **changes)


def make_inputs(job: SegmentJob) -> None:
    """A phantom, and a network that was never trained: it finds particles of any shape, which is all that counts."""
    import torch

    from ps3d_core.phantom.params import PhantomParams
    from ps3d_core.phantom.write import write_phantom
    from ps3d_core.store.location import Location
    from tests.tiny_network import save_untrained

    torch.set_num_threads(1)
    save_untrained(Location.parse(job.model), target_particle_size=12)
    params = PhantomParams(shape=(36, 40, 44), particle_size_voxels=11, seed=5, dtype="uint8")
    write_phantom(params, job.dataset.root, SCAN, spacing=0.01)


def _die_while_writing(place: str, write: int) -> None:
    import torch

    from ps3d_core.pipeline import segment

    torch.set_num_threads(1)
    with count_writes(write):
        segment(job_in(place, keep_work=True))


def _forget_tables() -> None:
    """Tables that earlier runs of this process read: another process would have to read them itself."""
    for name, module in list(sys.modules.items()):
        if name.startswith("ps3d_core.border_core"):
            for member in vars(module).values():
                if hasattr(member, "cache_clear"):
                    member.cache_clear()


if __name__ == "__main__":
    main()
