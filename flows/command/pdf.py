"""The option that prints a report to PDF, and what it does."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ps3d_app.flows.command.fields import Options
    from ps3d_core.progress import Progress
    from ps3d_core.store.location import Location


def add_pdf(to: Options) -> None:
    """Add the option that prints the report."""
    to.add_argument(
        "--pdf",
        nargs="?",
        const="A4",
        choices=("A4", "Letter"),
        help="print the report to report.pdf, too, with a browser of this machine (Chromium, Chrome, Edge), on this "
        "paper (default: A4)",
    )


def printed(args: argparse.Namespace, page: Location, pdf: Location, progress: Progress) -> bool:
    """Print a page where that was asked for; return whether there is a PDF now. Where it fails, a note says why."""
    if args.pdf is None:
        return False
    from ps3d_core.errors import Ps3dError
    from ps3d_core.particles.pdf import print_page

    try:
        print_page(page, pdf, args.pdf)
    except (Ps3dError, OSError) as error:
        progress.note(f"{pdf}: not made: {error}")
        return False
    return True
