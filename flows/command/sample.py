"""Options that say what a laboratory knows of a sample: from a file, and field by field."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ps3d_app.flows.command.fields import Options


def add_sample(to: Options) -> None:
    """Add the options of sample data."""
    to.add_argument(
        "--sample",
        dest="sample_file",
        metavar="FILE",
        help='JSON file of sample data: {"id": "A-17", "operator": "J. Doe", ...}; numbers and texts',
    )
    to.add_argument("--sample-id", metavar="ID", help="number or name of the sample; the field id of the sample data")
    to.add_argument(
        "--field",
        action="append",
        metavar="NAME=VALUE",
        help="one field of the sample data; may be given again: customer, material, date, licence and any others",
    )


def sample_given(args: argparse.Namespace) -> dict[str, str] | None:
    """Return the sample data that the options say; None where none of them was given.

    Fields that are said by themselves come after those of the file, and take the place of those of the same name.
    Raise `InputError` for data that cannot be used.
    """
    if args.sample_file is None and args.sample_id is None and not args.field:
        return None
    from ps3d_core.sample_data import ID, field_of, sample_of
    from ps3d_core.store.sample_file import sample_file

    fields = {} if args.sample_file is None else sample_file(args.sample_file)
    fields |= {} if args.sample_id is None else {ID: args.sample_id}
    return sample_of(fields | dict(map(field_of, args.field or ())))
