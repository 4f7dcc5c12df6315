"""`ps3d up`: the whole local stack in the foreground."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ps3d_app.flows.command.arguments import whole_number

if TYPE_CHECKING:
    from ps3d_app.flows.service.stack.stack import Stack

PURPOSE = "run the local stack: Prefect, S3, deployments, workers"
NEEDS = ("prefect", "cryptography")
EXAMPLES = """\
  ps3d up                           until Ctrl-C; commands given meanwhile use this server
  ps3d up --store /data/ps3d        inbox and results in a folder; no S3 server
  ps3d up --store s3://bucket/ct    the S3 of your AWS_ variables
  ps3d up --workers 0               look at finished runs; nothing is started

Everything listens on 127.0.0.1 only. History, the S3 server's data and its keys are kept in ~/.ps3d
(PS3D_HOME changes the place) and are there again after a restart; interrupted runs continue.
The Prefect server uses PostgreSQL when PS3D_DATABASE_URL is set, like postgresql+asyncpg://user:password@host/name.

Nobody gets in without a key. The one of the Prefect server is made at its first start and kept in
~/.ps3d/prefect/password, which only you can read: its pages ask for it. A shell that sources
~/.ps3d/prefect/env beside it can use `prefect` with this server. Of your own settings in the environment
it takes over PREFECT_SERVER_API_AUTH_STRING (a key of your own, user:password), those of CORS, CSRF and
base path, PREFECT_UI_ and PREFECT_SERVER_UI_, and those that say how long runs are kept."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "--store", metavar="STORE", help="folder or URL for inbox and results (default: a bucket on an own S3 server)"
    )
    parser.add_argument(
        "--workers", type=whole_number(0), default=1, metavar="N", help="workers of the cpu pool (default: 1)"
    )
    parser.add_argument(
        "--port", type=whole_number(1), metavar="PORT", help="of the UI (default: 4210, or any free one)"
    )
    parser.add_argument(
        "--s3-port", type=whole_number(1), default=4211, metavar="PORT", help="of the S3 server (default: 4211)"
    )


def run(args: argparse.Namespace) -> None:
    """Run the whole local stack until interrupted, which is how it is meant to end."""
    from ps3d_app.flows.service.stack.stack import StackOptions, running

    options = StackOptions(store=args.store, port=args.port, s3_port=args.s3_port, workers=args.workers)
    try:
        with running(options, _say) as stack:
            for line in _addresses(stack):
                _say(line)
            stack.keep()
    except KeyboardInterrupt:
        _say("stopped")


def _say(line: str) -> None:
    print(line, flush=True)


def _addresses(stack: Stack) -> list[str]:
    from ps3d_app.flows.service.local_server import server_folder
    from ps3d_app.flows.service.server_key import environment_file, password_file

    server = server_folder()
    lines = [
        "",
        f"Prefect UI   {stack.ui}",
        f"log in       with the line in {password_file(server)} (only you can read it)",
    ]
    if stack.s3 is not None:
        lines += [
            f"S3 endpoint  {stack.s3.endpoint}, bucket {stack.store.removeprefix('s3://')}",
            f"S3 keys      {stack.s3.environment_file} (only you can read it)",
        ]
    workers = [child.name.removeprefix("worker ") for child in stack.children if child.name.startswith("worker")]
    lines += [f"store        {stack.store}; drop scans into inbox/ there (README.txt in it says how)"]
    lines += [f"workers      {', '.join(workers) or 'none'}"]
    if workers and not any(name.startswith("gpu") for name in workers):
        lines.append("             none for the pool gpu (no CUDA device): its runs wait")
    lines.append("")
    lines += [
        "Use the server from another terminal, with prefect or any client of its API (ps3d needs no more):",
        f"  . {environment_file(server)}",
        "",
    ]
    if stack.s3 is not None:
        lines += [
            "Use the bucket from another terminal, with ps3d or any S3 client:",
            f"  . {stack.s3.environment_file}",
            f"  ps3d demo --workdir {stack.store}/demo      what the default parameters of the deployments speak of",
            "",
        ]
    return [*lines, "ready; Ctrl-C stops everything"]
