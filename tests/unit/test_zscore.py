"""The z-score of a dataset: numpy's numbers in one pass, whatever the blocks; sampled within its interval."""

from __future__ import annotations

import json
import os
import uuid
from collections import Counter
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import LocalStore

from ps3d_app.flows.command.cli import main
from ps3d_core.engine import block_step
from ps3d_core.engine.blocks import Runner
from ps3d_core.engine.step import Context, Outcomes
from ps3d_core.errors import InputError, MissingDataError
from ps3d_core.network.normalisation import ZScore
from ps3d_core.params import Resources, ZScoreParams
from ps3d_core.progress import Event, Progress, StageAdvanced, StageStarted
from ps3d_core.scan import scan_grey
from ps3d_core.scan import zscore as module
from ps3d_core.scan.scan_grey import ScanMoments
from ps3d_core.scan.zscore import estimate_zscore, read_zscore
from ps3d_core.store import direct
from ps3d_core.store.layout import Dataset
from ps3d_core.store.location import Location
from ps3d_core.store.ome import create_image

Array = np.ndarray[Any, Any]

RNG = np.random.default_rng(11)
SMALL = {"chunks": (8, 8, 8), "shards": (16, 16, 16)}


def noise(shape: tuple[int, int, int], low: int, high: int, dtype: str) -> Array:
    return RNG.integers(low, high, shape, endpoint=True).astype(dtype)


VOLUMES: dict[str, Array] = {
    "a byte": noise((40, 33, 50), 0, 255, "uint8"),
    "b.2,5µm": noise((35, 48, 41), 20_000, 65_535, "uint16"),
    "c": noise((30, 30, 30), -32_768, 32_767, "int16"),
    "d": (RNG.normal(30_000, 4000, (45, 37, 29))).astype(np.float32),
}
ALL = np.concatenate([volume.ravel().astype(np.float64) for volume in VOLUMES.values()])


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    made = Dataset(Location.parse(tmp_path))
    for name, volume in VOLUMES.items():
        add(made, name, volume)
    return made


def add(dataset: Dataset, name: str, volume: Array, **options: Any) -> None:
    options = {**SMALL, **options}
    create_image(dataset.image(name), volume.shape, volume.dtype, spacing=0.01, name=name, **options)[:] = volume


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, object]]:
    """How often each range of each file is fetched from a folder; the files are read all the same."""
    counted: Counter[tuple[str, object]] = Counter()
    get = LocalStore.get

    async def counting(self: LocalStore, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        counted[f"{self.root}/{key}", byte_range] += 1
        return await get(self, key, prototype, byte_range)

    read = direct._read

    def counting_directly(file: FileIO, start: int, length: int) -> bytes:
        is_index = start > 0 and start + length == os.fstat(file.fileno()).st_size
        counted[str(file.name), f"Suffix of {length}" if is_index else (start, length)] += 1
        return read(file, start, length)

    monkeypatch.setattr(LocalStore, "get", counting)
    monkeypatch.setattr(direct, "_read", counting_directly)
    return counted


def chunks_read(reads: Counter[tuple[str, object]]) -> dict[tuple[str, object], int]:
    return {place: times for place, times in reads.items() if "/c/" in place[0]}


def exact(dataset: Dataset, names: list[str] | None = None, **resources: Any) -> module.ZScoreRecord:
    return estimate_zscore(dataset, names, resources=Resources(**{"workers": 2, "memory_gib": 1, **resources}))


def sampled(dataset: Dataset, samples: int, seed: int = 0, **resources: Any) -> module.ZScoreRecord:
    resources = {"workers": 2, "memory_gib": 1, **resources}
    return estimate_zscore(dataset, None, ZScoreParams(samples=samples, seed=seed), Resources(**resources))


# --- exact ---


def test_exact_is_what_numpy_says(dataset: Dataset) -> None:
    record = exact(dataset)
    assert record.mean == pytest.approx(ALL.mean(), rel=1e-12)
    assert record.std == pytest.approx(ALL.std(), rel=1e-12)
    assert (record.voxels, record.dataset_voxels, record.method) == (ALL.size, ALL.size, "exact")
    for name, volume in VOLUMES.items():
        grey = record.scans[name]
        assert (grey.voxels, grey.dtype) == (volume.size, str(volume.dtype))
        assert grey.mean == pytest.approx(volume.mean(dtype=np.float64), rel=1e-12)
        assert grey.std == pytest.approx(volume.std(dtype=np.float64), rel=1e-12)
    written = json.loads(dataset.zscore.read_text())
    assert (written["mean"], written["std"], written["voxels"]) == (record.mean, record.std, ALL.size)
    assert list(written["scans"]) == list(VOLUMES)
    assert "confidence" not in written
    assert sorted(dataset.root.children()) == [".ps3d-files.json", "images", "zscore.json"]


def test_every_chunk_is_read_once(dataset: Dataset, reads: Counter[tuple[str, object]], tmp_path: Path) -> None:
    exact(dataset)
    found = chunks_read(reads)
    assert set(found.values()) == {1}
    assert {name for name, _ in found} == {str(path) for path in tmp_path.rglob("c/*/*/*")}


@pytest.mark.parametrize("shards", [(8, 8, 8), (16, 8, 24), (64, 64, 64)])
def test_integers_do_not_depend_on_the_blocks_at_all(
    dataset: Dataset, shards: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = exact(dataset, ["b.2,5µm", "c"])
    monkeypatch.setattr(scan_grey, "BLOCK_BYTES", 1)
    dataset.zscore.remove_tree()
    for name in ("b.2,5µm", "c"):
        dataset.image(name).remove_tree()
        add(dataset, name, VOLUMES[name], shards=shards)
    found = exact(dataset, ["b.2,5µm", "c"])
    assert (found.mean, found.std) == (expected.mean, expected.std)
    assert {name: grey.moments for name, grey in found.scans.items()} == {
        name: grey.moments for name, grey in expected.scans.items()
    }


def test_floats_depend_on_the_blocks_by_rounding_only(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = exact(dataset)
    monkeypatch.setattr(scan_grey, "BLOCK_BYTES", 1)
    dataset.zscore.remove_tree()
    found = exact(dataset)
    assert found.mean == pytest.approx(expected.mean, rel=1e-13)
    assert found.std == pytest.approx(expected.std, rel=1e-13)


@pytest.mark.parametrize("resources", [{"workers": 1}, {"workers": 7}, {"workers": 2, "runner": "processes"}])
def test_workers_change_no_byte(dataset: Dataset, resources: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_grey, "BLOCK_BYTES", 20_000)
    exact(dataset, ["d"])
    expected = dataset.zscore.read_bytes()
    dataset.zscore.remove_tree()
    exact(dataset, ["d"], **resources)
    assert dataset.zscore.read_bytes() == expected


def test_bare_zarr_of_any_chunks(tmp_path: Path, reads: Counter[tuple[str, object]]) -> None:
    """What users of ParticleSeg3D have: chunks of odd shapes, v2, foreign byte order, chunks left out."""
    images = tmp_path / "images"
    volume = VOLUMES["b.2,5µm"].copy()
    volume[:10] = 0
    for name, options in {
        "slices": {"chunks": (1, 48, 41), "zarr_format": 2},
        "odd": {"chunks": (7, 50, 13), "zarr_format": 3},
        "whole": {"chunks": volume.shape, "zarr_format": 2},
    }.items():
        zarr.create_array(images / f"{name}.zarr", shape=volume.shape, dtype=">u2", fill_value=0, **options)[:] = volume
    reads.clear()
    record = exact(Dataset(Location.parse(tmp_path)))
    assert record.mean == pytest.approx(volume.mean(), rel=1e-14)
    assert record.std == pytest.approx(volume.std(), rel=1e-14)
    assert max(reads[place] for place in reads if "zarr.json" not in place[0] and ".z" not in place[0][-8:]) == 1


# --- going on ---


def test_an_interrupted_run_goes_on(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, reads: Counter[tuple[str, object]]
) -> None:
    expected = exact(dataset).model_dump()
    dataset.zscore.remove_tree()
    monkeypatch.setattr(scan_grey, "BLOCK_BYTES", 20_000)
    reads.clear()

    killed_in(dataset, "c")
    assert not dataset.zscore.exists()
    first = chunks_read(reads)
    reads.clear()
    found = exact(dataset)
    assert set(first) & set(chunks_read(reads)) == set()
    assert {name for name, _ in chunks_read(reads)} >= {str(dataset.image("d") / "0" / "c" / "0" / "0" / "0")}
    assert found.mean == pytest.approx(expected["mean"], rel=1e-13)
    assert sorted(dataset.root.children()) == [".ps3d-files.json", "images", "zscore.json"]


def killed_in(dataset: Dataset, scan: str) -> None:
    """A run that ends after the first block of a scan."""

    def stop(event: Event) -> None:
        if isinstance(event, StageAdvanced) and event.stage == f"zscore {scan}" and event.done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        estimate_zscore(dataset, resources=Resources(workers=1, memory_gib=1), progress=Progress(stop))


@pytest.mark.parametrize("raised", [False, True])
def test_what_a_killed_run_has_read_counts_for_its_version(
    dataset: Dataset, raised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_grey, "BLOCK_BYTES", 20_000)
    killed_in(dataset, "c")
    if raised:
        monkeypatch.setattr(scan_grey, "VERSION", scan_grey.VERSION + 1)
    events: list[Event] = []
    estimate_zscore(dataset, resources=Resources(workers=1, memory_gib=1), progress=Progress(events.append))
    already = {event.stage: event.already for event in events if isinstance(event, StageStarted)}
    assert already == (
        dict.fromkeys((f"zscore {name}" for name in VOLUMES), 0) if raised else {"zscore c": 1, "zscore d": 0}
    )


def test_a_finished_z_score_is_known_for_its_version(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = estimate_zscore(dataset)
    assert "version" not in dataset.zscore.read_text()
    assert module.plan_zscore(dataset).known.keys() == VOLUMES.keys()
    monkeypatch.setattr(scan_grey, "VERSION", 2)
    assert not module.plan_zscore(dataset).known
    again = estimate_zscore(dataset)
    assert (again.mean, again.std) == (first.mean, first.std)
    assert module.plan_zscore(dataset).known.keys() == VOLUMES.keys()


def test_no_more_blocks_are_read_at_once_than_fit_the_memory(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan_grey, "BLOCK_BYTES", 1)
    workers = []
    noted = block_step.run_blocks
    monkeypatch.setattr(
        block_step, "run_blocks", lambda *given, **more: workers.append(more["runner"].workers) or noted(*given, **more)
    )
    (scan,) = module.plan_zscore(dataset, ["d"]).scans
    step = ScanMoments(dataset, scan, "d")
    shard = 16**3 * 4
    for memory, expected in ((3 * shard, 1), (7 * shard, 2), (2**31, 4)):
        step.make(Outcomes(), Context(Runner(workers=4), memory))
        step.folder.remove_tree()
        assert workers.pop() == expected


def test_only_what_changed_is_read(dataset: Dataset, reads: Counter[tuple[str, object]]) -> None:
    first = exact(dataset)
    reads.clear()
    assert exact(dataset) == first
    assert not chunks_read(reads)
    add(dataset, "new", VOLUMES["c"][:20])
    dataset.image("a byte").remove_tree()
    reads.clear()
    grown = exact(dataset)
    assert {name.split("/images/")[1].split(".zarr")[0] for name, _ in chunks_read(reads)} == {"new"}
    values = np.concatenate([ALL[VOLUMES["a byte"].size :], VOLUMES["c"][:20].ravel()])
    assert grown.mean == pytest.approx(values.mean(), rel=1e-12)
    assert grown.std == pytest.approx(values.std(), rel=1e-12)


def test_a_scan_written_again_is_read_again(dataset: Dataset) -> None:
    exact(dataset)
    dataset.image("c").remove_tree()
    add(dataset, "c", VOLUMES["c"] // 2)
    values = np.concatenate(
        [(volume // 2 if name == "c" else volume).ravel().astype(np.float64) for name, volume in VOLUMES.items()]
    )
    assert exact(dataset).mean == pytest.approx(values.mean(), rel=1e-12)


@pytest.mark.parametrize("spoil", ["not json", "other", "mean", "count"])
def test_an_odd_zscore_file_is_found_again(dataset: Dataset, spoil: str) -> None:
    expected = exact(dataset)
    content = dataset.zscore.read_json()
    if spoil == "mean":
        content["scans"]["c"]["moments"]["mean"] = "1/0"
    if spoil == "count":
        content["scans"]["c"]["moments"]["count"] = 5
    texts = {"not json": "{", "other": '{"mean": 3, "std": 4}'}
    dataset.zscore.write_text(texts.get(spoil, json.dumps(content)))
    assert exact(dataset) == expected


# --- sampled ---


def test_sampled_lies_within_its_interval(dataset: Dataset) -> None:
    missed = 0
    for seed in range(12):
        record = sampled(dataset, 20_000, seed)
        assert record.confidence is not None
        (low, high), (std_low, std_high) = record.confidence.mean, record.confidence.std
        assert low < record.mean < high
        assert std_low < record.std < std_high
        missed += not (low <= ALL.mean() <= high and std_low <= ALL.std() <= std_high)
        assert (record.method, record.seed, record.dataset_voxels) == ("sampled", seed, ALL.size)
        assert record.voxels == record.confidence.draws * record.confidence.voxels_per_draw >= 20_000
    assert missed <= 4  # two intervals at 95 % each: five or more of twelve would be one chance in three hundred


@pytest.mark.parametrize("resources", [{"workers": 1}, {"workers": 5, "memory_gib": 0.2}])
def test_the_same_seed_gives_the_same_file(dataset: Dataset, resources: dict[str, Any]) -> None:
    sampled(dataset, 5000, 3)
    expected = dataset.zscore.read_bytes()
    dataset.zscore.remove_tree()
    sampled(dataset, 5000, 3, **resources)
    assert dataset.zscore.read_bytes() == expected
    sampled(dataset, 5000, 4)
    assert dataset.zscore.read_bytes() != expected


def test_sampling_reads_the_chunks_drawn_once(dataset: Dataset, reads: Counter[tuple[str, object]]) -> None:
    sampled(dataset, 1000)
    # A chunk is the index of its shard and a range; neither is the whole shard.
    ranges = {place: times for place, times in chunks_read(reads).items() if "Suffix" not in str(place[1])}
    assert ranges
    assert set(ranges.values()) == {1}
    assert all(byte_range is not None for _, byte_range in ranges)


def test_as_many_samples_as_voxels_are_all_voxels(dataset: Dataset) -> None:
    assert sampled(dataset, ALL.size) == exact(dataset)


def test_a_scan_that_no_draw_meets(tmp_path: Path) -> None:
    dataset = Dataset(Location.parse(tmp_path))
    add(dataset, "large", VOLUMES["b.2,5µm"])
    add(dataset, "tiny", np.full((2, 1, 1), 9, np.uint8), chunks=(2, 1, 1), shards=(2, 1, 1))
    record = sampled(dataset, 1000)
    assert (record.scans["tiny"].mean, record.scans["tiny"].voxels) == (None, 2)


# --- what cannot be used ---


def test_refusals(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scan 'x': not in .*there: a byte, b"):
        exact(dataset, ["x", "c"])
    with pytest.raises(InputError, match=r"no dataset"):
        exact(Dataset(Location.parse(tmp_path / "images")))
    flat = Dataset(Location.parse(f"memory://{uuid.uuid4().hex}"))
    add(flat, "flat", np.zeros((2, 8192, 8192), np.uint8), chunks=(2, 8192, 8192), shards=(2, 8192, 8192))
    with pytest.raises(InputError, match="raise memory"):
        exact(flat, memory_gib=0.2)
    assert not dataset.zscore.exists()


@pytest.mark.parametrize("samples", [None, 1000])
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_values_that_are_no_numbers(tmp_path: Path, samples: int | None, bad: float) -> None:
    dataset = Dataset(Location.parse(tmp_path))
    add(dataset, "ore", np.where(RNG.random((20, 20, 20)) < 0.5, bad, 1.0))
    with pytest.raises(InputError, match=r"scan 'ore', voxels \(.*infinite, not a number"):
        estimate_zscore(dataset, None, ZScoreParams(samples=samples))
    assert not dataset.zscore.exists()


@pytest.mark.parametrize("samples", [None, 1000])
def test_one_grey_value_is_no_zscore(tmp_path: Path, samples: int | None) -> None:
    dataset = Dataset(Location.parse(tmp_path))
    add(dataset, "ore", np.full((20, 20, 20), 7, np.uint16))
    with pytest.raises(InputError, match="all voxels read are 7"):
        estimate_zscore(dataset, None, ZScoreParams(samples=samples))
    assert not dataset.zscore.exists()


def test_a_missing_chunk_is_an_error(dataset: Dataset) -> None:
    (dataset.image("c") / "0" / "c" / "1" / "0" / "0").remove_tree()
    with pytest.raises(MissingDataError, match=r"c\.zarr"):
        exact(dataset)
    assert not dataset.zscore.exists()


# --- reading it ---


def test_what_is_written_can_be_used(dataset: Dataset) -> None:
    record = exact(dataset)
    assert read_zscore(dataset.root) == read_zscore(dataset.zscore) == ZScore(mean=record.mean, std=record.std)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "make it with ps3d zscore"),
        ("{", "not valid JSON"),
        ("[1, 2]", "must say mean and std"),
        ('{"mean": 1}', "must say mean and std"),
        ('{"mean": 1, "std": 0}', "must say mean and std"),
        ('{"mean": NaN, "std": 1}', "must say mean and std"),
    ],
)
def test_what_is_no_zscore(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "zscore.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_zscore(Location.parse(tmp_path))


# --- the command ---


def test_command(dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zscore", str(dataset.root), "--workers", "1"]) == 0
    out = capsys.readouterr().out
    record = module.ZScoreRecord.model_validate(dataset.zscore.read_json())
    assert out.startswith(f"mean {record.mean:.10g}, std {record.std:.10g}: all {ALL.size} voxels of 4 scans\n")
    assert f"--zscore {record.mean:.10g} {record.std:.10g}" in out
    assert main(["zscore", str(dataset.root), "--samples", "2000", "--seed", "5", "--name", "c", "d"]) == 0
    out = capsys.readouterr().out
    assert "95% intervals" in out
    assert "voxels of 2 scans" in out
    assert "seed 5" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--samples", "10"], "--samples 10: "),
        (["--name", "x"], "scan 'x': not in"),
        (["--memory", "0"], "--memory 0"),
    ],
)
def test_command_refuses(dataset: Dataset, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zscore", str(dataset.root), *arguments]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
