"""What is made of a file or a label image, and put into the same folder, goes when that is made anew.

A size distribution beside its table, surfaces beside their label image, a page on paper: nothing of a result knows of
them, and each would be mistaken for one of what is there later. So they are noted, before they are written, beside what
they are made of, and `publishing.withdraw_products` takes them away. What lies elsewhere is its owner's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from ps3d_core.store.claim import silent
from ps3d_core.store.layout import LEASE
from ps3d_core.store.lease import Say, sole_run
from ps3d_core.store.location import Location
from ps3d_core.store.publishing import (
    can_be_product,
    is_published,
    leads_out,
    note_products,
    read_receipt,
    telling,
    withdraw_products,
)
from ps3d_core.store.whole import digest_of


@contextmanager
def deriving(source: Location, places: Sequence[Location], say: Say = silent) -> Iterator[None]:
    """Hold the folder of `source`, where ps3d wrote it, while the body makes of it those `places` that lie in it.

    Raises:
        InputError: nobody can tell what ps3d wrote in that folder.
        LeaseTakenError: another run makes `source` anew.

    """
    folder = source.parent
    inside = [place.seen_from(folder) for place in places if _lies_below(place, folder)]
    if not inside or not read_receipt(folder):
        yield
        return
    with ExitStack() as stack:
        lease = folder / LEASE
        stack.enter_context(sole_run(lease, f"{folder}", say, tidy=not lease.exists()))
        stack.enter_context(telling(say))
        before = note_products(source, dict.fromkeys(inside))
        yield
        made = {name: _digest(folder / name) for name in inside if (folder / name).exists()}
        for name, digest in made.items():
            if digest is not None and digest != before.get(name):
                withdraw_products(folder / name)
        note_products(source, made, without=set(inside) - set(made))


def _lies_below(place: Location, folder: Location) -> bool:
    inside = place.url.startswith(f"{folder.url}/")
    return inside and can_be_product(place.seen_from(folder)) and not leads_out(place, folder)


def _digest(place: Location) -> str | None:
    """Digest of what only that tells; published files are known by their folder."""
    return None if is_published(place) else digest_of(place).digest
