"""Outputs are claimed before they are written: the one door that everything which writes goes through.

A claim is refused, in one line and before anything is done, when something is at the place that ps3d did not make,
when the place is an input, lies inside one or holds one, or when another run writes there. While it is held no other
command gets it, and what it made of folders goes again when it fails.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ps3d_core.errors import CorruptDataError, InputError, MissingDataError
from ps3d_core.store.faults import unusable_place
from ps3d_core.store.lease import Say, holds_lease, sole_run
from ps3d_core.store.location import Location
from ps3d_core.store.ownership import (
    WORK_FILES,
    ZARR_FILES,
    files_below,
    is_link,
    mark_own,
    remove_if_empty,
    remove_own,
    work_is_own,
)


@dataclass(frozen=True, slots=True)
class Output:
    """A place that a command will write to, and how to tell whether what lies there was made by ps3d."""

    place: Location
    is_ours: Callable[[Location], bool]
    """Of something that is there."""


@contextmanager
def working_in(work: Location, outputs: Sequence[Location] = (), *, keep: bool = False) -> Iterator[None]:
    """Keep intermediates in the folder `work` while the body runs; they go when it ends, unless they are to be kept.

    When the body fails because of what it was given, what was not there before it goes too, `outputs` that are Zarrs
    among it. When it fails otherwise all stays, so that the next run can go on. Raise `InputError` when the folder
    is somebody else's.
    """
    require_ours(Output(work, work_is_own))
    made = [place for place in outputs if not place.exists()]
    began = not work.exists() or holds_no_file(work)
    mark_own(work)

    def undo() -> None:
        remove_own(work, WORK_FILES)
        for place in made:
            remove_own(place, ZARR_FILES)

    with taken_back(undo, began=began):
        yield
    if not keep:
        remove_own(work, WORK_FILES)


@contextmanager
def taken_back(undo: Callable[[], None], *, began: bool) -> Iterator[None]:
    """Call `undo` when the body, which `began` an output, fails because of what it was given and has its lease still.

    When it fails otherwise, what there is so far is for the next run to go on with.
    """
    try:
        yield
    except BaseException as error:
        if began and is_given(error) and holds_lease():
            undo()
        raise


def is_given(error: BaseException) -> bool:
    """Return whether the error says that what a command was given cannot be used, so that trying again is no use."""
    return isinstance(error, InputError | MissingDataError | CorruptDataError) or unusable_place(error) is not None


def silent(_text: str) -> None:
    """Ignore a message, for commands that tell nobody what they do."""


@contextmanager
def claimed(
    what: str, outputs: Sequence[Output], *, inputs: Iterable[Location] = (), say: Say = silent
) -> Iterator[None]:
    """Hold the `outputs` while the body runs; `inputs` are what it reads, `what` names the work in messages.

    Folders on the way to an output are made by whoever writes, and those that were not there before are removed, where
    nothing is in them, when the body fails.

    Raises:
        InputError: for a place that may not be written.
        LeaseTakenError: when another command holds one of them.

    """
    check_outputs(outputs, inputs=inputs)
    with ExitStack() as stack:
        for output in sorted(outputs, key=lambda output: output.place):
            stack.enter_context(fresh_folders(output.place))
            stack.enter_context(sole_run(lease_of(output.place), f"{what}: {output.place}", say, tidy=True))
        check_outputs(outputs)  # others may have been there until now
        yield


def check_outputs(outputs: Iterable[Output], *, inputs: Iterable[Location] = ()) -> None:
    """Raise `InputError` for the first of the `outputs` that may not be written."""
    inputs, outputs = list(inputs), list(outputs)
    for output in outputs:
        for given in inputs:
            require_apart(output.place, given)
    _require_outside_zarr([output.place for output in outputs])
    for output in outputs:
        require_ours(output)


def require_ours(output: Output) -> None:
    """Raise `InputError` when something is at the place of `output` that ps3d did not make."""
    place = output.place
    if is_link(place):
        raise InputError(f"{place}: is a link; give the place that it leads to, or another")
    if place.exists() and not holds_no_file(place) and not output.is_ours(place):
        raise InputError(
            f"{place}: is there already, and holds what ps3d did not make; move it away or choose another place"
        )


def require_apart(output: Location, given: Location) -> None:
    """Raise `InputError` when `output` is the input `given`, lies inside it or holds it, by whatever names or links."""
    if _holds(given, output) and _holds(output, given):
        raise InputError(f"{output}: is the input itself; choose another place")
    if _holds(given, output):
        raise InputError(f"{output}: lies inside the input {given}; choose a place outside of it")
    if _holds(output, given):
        raise InputError(f"{output}: the input {given} lies inside it; choose another place")


def _require_outside_zarr(places: Iterable[Location]) -> None:
    """Raise `InputError` when one of the `places` would lie inside a Zarr, of which it is no part."""
    looked_at: set[Location] = set()
    for place in places:
        above = place.parent
        while above.name and above != above.parent and above not in looked_at:
            if any((above / file).is_file() for file in ("zarr.json", ".zarray", ".zgroup")):
                raise InputError(f"{place}: lies inside the Zarr {above}; choose a place outside of it")
            looked_at.add(above)
            above = above.parent


def lease_of(place: Location) -> Location:
    """Return the folder that says who writes `place` at present."""
    return place.parent / f".{place.name}.lease"


@contextmanager
def fresh_folders(place: Location) -> Iterator[None]:
    """Remove the folders above `place` that the body made, where they are empty, when it fails."""
    path = place.local_path
    missing = [] if path is None else [folder for folder in path.parents if not folder.exists()]
    try:
        yield
    except BaseException:
        for folder in missing:
            remove_if_empty(folder)
        raise


def holds_no_file(place: Location) -> bool:
    """Return whether a local folder is at `place`, and no file anywhere below it: nothing that anybody could miss."""
    path = place.local_path
    return path is not None and path.is_dir() and not any(files_below(place))


def _holds(outer: Location, inner: Location) -> bool:
    """Whether `inner` is `outer` or lies below it."""
    here, there = outer.local_path, inner.local_path
    if here is None or there is None:
        return f"{inner}/".startswith(f"{outer}/")
    resolved = Path(os.path.realpath(there))
    if not here.exists():
        return resolved.is_relative_to(os.path.realpath(here))
    return any(folder.exists() and folder.samefile(here) for folder in (resolved, *resolved.parents))
