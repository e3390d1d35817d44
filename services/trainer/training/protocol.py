"""Messages between the trainer and its training process.

The trainer passes a `Task` when it starts the process. The process reports on standard output, one JSON object a line,
tagged with the message's type. Its standard input is a pipe that the trainer holds: `STOP` on it asks for a checkpoint
and the end; when the pipe closes, because the trainer has died, the process ends at once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from services.trainer.sae.codes import CodeShard
from services.trainer.sae.config import Config, Goal

STOP = b"stop"


@dataclass(frozen=True)
class Task:
    """What a training process has to do."""

    vectors: Path
    """Folder with the vectors, `vectors-*.npy` of (…, d) float32, and their row numbers, `rows.npy` of (N,) uint64."""
    config: Config | None
    """Resolved for these vectors; None to choose the size first."""
    folder: Path
    """Where checkpoint, weights and codes of this attempt are written."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of `Config`, that the choice keeps."""
    goal: Goal = "interpretable"
    """What the size is chosen for."""
    checkpoints: Sequence[Path | None] = ()
    """The checkpoint of the run, then those of its siblings, to resume from; None to start from the beginning."""
    imported_weights: Path | None = None
    """Weights whose codes are written, without training; None to train."""
    device: str = "cpu"
    """`cpu`, `cuda:0`, `mps`."""
    checkpoint_seconds: float = 10.0
    """Seconds between checkpoints."""

    def to_json(self) -> str:
        """This task as a command-line argument."""
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> Task:
        """The task of a command-line argument."""
        values = json.loads(text)
        return cls(
            vectors=Path(values["vectors"]),
            config=None if values["config"] is None else Config.from_dict(values["config"]),
            folder=Path(values["folder"]),
            settings=values["settings"],
            goal=values["goal"],
            checkpoints=[_path(path) for path in values["checkpoints"]],
            imported_weights=_path(values["imported_weights"]),
            device=values["device"],
            checkpoint_seconds=values["checkpoint_seconds"],
        )


@dataclass(frozen=True)
class Resumed:
    """The training continues from a checkpoint."""

    step: int


@dataclass(frozen=True)
class PilotTrained:
    """So many of the small trainings, by which the size is chosen, are done."""

    done: int
    total: int


@dataclass(frozen=True)
class Sized:
    """The size is chosen."""

    sizing: Mapping[str, Any]
    """As `Sizing.to_dict` gives it."""
    config: Mapping[str, Any]
    """As `Config.to_dict` gives it."""


@dataclass(frozen=True)
class StepMetrics:
    """The training at one step; see `prisma.trainer.v1.Metrics` for each field."""

    step: int
    total_steps: int
    epoch: float
    loss: float
    fvu: float
    held_out_fvu: float | None
    l0: float
    silent_count: int
    silent_share: float
    gradient_norm: float
    learning_rate: float
    samples_per_second: float
    elapsed_seconds: float
    peak_memory_bytes: int
    time: float
    """Seconds since 1970."""

    def to_dict(self) -> dict[str, Any]:
        """These metrics as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class StepMeasured:
    """Metrics of a step."""

    metrics: StepMetrics


@dataclass(frozen=True)
class SiblingTrained:
    """A sibling's training after a step."""

    sibling: int
    """From 1."""
    step: int
    total_steps: int


@dataclass(frozen=True)
class CheckpointWritten:
    """Everything up to this step outlives the process."""

    step: int


@dataclass(frozen=True)
class PatienceExhausted:
    """The held-out FVU no longer falls: the training ends at `total_steps`, earlier than planned."""

    total_steps: int


@dataclass(frozen=True)
class RowsEncoded:
    """Codes of `done` of `total` rows are written."""

    done: int
    total: int


@dataclass(frozen=True)
class Quality:
    """How far the latents can be relied on; see `prisma.trainer.v1.Quality`."""

    train_fvu: float | None
    held_out_fvu: float | None
    sibling_count: int
    live_count: int
    reproduced_count: int
    closely_reproduced_count: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Finished:
    """Weights and codes are complete."""

    shards: Sequence[CodeShard]
    dead_count: int
    """Latents that no row activates."""
    quality: Quality | None
    """None for imported weights."""


Cause: TypeAlias = Literal["diverged", "invalid-vectors", "storage-full"]


@dataclass(frozen=True)
class Failed:
    """The process ends because of an expected error. Anything else ends it with a traceback on standard error."""

    cause: Cause
    message: str


Message: TypeAlias = (
    PilotTrained
    | Sized
    | Resumed
    | StepMeasured
    | SiblingTrained
    | CheckpointWritten
    | PatienceExhausted
    | RowsEncoded
    | Finished
    | Failed
)
_TYPES: Mapping[str, type[Message]] = {kind.__name__: kind for kind in get_args(Message)}


def encode(message: Message) -> str:
    """A message as one line."""
    return json.dumps({"type": type(message).__name__, **asdict(message)}) + "\n"


def decode(line: bytes | str) -> Message:
    """The message of a line. Raises ValueError for a line that is none."""
    values: dict[str, Any] = json.loads(line)
    kind = _TYPES.get(values.pop("type", ""))
    if kind is None:
        raise ValueError(f"expected a message of the training process, got {line[:200]!r}")
    if kind is StepMeasured:
        return StepMeasured(StepMetrics(**values["metrics"]))
    if kind is Finished:
        shards = [CodeShard(**shard) for shard in values["shards"]]
        quality = None if values["quality"] is None else Quality(**values["quality"])
        return Finished(shards=shards, dead_count=values["dead_count"], quality=quality)
    return kind(**{item.name: values[item.name] for item in fields(kind)})


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
