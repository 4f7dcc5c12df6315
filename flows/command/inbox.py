"""`ps3d inbox`: process scans that are dropped into an inbox, once or until Ctrl-C."""

from __future__ import annotations

import argparse
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ps3d_app.flows.command.arguments import whole_number
from ps3d_app.flows.command.fields import add_fields, given

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from ps3d_core.inbox.process import InboxJob, Poll
    from ps3d_core.progress import Progress

PURPOSE = "process scans dropped into an inbox; list, retry, release them"
NEEDS = ("torch",)
EXAMPLES = """\
  ps3d inbox data                          take what is complete in data/inbox/, then end
  ps3d inbox s3://bucket/lab --watch 60    look every minute, until Ctrl-C
  ps3d inbox data --direct                 without Prefect: no server, no history
  ps3d inbox data --watch 60 --dispatch    start runs of the deployment process-scan instead, one for each scan
  ps3d inbox list                          what waits, runs, failed, is held, is done (ps3d inbox list --help)
  ps3d inbox retry ore-7                   take again what failed, is held or was cancelled (... retry --help)
  ps3d inbox data --on-doubt hold          set doubtful results aside in data/held/, for a person
  ps3d inbox release ore-7                 accept what is held (ps3d inbox release --help)

A scan is a folder of slices with a file scan.json in it, or a file of any format with NAME.json beside it:
  {"name": "ore-7", "spacing": 0.0125, "particle_size": 0.3, "slices": 1000}
Lengths are in mm, or texts like "12.5um". With "slices", a folder is taken as soon as so many are there; without, when
nothing has changed for --settle seconds. Results come to PREFIX/results/NAME/, sources move to PREFIX/done/NAME/, and
what cannot be processed to PREFIX/failed/NAME/ with the reason in reason.txt. With --on-doubt hold, the sources of what
is doubtful or not understood move to PREFIX/held/NAME/ instead, until somebody has decided; that is no failure, and the
exit status stays 0. Any number of these commands may run at the same time. A folder that is called list, retry or
release is given as ./list."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    from ps3d_core.params import InboxParams, Resources

    parser.add_argument(
        "prefix",
        nargs="?",
        metavar="PREFIX",
        help="folder or URL that holds inbox/; made when it is not there (default: the store of ps3d up)",
    )
    parser.add_argument(
        "--watch", type=whole_number(1), metavar="SECONDS", help="look again after so many seconds (default: once)"
    )
    add_fields(parser, InboxParams, "settle_seconds", "leave_sources", "on_doubt", "attempts")
    parser.add_argument(
        "--model", default="bundled", metavar="BUNDLE", help="for scans that name none (default: bundled)"
    )
    add_fields(parser, Resources, "workers", "memory_gib")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--direct", action="store_true", help="without Prefect")
    how.add_argument("--dispatch", action="store_true", help="start runs of process-scan; process nothing here")


def run(args: argparse.Namespace) -> None:
    """Poll an inbox once, or again and again.

    Raise `InputError` when a single poll moved scans to failed/.
    """
    from ps3d_app.flows.command.recorded import recorded
    from ps3d_app.flows.command.terminal import shown
    from ps3d_core.errors import InputError, worded
    from ps3d_core.store.faults import is_of_the_surroundings

    job = _job_of(args)
    if args.dispatch:
        _start_runs(job, args)
        return
    with shown() as progress, nullcontext() if args.direct else recorded(progress):
        while True:
            try:
                poll = _polled(job, progress, direct=args.direct)
                poll.raise_any()
            except Exception as error:
                if args.watch is None or not is_of_the_surroundings(error):
                    raise
                progress.note(f"{worded(error, args.options.get)}; looking again in {args.watch} s")
            if args.watch is None:
                break
            time.sleep(args.watch)
    if poll.failed:
        names = ", ".join(poll.failed)
        raise InputError(
            f"{names}: moved to {job.inbox.failed}; see reason.txt there, then mend it by ps3d inbox retry"
        )


def _job_of(args: argparse.Namespace) -> InboxJob:
    from ps3d_app.flows.service.stack.store import store_at
    from ps3d_core.inbox.layout import Inbox
    from ps3d_core.inbox.process import InboxJob
    from ps3d_core.params import InboxParams, Resources

    params, resources = given(InboxParams, args), given(Resources, args)
    return InboxJob(Inbox(store_at(args.prefix)), params, args.model, resources=resources)


def _start_runs(job: InboxJob, args: argparse.Namespace) -> None:
    """Look, once or again and again, and let workers do the rest; on stdout what was started."""
    from ps3d_app.flows.service.known_api import known_api
    from ps3d_app.flows.service.watch_inbox import Watched, Watcher, keep_watching
    from ps3d_core.errors import InputError

    if (api := known_api()) is None:
        raise InputError("no Prefect server runs that could start runs; start one with ps3d up, or set PREFECT_API_URL")
    options: dict[str, Any] = {"params": job.params.model_dump(mode="json"), "model": job.model}
    if args.workers is not None or args.memory_gib is not None:
        options["resources"] = job.resources.model_dump(mode="json")
    watcher = Watcher(lambda: Watched(job.inbox, job.params, options), api, _print)
    if args.watch is None:
        watcher.look()
    else:
        keep_watching(watcher, args.watch, _print)


def _print(line: str) -> None:
    print(line, flush=True)


def _polled(job: InboxJob, progress: Progress, *, direct: bool) -> Poll:
    """One poll, and what came of it on stdout."""
    poll: Poll
    if direct:
        from ps3d_core.inbox.process import process_inbox

        poll = process_inbox(job, progress)
    else:
        from ps3d_app.flows.process_inbox import process_inbox as flow

        settings = (job.params, job.model, job.segmentation, job.resources)
        state: State[Poll] = flow(str(job.inbox.prefix), *settings, return_state=True)
        poll = state.result()
    for name, record in poll.done.items():
        print(f"{name}: {record.particles} particles; {job.inbox.result(name).report}", flush=True)
    for name, record in poll.held.items():
        found = f"{record.particles} particles; {job.inbox.result(name).report}"
        print(f"{name}: held: {record.verdict.doubt}; {found}", flush=True)
    for name, reason in poll.failed.items():
        print(f"{name}: failed: {reason}", flush=True)
    for name, what in poll.waiting.items():
        progress.note(f"{name}: waits for {what}")
    if poll.held:
        progress.note(f"{poll}; ps3d inbox release NAME accepts what is held, ps3d inbox retry NAME takes it again")
    return poll
