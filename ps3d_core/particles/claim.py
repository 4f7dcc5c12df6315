"""A folder that gets a particle table and nothing else, held while it is made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ps3d_core.errors import InputError
from ps3d_core.store.claim import Output, check_outputs, fresh_folders, is_given, silent, working_in
from ps3d_core.store.deriving import deriving
from ps3d_core.store.identity import identities, require_unchanged
from ps3d_core.store.kinds import MEASURING
from ps3d_core.store.layout import LEASE, RUN, WORK
from ps3d_core.store.lease import Say, holds_lease, sole_run
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import work_is_own
from ps3d_core.store.publishing import is_published, read_receipt, telling, withdraw


@contextmanager
def table_claimed(
    output: Location,
    inputs: Sequence[Location],
    say: Say = silent,
    others: Sequence[str] = (),
) -> Iterator[Location]:
    """Hold the table in the folder `output` while the body measures `inputs`; yield the folder of intermediates.

    The first of `inputs` are the labels: where these are a part of a result, and the table comes into a folder in it,
    the table goes when labels are made anew. `others` are names of files that are written beside the table. When what
    was given cannot be used, what was written until then goes.

    Raises:
        InputError: when a table of somebody else's is there, or the result of a segmentation, of which it is a part.
        LeaseTakenError: when another run works there.

    """
    work = output / MEASURING
    table = [Output(output / name, is_published) for name in ("particles.csv", "particles.parquet", *others)]
    outputs = [*table, Output(work, work_is_own)]
    check_outputs(outputs, inputs=inputs)
    read_receipt(output)
    _refuse_result(output)
    labels = inputs[0]
    made = [file.place for file in table] if output != labels.parent else []
    with (
        deriving(labels, made, say),
        fresh_folders(output / RUN),
        sole_run(output / LEASE, f"table in {output}", say, tidy=True),
        telling(say),
    ):
        _refuse_result(output)
        check_outputs(outputs)
        with working_in(work), _all_or_nothing([file.place for file in table], output):
            before = identities(inputs)
            yield work
            try:
                require_unchanged(before)
            except InputError:
                for file in table:
                    withdraw(file.place)
                raise


@contextmanager
def _all_or_nothing(files: Sequence[Location], folder: Location) -> Iterator[None]:
    """Withdraw what the body wrote of the `files` of a folder when it fails because of what it was given."""
    before = read_receipt(folder)
    try:
        yield
    except BaseException as error:
        if is_given(error) and holds_lease():
            after = read_receipt(folder)
            for file in files:
                if after.get(file.name) != before.get(file.name):
                    withdraw(file)
        raise


def _refuse_result(output: Location) -> None:
    for name in (RUN, WORK):
        if (output / name).exists():
            raise InputError(f"{output}: holds the result of a segmentation, whose table this is; choose another place")
