"""Every step once: what is finished is answered from its ledger, what is not is made.

A step is done when its ledger has an entry for its fingerprint and everything that the entry says was written is still
there, byte for byte. Of intermediates that is not asked once all steps that read them are done: they may have been
removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ps3d_core.engine.step import Context, Outcome, Outcomes, Step
from ps3d_core.store.digest import GONE, Digest
from ps3d_core.store.lease import require_lease
from ps3d_core.store.ledger import Ledger, Record
from ps3d_core.store.location import Location
from ps3d_core.store.whole import digest_of
from ps3d_core.store.written import Written

Before = Callable[[Sequence[Step[Any]]], None]


class Engine:
    """Runner of the steps of one piece of work, in order, whose ledgers lie in the folder `work`."""

    def __init__(self, work: Location, steps: Sequence[Step[Any]], before: Before | None = None) -> None:
        """Run `steps` in `work`; before one with lasting outputs is made, `before` hears of those that build on it."""
        self._work, self._steps, self._before = work, tuple(steps), before

    def run(self, step: Step[Any], done: Outcomes, context: Context) -> Outcome:
        """Return what `step` found, now or before; `done` holds the outcomes of the steps before it."""
        if step.kept and (outcome := self._finished(step)) is not None:
            return outcome
        ledger = self._ledger(step)
        if step.kept:
            ledger.clear()
        require_lease()
        if self._before is not None and not step.intermediate:
            self._before([other for other in self._steps if any(step.name == each.name for each in other.ancestors)])
        started = time.perf_counter()
        outcome = Outcome(step.make(done, context), time.perf_counter() - started)
        if step.keeps(outcome.found):
            ledger.keep(_record(outcome), {output: digest_of(output) for output in step.outputs.values()})
        return outcome

    def run_all(self, context: Context) -> Outcomes:
        """Run all steps in order and return what they found."""
        done = Outcomes()
        for step in self._steps:
            done[step.name] = self.run(step, done, context)
        return done

    def written(self) -> Written:
        """Return the digests of all outputs, as the steps that made them found them."""
        written: Written = {}
        for step in self._steps:
            written |= self._ledger(step).written()
        return written

    def remember(self, records: Mapping[str, Record], whole: Mapping[Location, Digest]) -> None:
        """Enter what is known of finished steps from elsewhere, as if the work had been killed after these steps.

        Args:
            records: what steps with these fingerprints found, by their names.
            whole: digests of the outputs that are whole; of other steps than intermediate ones, all have to be.

        """
        for step in self._steps:
            known = {output: whole.get(output, GONE) for output in step.outputs.values()}
            is_known = step.name in records and (step.intermediate or GONE not in known.values())
            if is_known and not self._ledger(step).entries():
                self._ledger(step).keep(records[step.name], known)

    def _finished(self, step: Step[Any]) -> Outcome | None:
        ledger = self._ledger(step)
        if (entry := ledger.kept()) is not None:
            return _outcome(step, entry.record)
        if not step.intermediate or (entry := ledger.entries().get(0)) is None:
            return None
        readers = [other for other in self._steps if any(given.name == step.name for given in other.inputs)]
        return _outcome(step, entry.record) if readers and all(map(self._finished, readers)) else None

    def is_known(self, step: Step[Any]) -> bool:
        """Return whether a step has been done of what the steps before it make now; outputs may be gone."""
        return bool(self._ledger(step).entries())

    def _ledger(self, step: Step[Any]) -> Ledger:
        return Ledger(self._work, f"stage-{step.name}", step.fingerprint)


def records_of(done: Outcomes) -> dict[str, Record]:
    """Return what steps found as JSON-able records, by their names; `Engine.remember` takes them back."""
    return {name: _record(outcome) for name, outcome in done.items()}


def _record(outcome: Outcome) -> Record:
    return {**outcome.found.model_dump(mode="json"), "seconds": outcome.seconds}


def _outcome(step: Step[Any], record: Record) -> Outcome | None:
    """Return the outcome that a record says, None when it is that of a release that kept other things."""
    try:
        return Outcome(step.found.model_validate(record), float(record["seconds"]))
    except (ValidationError, KeyError):
        return None
