"""Errors of the trainer.

RunNotFound · RunExists · RunNotTrained · RunAlreadyTrained
DatasetNotEmbedded · TrainingDataChanged · InvalidVector · InvalidWeights · FileTooLarge · TrainingFailed
NoPushStore · PushFailed
"""

from __future__ import annotations

from services.chassis.errors import (
    AlreadyExists,
    Code,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PrismaError,
    ResourceExhausted,
)


class RunNotFound(NotFound):
    """No run has this name, or it was deleted."""

    reason = "RUN_NOT_FOUND"


class RunExists(AlreadyExists):
    """A run has this id."""

    reason = "RUN_ALREADY_EXISTS"


class RunNotTrained(FailedPrecondition):
    """The run has no weights yet."""

    reason = "RUN_NOT_TRAINED"


class NoPushStore(FailedPrecondition):
    """The operator chose no object store to push runs to."""

    reason = "NO_PUSH_STORE"

    def __init__(self) -> None:
        super().__init__("the trainer has no object store to push to; its operator sets PRISMA_TRAINER_PUSH_URL")


class PushFailed(FailedPrecondition):
    """The object store did not take a run, after the retries of its client."""

    reason = "PUSH_FAILED"


class RunAlreadyTrained(FailedPrecondition):
    """The run is trained already."""

    reason = "RUN_ALREADY_TRAINED"


class DatasetNotEmbedded(FailedPrecondition):
    """The dataset has no vectors."""

    reason = "DATASET_NOT_EMBEDDED"


class TrainingDataChanged(FailedPrecondition):
    """The vectors that the run was made for are no longer all there."""

    reason = "TRAINING_DATA_CHANGED"


class InvalidVector(InvalidArgument):
    """A vector of a wrong dimension, or with NaN or infinity."""

    reason = "INVALID_VECTOR"


class InvalidWeights(InvalidArgument):
    """A file that holds no autoencoder, or not one of the dataset's dimension."""

    reason = "INVALID_WEIGHTS"


class FileTooLarge(ResourceExhausted):
    """A file larger than this server takes."""

    reason = "TOO_LARGE"


class TrainingFailed(PrismaError):
    """The training process ended by itself."""

    code = Code.INTERNAL
    reason = "TRAINING_FAILED"
