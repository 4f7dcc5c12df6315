"""The result folder of one scan, held while a run makes what belongs there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ps3d_core.errors import Ps3dError
from ps3d_core.record import read_record
from ps3d_core.store.claim import Output, check_outputs, fresh_folders, silent, taken_back, working_in
from ps3d_core.store.layout import Result
from ps3d_core.store.lease import LeaseLostError, LeaseTakenError, Say, forget_ended, sole_run
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import MARK, is_own, work_is_own, zarr_attributes, zarr_is_own
from ps3d_core.store.publishing import adopt, is_published, read_receipt, telling


def check_result(result: Result, parts: Mapping[str, Location], inputs: Sequence[Location]) -> None:
    """Raise `InputError` when something that ps3d did not make, or an input, lies where a part of the result goes."""
    check_outputs(_outputs(result, parts.values()), inputs=inputs)
    read_receipt(result.root)


@contextmanager
def result_claimed(
    result: Result, parts: Mapping[str, Location], inputs: Sequence[Location], say: Say = silent
) -> Iterator[None]:
    """Hold the result folder while the body runs, with a place for intermediates; `inputs` lie elsewhere.

    They stay when the body ends: `outcome.finish_run` removes them with the last step. When it fails because of its
    input, nothing stays that was not there before.

    Raises:
        InputError: for a place that may not be written.
        LeaseTakenError: when another run works on this scan.

    """
    check_result(result, parts, inputs)
    began = not result.root.exists()
    with (
        fresh_folders(result.run),
        _lease_forgotten(result),
        sole_run(result.lease, f"scan {result.scan}", say),
        telling(say),
        taken_back(result.remove, began=began),
    ):
        check_result(result, parts, inputs)
        _adopt(result)
        with working_in(result.work, [result.labels], keep=True):
            yield


@contextmanager
def _lease_forgotten(result: Result) -> Iterator[None]:
    """Remove what tells of the lease when the body fails with nothing that a later run could go on with."""
    noticed = result.lease.exists()
    try:
        yield
    except (LeaseTakenError, LeaseLostError):
        raise  # what is there is another run's
    except BaseException:
        if not (noticed or result.work.exists()):
            forget_ended(result.lease)
        raise


def _outputs(result: Result, parts: Iterable[Location]) -> list[Output]:
    def is_ours(file: Location) -> bool:
        return is_published(file) or _is_of_earlier_release(result)

    return [
        Output(result.labels, _labels_are_own),
        Output(result.work, work_is_own),
        *(Output(file, is_ours) for file in (*parts, result.run) if file != result.labels),
    ]


def _labels_are_own(labels: Location) -> bool:
    """Return whether the label image was made, or begun, by a segmentation: ps3d makes other Zarrs too."""
    about = zarr_attributes(labels).get(MARK)
    return zarr_is_own(labels) and (is_own(labels) or (isinstance(about, dict) and "fingerprint" in about))


def _adopt(result: Result) -> None:
    """Take over the files of a result that an earlier release made, which kept no account of them."""
    if not is_published(result.run) and _is_of_earlier_release(result):
        for file in (result.table_parquet, result.table_csv, result.report, result.run):
            if file.exists():
                adopt(file)


def _is_of_earlier_release(result: Result) -> bool:
    try:
        return read_record(result.run) is not None
    except (Ps3dError, OSError):
        return False
