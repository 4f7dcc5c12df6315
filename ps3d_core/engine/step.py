"""A step: work that is done once, as a value that says everything about it but when and where.

A step names what decides its outcome (the version of its code, the steps it builds on, its parameters), what it writes,
and how it is made. `ps3d_core.engine.once` does the rest for all steps alike: it keeps what a step found together with
digests of what it wrote, answers from there as long as both are as they were, and begins anew when they are not. So a
raised version, a changed parameter or a damaged file redoes exactly that step and those that build on it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, cast

from pydantic import BaseModel, ConfigDict

from ps3d_core.engine.blocks import Runner
from ps3d_core.progress import SILENT, Progress
from ps3d_core.store.ledger import fingerprint
from ps3d_core.store.location import Location

Found_co = TypeVar("Found_co", bound=BaseModel, covariant=True)
Found = TypeVar("Found", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Context:
    """Means that the making of a step may use, and who hears of it; no outcome depends on it.

    Attributes:
        runner: where blocks are worked on.
        memory_bytes: budget of all workers together.
        progress: is told of stages and blocks.

    """

    runner: Runner = field(default_factory=Runner)
    memory_bytes: int = 2**31
    progress: Progress = SILENT


class Outcome(NamedTuple):
    """Finding of a finished step, and how many seconds the call took that finished it."""

    found: BaseModel
    seconds: float


class Outcomes(dict[str, Outcome]):
    """Outcomes of finished steps by name."""

    def of(self, step: type[Step[Found]]) -> Found:
        """Return what the step of this kind found. Raise `KeyError` when it has not been done."""
        return cast(Found, self[step.name].found)  # a step's outcome is of its model: see `Step.found`


class Step(ABC, Generic[Found_co]):
    """Base of all steps; subclasses are frozen dataclasses whose fields are the step's inputs.

    Attributes:
        name: of its entry in the ledger; never changed, or finished work would be done again.
        title: what it is called in a run's list of tasks.
        found: frozen model of what it finds.
        intermediate: whether its outputs are read by later steps only, and no matter once these are done.
        kept: whether what it found is kept as a whole. A step in blocks that leaves its outputs to later steps alone is
            made again instead: its blocks know which are finished, and whether what they wrote is whole. Where that
            depends on what was found, `keeps` says it.

    """

    name: str
    title: str
    found: ClassVar[type[BaseModel]]
    intermediate: ClassVar[bool] = False
    kept: ClassVar[bool] = True

    @property
    @abstractmethod
    def versions(self) -> tuple[int, ...]:
        """Versions of the code that decides the outcome; raising one makes this step and those after it stale."""

    @property
    def inputs(self) -> tuple[Step[Any], ...]:
        """Steps whose outputs or findings decide the outcome: the steps among the fields, in their order."""
        return tuple(value for value in vars(self).values() if isinstance(value, Step))

    @property
    def ancestors(self) -> tuple[Step[Any], ...]:
        """Steps that it builds on, and that those build on."""
        return tuple(before for given in self.inputs for before in (given, *given.ancestors))

    @property
    @abstractmethod
    def parameters(self) -> tuple[Any, ...]:
        """Other values that decide the outcome, JSON-able; none that do not, like blocks, workers or memory."""

    @property
    def outputs(self) -> Mapping[str, Location]:
        """Files and arrays that the step writes, by what they are called in run.json."""
        return {}

    @property
    def fingerprint(self) -> str:
        """Digest of everything that decides the outcome of the step."""
        return fingerprint(*self.versions, *(step.fingerprint for step in self.inputs), *self.parameters)

    def keeps(self, found: BaseModel) -> bool:
        """Return whether this finding is kept as a whole: by default as `kept` says, whatever was found."""
        return self.kept

    @abstractmethod
    def make(self, done: Outcomes, context: Context) -> Found_co:
        """Do the work of the step and return what was found; `done` holds the outcomes of all steps before this one."""


class DerivedStep(Step[Found_co]):
    """Base of the steps that nothing decides but the steps before them: a raised version there counts here too."""

    @property
    def versions(self) -> tuple[int, ...]:
        """No version of its own."""
        return ()

    @property
    def parameters(self) -> tuple[Any, ...]:
        """No parameters of its own."""
        return ()


class Nothing(BaseModel):
    """Finding of a step that is done for what it writes alone."""

    model_config = ConfigDict(frozen=True)
